"""The SDK's clients: one service client for each process, over connections that many threads share."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import requests
from azure.core.credentials import AzureSasCredential
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobClient, BlobServiceClient, ContainerClient
from requests.adapters import HTTPAdapter

from lithops.storage.backends.azure_storage.account import Account
from lithops.storage.backends.azure_storage.errors import Target
from lithops.storage.backends.azure_storage.patience import Patience
from lithops.storage.patience import CONNECT_S, READ_S
from lithops.storage.processes import PerProcess

if TYPE_CHECKING:
    from azure.identity import DefaultAzureCredential

_API_VERSION = "2026-02-06"
"""The first one whose listings start where they are told to."""
_CONNECTIONS = 256
"""So many are kept open. More threads than this share them by opening others for one request."""
_ONE_REQUEST_BYTES = 1 << 40
"""The SDK never divides a transfer: where that is worth it, it is done here."""
_SILENT = logging.Logger("lithops.azure_storage", logging.WARNING)
"""The SDK tells the root logger of every single request at level INFO."""


class Connection:
    """Gives clients of one account. Safe in threads; a forked process gets connections of its own."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._opened = PerProcess(partial(_open, account))

    def service(self) -> BlobServiceClient:
        return self._opened.get().service

    def container(self, bucket: str) -> ContainerClient:
        return self.service().get_container_client(bucket)

    def blob(self, bucket: str, key: str) -> BlobClient:
        return self.service().get_blob_client(bucket, key)

    def identity(self) -> DefaultAzureCredential | None:
        """What gives tokens, where the account has no key and no signature."""
        return self._opened.get().identity

    def target(self, bucket: str, key: str = "") -> Target:
        return Target(self.account.endpoint, bucket, key)

    def close(self) -> None:
        """Close this process's connections; they are opened again when they are needed."""
        opened = self._opened.take()
        if opened is not None:
            opened.close()


@dataclass(frozen=True, slots=True)
class _Opened:
    service: BlobServiceClient
    identity: DefaultAzureCredential | None

    def close(self) -> None:
        self.service.close()
        if self.identity is not None:
            self.identity.close()


def _open(account: Account) -> _Opened:
    identity = None if account.key or account.signature else _find_identity()
    credential: dict[str, str] | AzureSasCredential | DefaultAzureCredential | None = identity
    if account.key:
        # Where the account's name is not part of the host's, the SDK has to be told.
        credential = {"account_name": account.name, "account_key": account.key}
    elif account.signature:
        credential = AzureSasCredential(account.signature)
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
    service = BlobServiceClient(
        account.endpoint,
        credential,
        api_version=_API_VERSION,
        transport=RequestsTransport(session=session, connection_timeout=CONNECT_S, read_timeout=READ_S),
        retry_policy=Patience(),
        max_single_get_size=_ONE_REQUEST_BYTES,
        max_single_put_size=_ONE_REQUEST_BYTES,
        logger=_SILENT,
    )
    return _Opened(service, identity)


def _find_identity() -> DefaultAzureCredential:
    # Slow to import, and needed by those alone who have no key.
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential()

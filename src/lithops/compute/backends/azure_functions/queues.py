"""Messages to function apps: one for each activation, and those that no activation came to an end with."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timedelta, timezone

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential, TokenCredential
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueServiceClient

from lithops.compute.backends.azure_functions import read_message, write_message
from lithops.compute.backends.azure_functions.errors import translate_errors
from lithops.compute.base import ComputeError, Throttled
from lithops.storage.backends.azure_storage.account import Account

_MOST_BYTES = 65_536
_LIVES_S = 86_400
_LOOKED_AT_S = 30
_MOST_AT_ONCE = 32
_FORGOTTEN_AFTER = timedelta(hours=1)
_BUSY = 503


def queues_url(account: Account, endpoint: str | None) -> str:
    """Where the account's queues are."""
    return (endpoint or account.endpoint.replace(".blob.", ".queue.", 1)).rstrip("/")


class Queues:
    """The queues of a storage account, each of the name of its app. Safe in threads."""

    def __init__(self, url: str, account: Account, identity: TokenCredential | None) -> None:
        credential: AzureNamedKeyCredential | AzureSasCredential | TokenCredential | None = identity
        if account.key:
            credential = AzureNamedKeyCredential(account.name, account.key)
        elif account.signature:
            credential = AzureSasCredential(account.signature)
        self._service = QueueServiceClient(url, credential)

    def create(self, name: str) -> None:
        for each in (name, _poison(name)):
            with translate_errors(f"creating the queue '{each}'"), suppress(ResourceExistsError):
                self._service.create_queue(each)

    def delete(self, name: str) -> None:
        for each in (name, _poison(name)):
            with translate_errors(f"deleting the queue '{each}'"), suppress(ResourceNotFoundError):
                self._service.delete_queue(each)

    def put(self, name: str, activation_id: str, task: bytes) -> None:
        """Raises `Throttled` when it should be put again, `ComputeError` for a task that is too large."""
        text = base64.b64encode(write_message(activation_id, task)).decode()
        if len(text) > _MOST_BYTES:
            raise ComputeError(
                f"azure_functions: a task takes {len(text)} bytes, and a queue's message may have {_MOST_BYTES}; "
                "take a smaller chunksize, or the trigger https"
            )
        with translate_errors(f"sending a message to the queue '{name}'"):
            try:
                self._client(name).send_message(text, time_to_live=_LIVES_S)
            except HttpResponseError as error:
                if error.status_code == _BUSY:
                    raise Throttled(f"the queue '{name}' takes no message for now") from error
                raise

    def dead(self, name: str, activation_ids: Collection[str]) -> set[str]:
        """Those of the activations whose messages Azure has put aside, since nobody came to an end with them."""
        found: set[str] = set()
        with (
            translate_errors(f"looking into the queue '{_poison(name)}'"),
            self._client(_poison(name)) as queue,
        ):
            for message in queue.receive_messages(
                messages_per_page=_MOST_AT_ONCE,
                visibility_timeout=_LOOKED_AT_S,
                max_messages=_MOST_AT_ONCE,
            ):
                activation_id = _activation_of(message.content)
                old = (
                    message.inserted_on
                    and datetime.now(timezone.utc) - message.inserted_on > _FORGOTTEN_AFTER
                )
                if activation_id in activation_ids or old:
                    queue.delete_message(message)
                    found.add(activation_id)
        return found.intersection(activation_ids)

    def close(self) -> None:
        self._service.close()

    def _client(self, name: str) -> QueueClient:
        return self._service.get_queue_client(name)


def _activation_of(content: str) -> str:
    """The activation that a message was for; empty where it is none of ours."""
    try:
        return str(read_message(base64.b64decode(content))["activation"])
    except (ValueError, KeyError, zlib.error):
        return ""


def _poison(name: str) -> str:
    """Where Azure's host puts messages whose function has failed."""
    return f"{name}-poison"

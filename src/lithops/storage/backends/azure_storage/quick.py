"""obstore's way to a container: as the SDK, it is led by the account's key, a signature, or an identity."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from lithops.storage.backends.azure_storage.connection import Connection
from lithops.storage.many import client_options

if TYPE_CHECKING:
    from obstore.store import AzureBearerToken, AzureConfig, AzureStore

_SCOPE = "https://storage.azure.com/.default"


def open_store(connection: Connection, bucket: str) -> AzureStore:
    from obstore.store import AzureStore

    account, identity = connection.account, connection.identity()

    def token() -> AzureBearerToken:
        assert identity is not None
        issued = identity.get_token(_SCOPE)
        return {"token": issued.token, "expires_at": datetime.fromtimestamp(issued.expires_on, timezone.utc)}

    config: AzureConfig = {"account_name": account.name, "endpoint": account.endpoint}
    if account.key:
        config["account_key"] = account.key
    elif account.signature:
        config["sas_key"] = account.signature
    options = client_options(account.endpoint)
    authorities = Path(os.environ.get("REQUESTS_CA_BUNDLE", ""))
    if authorities.is_file():
        # The SDK's own HTTP library trusts these too.
        options["root_certificate"] = authorities.read_bytes()
    return AzureStore(
        bucket,
        config=config,
        credential_provider=token if identity is not None else None,
        client_options=options,
        retry_config={"max_retries": 0},
    )

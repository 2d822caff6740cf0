"""obstore's way to a bucket."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from lithops.storage.backends.aws_s3.connection import Connection
from lithops.storage.many import client_options

if TYPE_CHECKING:
    from obstore.store import S3Credential, S3Store

_CREDENTIALS_LAST = timedelta(minutes=5)
"""The SDK renews its own a quarter of an hour before they end."""


def open_store(connection: Connection, bucket: str) -> S3Store | None:
    """None where there is no way: it knows today's signatures and path-style URLs alone."""
    config = connection.config
    if config.signature is not None or config.addressing_style == "virtual":
        return None
    from obstore.store import S3Store

    credentials = connection.session().get_credentials()

    def provide() -> S3Credential:
        frozen = credentials.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(timezone.utc) + _CREDENTIALS_LAST,
        }

    return S3Store(
        bucket,
        endpoint=connection.endpoint,
        region=connection.client().meta.region_name,
        credential_provider=provide,
        client_options=client_options(connection.endpoint),
        retry_config={"max_retries": 0},
    )

"""The SDK's session and client, of this process."""

from __future__ import annotations

import functools
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.loaders import Loader
from botocore.session import Session
from botocore.utils import determine_content_length

from lithops.exceptions import ConfigError
from lithops.storage.backends.aws_s3.config import S3Config
from lithops.storage.backends.aws_s3.errors import translate_errors
from lithops.storage.patience import CONNECT_S, READ_S
from lithops.storage.processes import PerProcess

_CONNECTIONS = 128
"""As many threads may use one client without waiting for, or throwing away, connections."""
_SMALL_BYTES = 1 << 16
"""What fits into the buffers of a connection."""
_DEFAULT_REGION = "us-east-1"
"""Where nothing names a region: requests to a bucket elsewhere are led on by the SDK."""


class Connection:
    """Makes the client when it is first needed, and another one after a fork. Raises `ConfigError`."""

    def __init__(self, config: S3Config, endpoint_url: str | None) -> None:
        if (config.access_key_id is None) != (config.secret_access_key is None):
            lone = "secret_access_key" if config.access_key_id is None else "access_key_id"
            raise ConfigError(
                f"{config.name}: found {lone} alone; set access_key_id and secret_access_key, or neither of them for "
                "the credentials that AWS's own tools would find"
            )
        self.config = config
        self._endpoint_url = endpoint_url
        self._opened = PerProcess(self._open)

    @property
    def endpoint(self) -> str:
        """The URL of the service, for requests and for messages."""
        return self._endpoint_url or str(self.client().meta.endpoint_url)

    @property
    def is_aws(self) -> bool:
        host = urlsplit(self.endpoint).hostname or ""
        return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))

    def session(self) -> Any:
        """The SDK's session: it knows the credentials, and renews them."""
        return self._opened.get()[0]

    def client(self) -> Any:
        """The SDK's client for S3. Safe in threads."""
        return self._opened.get()[1]

    def ask_account(self) -> str:
        """The number of the AWS account that the credentials belong to. One request."""
        region = self.client().meta.region_name
        with (
            translate_errors("AWS STS", ""),
            closing(self.session().client("sts", region_name=region, config=_sdk_settings())) as sts,
        ):
            return str(sts.get_caller_identity()["Account"])

    def close(self) -> None:
        """Free the sockets. Whoever uses the connection again gets a new client."""
        opened = self._opened.take()
        if opened is not None:
            opened[1].close()

    def _open(self) -> tuple[Any, Any]:
        with translate_errors(self._endpoint_url or "S3", self.config.storage_bucket or ""):
            session = _open_session(self.config)
            return session, self._open_client(session)

    def _open_client(self, session: Any) -> Any:
        settings: dict[str, Any] = {}
        if self._endpoint_url is not None:
            # Few relations know the checksums that the SDK adds to every request, and some refuse them.
            settings["request_checksum_calculation"] = "when_required"
            settings["response_checksum_validation"] = "when_required"
        client = session.client(
            "s3",
            endpoint_url=self._endpoint_url,
            region_name=self.config.region or session.region_name or _DEFAULT_REGION,
            config=_sdk_settings(
                signature_version=self.config.signature,
                s3={"addressing_style": self.config.addressing_style},
                max_pool_connections=_CONNECTIONS,
                **settings,
            ),
        )
        client.meta.events.register("before-call.s3.DeleteObjects", _add_md5)
        client.meta.events.register("before-sign.s3.PutObject", _send_small_bodies_at_once)
        return client


def _sdk_settings(**settings: Any) -> Config:
    return Config(
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        tcp_keepalive=True,
        retries={"total_max_attempts": 1, "mode": "standard"},  # `patience` tries again
        **settings,
    )


def _open_session(config: S3Config) -> Any:
    profile = config.config_profile
    if profile is not None and not boto3.Session().available_profiles:
        # The profile is of the machine where the configuration was read. A worker has no profiles at all, and uses
        # the credentials that it runs under.
        profile = None
    session = Session()
    # Reading what S3 is costs a tenth of a second: all clients of a process share it.
    session.register_component("data_loader", _definitions())
    return boto3.Session(
        botocore_session=session,
        aws_access_key_id=config.access_key_id,
        aws_secret_access_key=config.secret_access_key,
        aws_session_token=config.session_token,
        profile_name=profile,
    )


@functools.cache
def _definitions() -> Loader:
    return Loader()


def _add_md5(params: dict[str, Any], **_: Any) -> None:
    """S3 itself takes other checksums; most relations insist on this one where many objects are deleted."""
    import base64
    import hashlib

    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = base64.b64encode(digest).decode()


def _send_small_bodies_at_once(request: Any, **_: Any) -> None:
    """The SDK asks whether a body is welcome, and waits: a second trip for what fits into the first."""
    if (determine_content_length(request.data) or 0) <= _SMALL_BYTES:
        del request.headers["Expect"]

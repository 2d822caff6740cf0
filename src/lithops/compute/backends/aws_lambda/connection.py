"""The SDK's session and clients, of this process, and what its errors mean."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore import exceptions as sdk
from botocore.config import Config
from botocore.loaders import Loader
from botocore.session import Session

from lithops.accounts import AwsAccount
from lithops.exceptions import ComputeError, ConfigError, Throttled
from lithops.storage.processes import PerProcess

_CONNECT_S = 10.0
_READ_S = 60.0
_LONGEST_ACTIVATION_S = 900.0
_ANSWER_S = 30.0
"""How much longer an answer may take than the activation."""
_TRIES = 5

_NO_CREDENTIALS = (
    "set aws.access_key_id and aws.secret_access_key in the configuration, or the environment variables "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run 'aws configure'"
)
_DENIED = {
    "AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation",
}  # fmt: skip
_WHO = {
    "ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidClientTokenId", "InvalidSignatureException",
    "MissingAuthenticationToken", "SignatureDoesNotMatch", "UnrecognizedClientException",
}  # fmt: skip


class Connection:
    """Makes clients when they are first needed, and others after a fork. Safe in threads."""

    def __init__(self, account: AwsAccount, *, threads: int) -> None:
        if (account.access_key_id is None) != (account.secret_access_key is None):
            lone = "secret_access_key" if account.access_key_id is None else "access_key_id"
            raise ConfigError(
                f"aws: found {lone} alone; set access_key_id and secret_access_key, or neither of them for the "
                "credentials that AWS's own tools would find"
            )
        self._account = account
        self._threads = threads
        self._clients: PerProcess[_Clients] = PerProcess(lambda: _Clients(self._open_session()))

    @property
    def region(self) -> str:
        """Raises `ConfigError` if nothing names one."""
        region = self._account.region or self._clients.get().session.region_name
        if region is None:
            raise ConfigError(
                "aws.region: found nothing; set it to the region where functions are to run, for example eu-west-1"
            )
        return str(region)

    def client(self, service: str) -> Any:
        """For requests that are answered soon. What fails and may pass is tried again."""
        return self._clients.get().client(service, lambda session: self._make(session, service, _settings()))

    def invoker(self, *, waits: bool) -> Any:
        """For activations: each request is made once, since whoever asks tries again. Those that wait for the end of an
        activation have as much time as that may take."""

        def make(session: Any) -> Any:
            read_s = _LONGEST_ACTIVATION_S + _ANSWER_S if waits else _READ_S
            return self._make(
                session,
                "lambda",
                Config(
                    connect_timeout=_CONNECT_S,
                    read_timeout=read_s,
                    tcp_keepalive=True,
                    retries={"total_max_attempts": 1, "mode": "standard"},
                    max_pool_connections=self._threads,
                    parameter_validation=False,
                ),
            )

        return self._clients.get().client(f"invoke, {waits}", make)

    def account_id(self) -> str:
        """The number of the account; asked for once where the configuration does not say."""
        return self._account.account_id or str(self.identity["Account"])

    @functools.cached_property
    def identity(self) -> dict[str, str]:
        """Who the credentials belong to. Raises `ComputeError`."""
        with translate_errors("asking AWS who this is"):
            identity: dict[str, str] = self.client("sts").get_caller_identity()
            return identity

    def close(self) -> None:
        """Free the sockets. Whoever uses the connection again gets new clients."""
        clients = self._clients.take()
        if clients is not None:
            clients.close()

    def _open_session(self) -> Any:
        with translate_errors("reading the credentials of AWS"):
            session = Session()
            session.register_component("data_loader", _definitions())
            return boto3.Session(
                botocore_session=session,
                aws_access_key_id=self._account.access_key_id,
                aws_secret_access_key=self._account.secret_access_key,
                aws_session_token=self._account.session_token,
                profile_name=self._account.config_profile,
            )

    def _make(self, session: Any, service: str, settings: Config) -> Any:
        with translate_errors(f"using {service} of AWS"):
            return session.client(service, region_name=self.region, config=settings)


class _Clients:
    def __init__(self, session: Any) -> None:
        self.session = session
        self._made: dict[str, Any] = {}
        self._lock = threading.RLock()

    def client(self, name: str, make: Any) -> Any:
        if name not in self._made:
            with self._lock:
                if name not in self._made:
                    self._made[name] = make(self.session)
        return self._made[name]

    def close(self) -> None:
        with self._lock:
            made, self._made = self._made, {}
        for client in made.values():
            client.close()


def _settings() -> Config:
    return Config(
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        tcp_keepalive=True,
        retries={"total_max_attempts": _TRIES, "mode": "standard"},
    )


@functools.cache
def _definitions() -> Loader:
    """Reading what a service is costs a tenth of a second: all clients of a process share it."""
    return Loader()


def code_of(error: BaseException | None) -> str:
    """What AWS calls the error; empty where it did not say no."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, sdk.ClientError) else ""


def is_denied(error: BaseException | None) -> bool:
    """Whether the identity lacks a right."""
    return code_of(error) in _DENIED


@contextmanager
def translate_errors(doing: str) -> Iterator[None]:
    """Errors of the SDK as `ComputeError`: what was being done, what AWS said, and what to do."""
    try:
        yield
    except (sdk.BotoCoreError, sdk.ClientError) as error:
        raise translated(error, doing) from error


def translated(error: Exception, doing: str) -> ComputeError:
    if isinstance(error, sdk.ClientError):
        return _of_answer(error, doing)
    if isinstance(error, sdk.NoRegionError):
        return ComputeError(f"{doing}: no region is known; set aws.region, for example to eu-west-1")
    if isinstance(error, sdk.NoCredentialsError | sdk.PartialCredentialsError | sdk.CredentialRetrievalError):
        return ComputeError(f"{doing}: there are no credentials to use: {error}; {_NO_CREDENTIALS}")
    if isinstance(error, sdk.ProfileNotFound):
        return ComputeError(
            f"{doing}: {error}; set aws.config_profile to one that 'aws configure list-profiles' shows"
        )
    if isinstance(error, sdk.HTTPClientError):
        return Throttled(
            f"{doing}: AWS cannot be reached: {error}; check the network and aws.region, or try again later"
        )
    return ComputeError(f"{doing}: {error}; check the sections aws and aws_lambda of the configuration")


def _of_answer(error: sdk.ClientError, doing: str) -> ComputeError:
    code, status = code_of(error), int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _WHO:
        return ComputeError(
            f"{doing}: AWS does not know these credentials, or no longer: {error}; {_NO_CREDENTIALS}"
        )
    if code in _DENIED or status == 403:
        return ComputeError(
            f"{doing}: {error}; ask for this right ('lithops doctor --policy -b aws_lambda' prints all that are needed)"
        )
    if status == 429 or status >= 500 or code in ("Throttling", "ThrottlingException"):
        return Throttled(f"{doing}: AWS is overloaded or out of order: {error}; try again later")
    return ComputeError(f"{doing}: {error}")

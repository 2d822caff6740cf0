"""The SDK's client, as this storage needs it: credentials, time limits, retries, and a pool for many threads."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any

import google.auth
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.transport import DEFAULT_REFRESH_STATUS_CODES
from google.auth.transport.requests import AuthorizedSession
from google.cloud.storage import Client
from google.cloud.storage.retry import DEFAULT_RETRY
from google.oauth2 import service_account
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from lithops.exceptions import AccessDenied
from lithops.storage.backends.gcp_storage.config import GcpStorageConfig
from lithops.storage.backends.gcp_storage.errors import detail
from lithops.storage.patience import CONNECT_S, READ_S

TIMEOUT_S = CONNECT_S, READ_S
RETRY = DEFAULT_RETRY.with_delay(initial=0.1, maximum=5.0, multiplier=2.0).with_timeout(35.0)
"""Some ten attempts with growing, random delays. The limit leaves room for a second one after one that timed out."""

_GOOGLE = "https://storage.googleapis.com"
_POOLED_CONNECTIONS = 128
_STREAMED_FROM_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Connection:
    """A client and the session below it, of one process."""

    client: Any
    session: Any
    endpoint: str
    project: str | None

    def request(self, method: str, url: str, *, good: tuple[int, ...] = (), **options: Any) -> Response:
        """One request, not repeated. Raises `GoogleAPICallError` unless its status is below 400, or one of `good`."""
        response: Response = self.session.request(method, url, timeout=TIMEOUT_S, **options)
        if response.status_code < 400 or response.status_code in good:
            return response
        with response:
            message = detail(response) or response.reason
            raise exceptions.from_http_status(response.status_code, message, response=response)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self.client.close()


def endpoint_of(config: GcpStorageConfig) -> str:
    """The configured endpoint, the emulator that Google's libraries are told of, or Google's own."""
    return (config.endpoint or os.environ.get("STORAGE_EMULATOR_HOST") or _GOOGLE).rstrip("/")


def connect(config: GcpStorageConfig) -> Connection:
    """A new connection. Nothing is sent, unless the credentials have to be asked for."""
    endpoint = endpoint_of(config)
    credentials, project = _find_credentials(config, endpoint)
    # Anonymous ones cannot be renewed: an answer that asks for it is the last word.
    renewing = () if isinstance(credentials, AnonymousCredentials) else DEFAULT_REFRESH_STATUS_CODES
    session = AuthorizedSession(credentials, refresh_status_codes=renewing)  # type: ignore[no-untyped-call]
    adapter = _Adapter(pool_maxsize=_POOLED_CONNECTIONS)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    client = Client(
        project=project, credentials=credentials, _http=session, client_options={"api_endpoint": endpoint}
    )
    # For traces that nobody asked for, it would read the description of every bucket, in a thread of its own.
    client._bucket_metadata_cache = None
    return Connection(client, session, endpoint, project)


def _find_credentials(config: GcpStorageConfig, endpoint: str) -> tuple[Credentials, str | None]:
    """Whom to ask as, and the project if it is known."""
    if endpoint.startswith("http://"):
        # A token sent in the clear is everybody's.
        return AnonymousCredentials(), config.project_name or "emulator"  # type: ignore[no-untyped-call]
    if config.credentials_path is None:
        credentials, project = google.auth.default(scopes=Client.SCOPE, quota_project_id=None)
        return credentials, config.project_name or project
    path = os.path.expanduser(config.credentials_path)
    try:
        key: Any = service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call]
            path, scopes=Client.SCOPE
        )
    except (OSError, ValueError) as error:
        raise AccessDenied(
            f"the key of a service account cannot be read from {path}: {error}; check `credentials_path`, or "
            "leave it out to use the credentials of this environment"
        ) from error
    return key, config.project_name or key.project_id


class _Adapter(HTTPAdapter):
    """Sends large bodies bit by bit, because the time limit holds for each bit: a slow link is no error."""

    def send(self, request: PreparedRequest, *arguments: Any, **options: Any) -> Response:
        if isinstance(request.body, bytes) and len(request.body) > _STREAMED_FROM_BYTES:
            request.body = io.BytesIO(request.body)  # its length is in the headers
        return super().send(request, *arguments, **options)

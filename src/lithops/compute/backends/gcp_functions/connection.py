"""Google's clients, as this backend needs them: credentials, endpoints, tokens, and pools of connections."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import google.auth
from google.api_core import exceptions
from google.auth import impersonated_credentials, jwt
from google.auth.transport.requests import AuthorizedSession
from google.auth.transport.requests import Request as AuthRequest
from google.cloud.functions_v2 import FunctionServiceClient
from google.oauth2 import credentials as user_credentials
from google.oauth2 import id_token, service_account
from requests import Session
from requests.adapters import HTTPAdapter

from lithops.compute.backends.gcp_functions.config import GcpFunctionsConfig
from lithops.exceptions import ComputeError

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_TIMEOUT_S = 30.0
_HOSTS = {
    "cloudfunctions": "https://cloudfunctions.googleapis.com",
    "run": "https://run.googleapis.com",
    "pubsub": "https://pubsub.googleapis.com",
    "logging": "https://logging.googleapis.com",
}
# Networks forget connections that are silent, and long calls are.
_KEEP_ALIVE = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
if hasattr(socket, "TCP_KEEPIDLE"):
    _KEEP_ALIVE += [
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 45),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    ]


class Connection:
    """Everything that is asked of Google goes through here. Safe in threads; nothing is sent by making it."""

    def __init__(self, config: GcpFunctionsConfig) -> None:
        self._credentials, found = _find_credentials(config)
        project = config.project_name or found
        if project is None:
            raise ComputeError(
                "there is no project to deploy functions to; set `project_name` in the section gcp, or run `gcloud "
                "config set project NAME`"
            )
        if config.region is None:
            raise ComputeError(
                "there is no region to deploy functions to; set `region` in the section gcp_functions or gcp, as "
                "europe-west1"
            )
        self.project = project
        self.region = config.region
        self.parent = f"projects/{project}/locations/{config.region}"
        self._config = config
        self._lock = threading.Lock()
        self._identities: dict[str, Any] = {}
        self._functions: Any = None
        self._session: Any = AuthorizedSession(self._credentials)  # type: ignore[no-untyped-call]
        self.pool = Session()
        """Takes requests to functions."""
        adapter = _Adapter(pool_maxsize=min(config.max_workers, 1000))
        for session in (self.pool, self._session):
            session.mount("https://", adapter)
            session.mount("http://", adapter)

    @property
    def functions(self) -> Any:
        """The `FunctionServiceClient`."""
        with self._lock:
            if self._functions is None:
                self._functions = FunctionServiceClient(
                    credentials=self._credentials,
                    transport="rest",
                    client_options={"api_endpoint": endpoint_of("cloudfunctions")},
                )
            return self._functions

    def call(self, method: str, api: str, path: str, body: Any = None) -> Any:
        """One request to one of Google's APIs: the JSON that it answers. Raises `GoogleAPICallError`."""
        url = f"{endpoint_of(api)}/{path}"
        response = self._session.request(method, url, json=body, timeout=_TIMEOUT_S)
        if response.status_code >= 400:
            raise exceptions.from_http_response(response)  # type: ignore[no-untyped-call]
        return response.json()

    def identity_token(self, audience: str, *, renewed: bool = False) -> str:
        """A token that tells the function at this URL who calls; kept until it expires."""
        with self._lock:
            identity = self._identities.get(audience)
            if identity is None:
                identity = self._identities[audience] = self._identity(audience)
            request = AuthRequest()
            if renewed or not identity.valid:
                identity.refresh(request)
            # A user's credentials bring it beside the access token.
            token = getattr(identity, "id_token", None) or identity.token
        return str(token)

    def caller(self, audience: str) -> str:
        """This program's identity, as a policy's member."""
        claims: Any = jwt.decode(self.identity_token(audience), verify=False)  # type: ignore[no-untyped-call]
        email = claims["email"]
        return f"{'serviceAccount' if email.endswith('.gserviceaccount.com') else 'user'}:{email}"

    def who(self) -> str:
        """Whose credentials these are, as far as they tell."""
        account = getattr(self._credentials, "service_account_email", None)
        return str(account or type(self._credentials).__name__)

    def close(self) -> None:
        self.pool.close()
        self._session.close()
        if self._functions is not None:
            self._functions.transport.close()

    def _identity(self, audience: str) -> Any:
        mine = self._credentials
        if self._config.credentials_path is not None:
            path = os.path.expanduser(self._config.credentials_path)
            return service_account.IDTokenCredentials.from_service_account_file(  # type: ignore[no-untyped-call]
                path, target_audience=audience
            )
        if isinstance(mine, impersonated_credentials.Credentials):
            return impersonated_credentials.IDTokenCredentials(  # type: ignore[no-untyped-call]
                mine, target_audience=audience, include_email=True
            )
        if isinstance(mine, user_credentials.Credentials):
            return mine
        return id_token.fetch_id_token_credentials(audience, AuthRequest())  # type: ignore[no-untyped-call]


def endpoint_of(api: str) -> str:
    """Where one of Google's APIs is. The variables that gcloud knows lead to private or regional endpoints."""
    variable = f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}"
    endpoint = (os.environ.get(variable) or _HOSTS[api]).rstrip("/")
    if not endpoint.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise ComputeError(f"{variable} is {endpoint}, and credentials are sent to https:// only; correct it")
    return endpoint


def _find_credentials(config: GcpFunctionsConfig) -> tuple[Any, str | None]:
    """Whom to ask as, and the project if it is known."""
    if config.credentials_path is None:
        return google.auth.default(scopes=[_SCOPE])
    path = os.path.expanduser(config.credentials_path)
    try:
        key: Any = service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call]
            path, scopes=[_SCOPE]
        )
    except (OSError, ValueError) as error:
        raise ComputeError(
            f"the key of a service account cannot be read from {path}: {error}; check `credentials_path`, or leave it "
            "out to use the credentials of this environment"
        ) from error
    return key, key.project_id


class _Adapter(HTTPAdapter):
    """Keeps connections open while they are silent."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **{**options, "socket_options": _KEEP_ALIVE})

"""Who asks: identities of the stand-in for Azure, and the tokens that they get as on a machine of Azure's.

The real `azure-identity` finds the endpoint by `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`, as in App Service.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time

from azure_http import Refused, Reply, Request, Server, json_reply

STORAGE = "https://storage.azure.com"
_GOOD_FOR_S = 3600


class Identities:
    """Gives tokens to those who know the header of an identity, and tells later whose a token is."""

    def __init__(self) -> None:
        self._headers: dict[str, str] = {}
        self._tokens: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()
        self._server = Server(self._answer)
        self.storage_readers: set[str] = set()
        """Principals that have a role on the storage account. Azurite takes every token, so the others get none."""

    def variables(self, principal: str) -> dict[str, str]:
        """The environment in which a program has this identity."""
        header = secrets.token_hex(16)
        with self._lock:
            self._headers[header] = principal
        return {"IDENTITY_ENDPOINT": f"{self._server.url}/msi/token", "IDENTITY_HEADER": header}

    def principal_of(self, request: Request, *audiences: str) -> str:
        """Who makes the request. Raises `Refused` for no token, or one for another audience."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        principal, audience = self._tokens.get(token, ("", ""))
        if scheme != "Bearer" or not principal:
            raise Refused(
                401, "AuthenticationFailed", "Authentication failed. The token is missing or invalid."
            )
        if audience not in audiences:
            raise Refused(401, "InvalidAuthenticationTokenAudience", f"The token is for '{audience}'.")
        return principal

    def close(self) -> None:
        self._server.close()

    def _answer(self, request: Request) -> Reply:
        principal = self._headers.get(request.headers.get("x-identity-header", ""))
        resource = request.query.get("resource", "").rstrip("/")
        if principal is None or not resource:
            raise Refused(400, "invalid_request", "the identity or the resource is not known")
        if resource == STORAGE and principal not in self.storage_readers:
            raise Refused(403, "AuthorizationPermissionMismatch", f"{principal} has no role on the account")
        now = int(time.time())
        token = _token(principal, resource, now)
        with self._lock:
            self._tokens[token] = principal, resource
        expires = {"expires_on": str(now + _GOOD_FOR_S), "resource": resource, "token_type": "Bearer"}
        return json_reply({"access_token": token, **expires})


def _token(principal: str, audience: str, now: int) -> str:
    """Of the form that Microsoft Entra ID gives it, which Azurite reads. Nobody has signed it."""
    claims = {
        "iss": "https://sts.windows.net/tenant/",
        "aud": audience,
        "oid": principal,
        "iat": now,
        "nbf": now - 60,
        "exp": now + _GOOD_FOR_S,
        "jti": secrets.token_hex(8),
    }
    parts = ({"alg": "RS256", "typ": "JWT"}, claims, "signature")
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )

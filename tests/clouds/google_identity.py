"""Who asks, and what they may: service accounts with real keys, signed assertions, access and identity tokens."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from certificates import write_service_account
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt
from google_web import Answer, Refused, Request, as_json

PROJECT = "project"
WORKER = "123456-compute@developer.gserviceaccount.com"
"""The service account under which functions run that name no other."""
_TOKEN_S = 3600


class Identities:
    """Service accounts: their public keys and permissions, and the tokens that they were given."""

    def __init__(self) -> None:
        self._keys: dict[str, bytes] = {}
        self.permissions: dict[str, set[str]] = {WORKER: set()}
        self._tokens: dict[str, tuple[str, float]] = {}
        self._public = b""
        self._signer: Any = None
        self.change_key()
        self.token_s = _TOKEN_S
        self.given = 0
        """How many tokens were given out."""

    def change_key(self) -> None:
        """From now on, identity tokens that were given out are worth nothing."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._public = _public_pem(key.public_key())
        self._signer = crypt.RSASigner.from_string(_private_pem(key))  # type: ignore[no-untyped-call]

    def make_account(self, folder: Path, token_uri: str, name: str, permissions: Collection[str]) -> Path:
        """The key file of a new service account with these permissions."""
        path = write_service_account(folder, token_uri)
        key = json.loads(path.read_text())
        email = f"{name}@{PROJECT}.iam.gserviceaccount.com"
        private = serialization.load_pem_private_key(key["private_key"].encode(), None)
        assert isinstance(private, rsa.RSAPrivateKey)
        self._keys[email] = _public_pem(private.public_key())
        self.permissions[email] = set(permissions)
        file = path.with_name(f"{name}.json")
        file.write_text(json.dumps({**key, "client_email": email, "project_id": PROJECT}))
        path.unlink()
        return file

    def exchange(self, request: Request) -> Answer:
        """The token endpoint: an assertion that an account's key has signed, for an access or identity token."""
        form = dict(parse_qsl(request.body.decode()))
        claims = self._verified(form.get("assertion", ""))
        if claims is None or not claims["aud"].endswith("/token"):
            return as_json({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
        email = claims["iss"]
        if "target_audience" in claims:
            return as_json({"id_token": self.identity_token(email, claims["target_audience"])})
        return as_json(
            {"access_token": self.access_token(email), "expires_in": _TOKEN_S, "token_type": "Bearer"}
        )

    def metadata(self, request: Request) -> Answer:
        """The metadata server, which functions ask for their own identity."""
        if request.headers.get("Metadata-Flavor") != "Google":
            raise Refused(403, "Missing Metadata-Flavor:Google header.")
        path = request.path.removeprefix("/computeMetadata/v1/").removesuffix("/")
        account = "instance/service-accounts/"
        known = {
            "project/project-id": PROJECT,
            "universe/universe-domain": "googleapis.com",
            "instance/region": f"projects/{PROJECT}/regions/europe-west1",
        }
        headers = {"Metadata-Flavor": "Google"}
        if path in known:
            return Answer(200, known[path].encode(), {**headers, "Content-Type": "text/plain"})
        if not path.startswith(account):
            return Answer(200 if path in ("", "/computeMetadata/v1") else 404, b"", headers)
        who, _, what = path.removeprefix(account).partition("/")
        if who not in ("default", WORKER):
            return Answer(404, b"", headers)
        if what == "token":
            token = {"access_token": self.access_token(WORKER), "expires_in": 3599, "token_type": "Bearer"}
            answer = as_json(token)
        elif what == "identity":
            answer = Answer(200, self.identity_token(WORKER, request.query["audience"]).encode())
        elif what == "email":
            answer = Answer(200, WORKER.encode(), {"Content-Type": "text/plain"})
        else:
            scopes = ["https://www.googleapis.com/auth/cloud-platform"]
            answer = as_json({"aliases": ["default"], "email": WORKER, "scopes": scopes})
        return Answer(answer.status, answer.body, {**answer.headers, **headers})

    def access_token(self, email: str) -> str:
        token = f"ya29.{secrets.token_urlsafe(24)}"
        self._tokens[token] = email, time.time() + _TOKEN_S
        self.given += 1
        return token

    def identity_token(self, email: str, audience: str) -> str:
        now = int(time.time())
        claims = {
            "iss": "https://accounts.google.com",
            "aud": audience,
            "email": email,
            "email_verified": True,
            "sub": email,
            "iat": now,
            "exp": now + self.token_s,
        }
        self.given += 1
        return str(jwt.encode(self._signer, claims).decode())  # type: ignore[no-untyped-call]

    def who(self, request: Request) -> str:
        """Whose request to an API this is. Raises `Refused` without a good access token or signed assertion."""
        token = _bearer(request)
        email, expiry = self._tokens.get(token, ("", 0.0))
        if time.time() < expiry:
            return email
        claims = self._verified(token)
        if claims is not None and (claims["aud"] if "aud" in claims else claims.get("scope")):
            return str(claims["iss"])
        raise Refused(401, "Request had invalid authentication credentials.")

    def demand(self, email: str, permission: str, resource: str) -> None:
        if permission not in self.permissions.get(email, ()):
            raise Refused(
                403, f"Permission '{permission}' denied on resource '{resource}' (or it may not exist)."
            )

    def invoker(self, request: Request, audience: str) -> str | None:
        """Whose identity token for this audience the request brings; None for none that is good."""
        try:
            claims = jwt.decode(_bearer(request), certs=self._public, audience=audience)  # type: ignore[no-untyped-call]
        except ValueError:
            return None
        return str(claims["email"])

    def _verified(self, assertion: str) -> dict[str, Any] | None:
        try:
            claims: dict[str, Any] = jwt.decode(assertion, verify=False)  # type: ignore[no-untyped-call]
            key = self._keys[claims["iss"]]
            jwt.decode(assertion, certs=key)  # type: ignore[no-untyped-call]
        except (ValueError, KeyError):
            return None
        return claims


def _bearer(request: Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


def _public_pem(key: rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _private_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

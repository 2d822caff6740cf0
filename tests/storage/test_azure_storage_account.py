"""Which account of Azure is used, who asks for its objects, and that secrets stay where they are."""

from __future__ import annotations

import base64
import json
import pickle
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from azurite_server import Azurite, running_azurite
from certificates import Certificate, make_certificate

from lithops.config.check import check_section, masked
from lithops.exceptions import AccessDenied, ConfigError
from lithops.storage import registry
from lithops.storage.backends.azure_storage.account import Account, find_account
from lithops.storage.backends.azure_storage.backend import AzureStorage
from lithops.storage.backends.azure_storage.config import AzureStorageConfig
from lithops.storage.client import Storage

KEY = base64.b64encode(b"a key").decode()
PUBLIC = "https://account.blob.core.windows.net"
CHINA = "https://account.blob.core.chinacloudapi.cn"
CONNECTION = (
    f"DefaultEndpointsProtocol=https;AccountName=account;AccountKey={KEY};EndpointSuffix=core.windows.net"
)
SIGNED = f"BlobEndpoint={PUBLIC}/;SharedAccessSignature=sv=1&sig=x;"


def found(environ: dict[str, str] | None = None, **settings: Any) -> Account:
    return find_account(AzureStorageConfig(**settings), environ or {})


# -------------------------------------------------------------------- settings


def test_settings_are_typed_and_the_key_is_masked() -> None:
    section = {"storage_account_name": "account", "storage_account_key": KEY, "region": "westeurope"}
    config = check_section(AzureStorageConfig, section, section="azure_storage", origin="a test")
    assert config == AzureStorageConfig(**section)
    assert masked(config)["storage_account_key"] == "***"
    with pytest.raises(ConfigError, match=r"azure_storage.storage_account_name.*allowed is text"):
        check_section(
            AzureStorageConfig, {"storage_account_name": 7}, section="azure_storage", origin="a test"
        )


@pytest.mark.parametrize(
    ("settings", "endpoint"),
    [
        ({"storage_account_name": "account"}, PUBLIC),
        ({"storage_account_name": "account", "endpoint": "http://localhost:1/x/"}, "http://localhost:1/x"),
        ({"endpoint": "http://azurite:10000/account"}, "http://azurite:10000/account"),
        ({"endpoint": f"{CHINA}/"}, CHINA),
    ],
)
def test_the_configuration_names_the_account(settings: dict[str, str], endpoint: str) -> None:
    environ = {"AZURE_STORAGE_ACCOUNT": "other", "AZURE_STORAGE_KEY": "b3RoZXI="}
    assert found(environ, storage_account_key=KEY, **settings) == Account("account", endpoint, KEY)


@pytest.mark.parametrize(
    ("environ", "key", "signature"),
    [
        ({"AZURE_STORAGE_CONNECTION_STRING": CONNECTION}, KEY, None),
        ({"AZURE_STORAGE_CONNECTION_STRING": SIGNED}, None, "sv=1&sig=x"),
        ({"AZURE_STORAGE_ACCOUNT": "account", "AZURE_STORAGE_KEY": KEY}, KEY, None),
        ({"AZURE_STORAGE_ACCOUNT": "account", "AZURE_STORAGE_SAS_TOKEN": "?sv=1"}, None, "sv=1"),
        ({"AZURE_STORAGE_ACCOUNT": "account"}, None, None),
    ],
)
def test_the_environment_names_the_account(
    environ: dict[str, str], key: str | None, signature: str | None
) -> None:
    account = Account("account", PUBLIC, key, signature)
    assert found(environ) == account
    assert found(environ, storage_account_name="account") == account


def test_the_environments_key_of_another_account_is_not_used() -> None:
    for environ in (
        {"AZURE_STORAGE_CONNECTION_STRING": CONNECTION},
        {"AZURE_STORAGE_ACCOUNT": "account", "AZURE_STORAGE_KEY": KEY},
    ):
        other = found(environ, storage_account_name="another")
        assert other == Account("another", "https://another.blob.core.windows.net")


@pytest.mark.parametrize(
    ("settings", "environ", "message"),
    [
        ({}, {}, "set storage_account_name"),
        ({"storage_account_key": KEY}, {"AZURE_STORAGE_ACCOUNT": "account"}, "set storage_account_name"),
        ({"storage_account_name": "Not-One"}, {}, "3 to 24 small letters"),
        ({"storage_account_name": "account", "storage_account_key": "no key"}, {}, "copy it again"),
        ({"endpoint": "localhost:10000/account", "storage_account_key": KEY}, {}, "is no URL"),
        ({"endpoint": "http://localhost:10000/account"}, {}, "not encrypted"),
        ({}, {"AZURE_STORAGE_CONNECTION_STRING": "nonsense"}, "AZURE_STORAGE_CONNECTION_STRING names no account"),
    ],
)  # fmt: skip
def test_an_account_that_cannot_be_opened_is_told(
    settings: dict[str, str], environ: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        found(environ, **settings)
    assert KEY not in str(caught.value)
    assert "no key" not in str(caught.value)


def test_a_bucket_that_is_not_named_has_the_accounts_name() -> None:
    settings = {"storage_account_name": "account", "storage_account_key": KEY}
    assert AzureStorage(AzureStorageConfig(**settings)).default_bucket() == "lithops-account"
    assert AzureStorage(AzureStorageConfig(**settings, storage_bucket="mine")).default_bucket() == "mine"


def test_a_reference_names_the_account_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", CONNECTION)
    backend = AzureStorage(AzureStorageConfig(region="westeurope"))
    reference = backend.reference("box")
    assert reference.options == {
        "region": "westeurope",
        "storage_account_name": "account",
        "endpoint": PUBLIC,
    }
    assert backend.client().account_name == "account"
    backend.close()


def test_no_secret_is_in_a_reference_a_pickle_or_a_repr(azurite: Azurite) -> None:
    config = AzureStorageConfig(endpoint=azurite.endpoint, storage_account_key=azurite.account_key)
    backend = registry.create("azure_storage", config)
    storage = Storage.over(backend, "pickled")
    storage.put_object("pickled", "k", b"v")
    pickled = pickle.dumps(storage)
    for text in (
        pickled.decode("latin-1"),
        json.dumps(dict(backend.reference("b").options)),
        repr(vars(backend)),
    ):
        assert azurite.account_key not in text
    assert repr(find_account(config, {})).count(azurite.account_key) == 0
    again = pickle.loads(pickled)
    assert again.get_object("pickled", "k") == b"v"
    again.storage_handler.close()
    backend.close()


# -------------------------------------------------------------------- identities


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


def token() -> str:
    """A token as Microsoft Entra ID issues one. Azurite reads it, and does not check who signed it."""
    now = int(time.time())
    claims = {
        "iss": "https://sts.windows.net/tenant/",
        "aud": "https://storage.azure.com",
        "iat": now,
        "nbf": now - 60,
        "exp": now + 3600,
    }
    parts = ({"alg": "RS256", "typ": "JWT"}, claims, "signature")
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )


class _Identity(BaseHTTPRequestHandler):
    """Gives tokens as an Azure machine with an identity does."""

    asked: list[str] = []  # noqa: RUF012 - of all connections

    def do_GET(self) -> None:
        self.asked.append(self.path)
        expires_on = int(time.time()) + 3600
        body = json.dumps(
            {"access_token": token(), "expires_on": expires_on, "token_type": "Bearer"}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Quiet."""


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """This process has an identity of Azure's; gives the requests for its tokens."""
    server = HTTPServer(("127.0.0.1", 0), _Identity)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}/token")
    monkeypatch.setenv("IDENTITY_HEADER", "header")
    _Identity.asked.clear()
    yield _Identity.asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_identity_opens_the_account_where_there_is_no_key(
    certificate: Certificate, identity: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.authority))
    options = ("--oauth", "basic", "--cert", str(certificate.certificate), "--key", str(certificate.key))
    with running_azurite(tmp_path, scheme="https", options=options) as azurite:
        backend = AzureStorage(AzureStorageConfig(endpoint=azurite.endpoint))
        backend.ensure_bucket("identity")
        backend.put("identity", "k", b"v")
        assert backend.get("identity", "k") == b"v"
        assert backend.get_many("identity", ["k", "k"]) == [b"v", b"v"]
        assert backend._many._stores.get()["identity"] is not None
        backend.delete("identity", ["k", "l"])
        assert list(backend.list("identity")) == []
        backend.close()
    assert any("storage.azure.com" in path for path in identity)


def test_without_any_credentials_access_is_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    # What a machine at home finds: nothing in the environment, no login, and no Azure around it.
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    backend = AzureStorage(AzureStorageConfig(storage_account_name="account"))
    with pytest.raises(AccessDenied, match=r"no credentials.*az login"):
        backend.get("box", "k")
    with pytest.raises(AccessDenied, match=r"no credentials.*az login"):
        backend.bucket_exists("box")
    backend.close()

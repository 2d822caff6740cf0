"""Which storage account is meant, and by what it is opened: the configuration, then what Azure's own tools look for."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from lithops.exceptions import ConfigError
from lithops.storage.backends.azure_storage.config import AzureStorageConfig

_NAME = re.compile(r"[a-z0-9]{3,24}")


@dataclass(frozen=True, slots=True)
class Account:
    """A storage account. Without a key and a signature, an identity of Microsoft Entra ID opens it."""

    name: str
    endpoint: str
    key: str | None = field(default=None, repr=False)
    signature: str | None = field(default=None, repr=False)
    """A shared access signature."""


def find_account(config: AzureStorageConfig, environ: Mapping[str, str]) -> Account:
    """The account of the configuration; what it does not say is taken from the environment.

    A key in the configuration is that of the account in the configuration. Raises `ConfigError` where no account is
    named, or where it cannot be opened.
    """
    named = _named(config)
    if config.storage_account_key is not None:
        found = Account("", "", config.storage_account_key)
    else:
        found = _in_environment(environ)
        if named and found.name not in ("", named):
            found = Account("", "")
    name = named or found.name
    if not name:
        raise ConfigError(
            "azure_storage: no storage account is named; set storage_account_name, or the environment variable "
            "AZURE_STORAGE_CONNECTION_STRING or AZURE_STORAGE_ACCOUNT"
        )
    endpoint = config.endpoint or found.endpoint or _public_endpoint(name)
    _check_key(found.key)
    _check_endpoint(endpoint, found)
    signature = found.signature.lstrip("?") if found.signature else None
    return Account(name, endpoint.rstrip("/"), found.key, signature)


def _named(config: AzureStorageConfig) -> str:
    """The account that the configuration names, by itself or in the endpoint."""
    if config.storage_account_name or not config.endpoint:
        return config.storage_account_name or ""
    url = urlsplit(config.endpoint)
    return url.path.strip("/") or (url.hostname or "").partition(".")[0]


def _in_environment(environ: Mapping[str, str]) -> Account:
    """What the variables of Azure's command line say: empty where they say nothing."""
    text = environ.get("AZURE_STORAGE_CONNECTION_STRING")
    if not text:
        return Account(
            environ.get("AZURE_STORAGE_ACCOUNT", ""),
            "",
            environ.get("AZURE_STORAGE_KEY"),
            environ.get("AZURE_STORAGE_SAS_TOKEN"),
        )
    pairs = (part.partition("=") for part in text.strip("; ").split(";"))
    fields = {name.strip().lower(): value for name, _, value in pairs}
    name, endpoint = fields.get("accountname", ""), fields.get("blobendpoint", "")
    if not name and not endpoint:
        raise ConfigError(
            "AZURE_STORAGE_CONNECTION_STRING names no account; set it to the one that Azure's portal shows"
        )
    if not endpoint:
        protocol = fields.get("defaultendpointsprotocol", "https")
        endpoint = f"{protocol}://{name}.blob.{fields.get('endpointsuffix', 'core.windows.net')}"
    name = name or _named(AzureStorageConfig(endpoint=endpoint))
    return Account(name, endpoint, fields.get("accountkey"), fields.get("sharedaccesssignature"))


def _public_endpoint(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"azure_storage.storage_account_name: {name!r} is no account of Azure's; take its 3 to 24 small letters "
            "and digits, or set the endpoint too"
        )
    return f"https://{name}.blob.core.windows.net"


def _check_key(key: str | None) -> None:
    try:
        b64decode(key or "", validate=True)
    except ValueError:
        raise ConfigError(
            "azure_storage.storage_account_key: this is no account's key, which is base64; copy it again, whole"
        ) from None


def _check_endpoint(endpoint: str, found: Account) -> None:
    url = urlsplit(endpoint)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigError(
            f"azure_storage.endpoint: {endpoint!r} is no URL; write it as https://ACCOUNT.blob.core.windows.net"
        )
    if url.scheme == "http" and not (found.key or found.signature):
        raise ConfigError(
            f"azure_storage: an identity's token is never sent to {endpoint}, which is not encrypted; set "
            "storage_account_key, or take an https:// endpoint"
        )

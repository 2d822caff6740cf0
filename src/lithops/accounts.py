"""What the backends of one provider have in common: the sections `aws`, `gcp` and `azure` of the configuration.

A backend's configuration inherits from its provider's class. A value of the provider's section holds for all of its
backends, unless the backend's own section has another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from lithops.settings import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsAccount:
    """The section `aws`. Where it names no credentials, boto3 finds them as every AWS tool does."""

    account_section: ClassVar[str] = "aws"

    region: str | None = None
    access_key_id: Annotated[str, Secret()] | None = field(default=None, repr=False)
    secret_access_key: Annotated[str, Secret()] | None = field(default=None, repr=False)
    session_token: Annotated[str, Secret()] | None = field(default=None, repr=False)
    account_id: str | None = None
    """Saves asking for it."""
    config_profile: str | None = None
    """A profile of the files in ``~/.aws``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GcpAccount:
    """The section `gcp`. Where it names no credentials, Google's libraries find them as they always do."""

    account_section: ClassVar[str] = "gcp"

    project_name: str | None = None
    region: str | None = None
    # The path is of this machine, as the key behind it is: neither travels with a reference.
    credentials_path: Annotated[str, Secret()] | None = None
    """The JSON file of a service account's key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureAccount:
    """The section `azure`."""

    account_section: ClassVar[str] = "azure"

    resource_group: str | None = None
    region: str | None = None
    subscription_id: str | None = None

"""The settings of the storage on Azure Blob Storage."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from lithops.accounts import AzureAccount
from lithops.settings import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureStorageConfig(AzureAccount):
    """Which storage account holds the objects, and who asks for them."""

    storage_account_name: str | None = None
    """None: that of the `endpoint`, or of the environment."""
    storage_account_key: Annotated[str, Secret()] | None = field(default=None, repr=False)
    """None: what the environment holds, or the identity that Azure's own tools would find."""
    storage_bucket: str | None = None
    """The container of everything that names no other. None: a name derived from the account."""
    endpoint: str | None = None
    """The URL of the account's blobs where it is not Azure's own, as that of a sovereign cloud or an emulator."""

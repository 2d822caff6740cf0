"""The settings of the storage on Google Cloud Storage."""

from __future__ import annotations

from dataclasses import dataclass

from lithops.accounts import GcpAccount


@dataclass(frozen=True, slots=True, kw_only=True)
class GcpStorageConfig(GcpAccount):
    """Where the objects lie, and who asks for them."""

    storage_bucket: str | None = None
    """The bucket of everything that names no other. None: a name derived from the project."""
    endpoint: str | None = None
    """The URL of another endpoint than Google's own. One with ``http://`` is an emulator's, and gets no credentials."""

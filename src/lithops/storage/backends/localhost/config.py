"""The settings of the localhost storage."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LocalhostStorageConfig:
    """Where the objects lie on this machine's disk."""

    storage_bucket: str = "lithops-data"
    """The bucket of everything that names no other."""
    root: str = ""
    """The folder of all buckets, absolute or ``~/...``; empty: ``storage`` below `LITHOPS_TEMP_DIR`."""

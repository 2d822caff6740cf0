"""Names that programs import from here; they are at home in `storage.cloudobject` and `exceptions`."""

from __future__ import annotations

from lithops.exceptions import StorageNoSuchKeyError
from lithops.storage.cloudobject import CloudObject, CloudObjectLocal, CloudObjectUrl

__all__ = ["CloudObject", "CloudObjectUrl", "CloudObjectLocal", "StorageNoSuchKeyError"]

"""Many small objects at once."""

from __future__ import annotations

from collections.abc import Sequence

from lithops.exceptions import StorageError
from lithops.storage.base import StorageBackend, SupportsBulk


def read_many(storage: StorageBackend, bucket: str, keys: Sequence[str]) -> Sequence[bytes | StorageError]:
    """The objects' bytes, in the order of the keys; for one that cannot be read, the error instead."""
    if isinstance(storage, SupportsBulk) and len(keys) > 1:
        return storage.get_many(bucket, keys)
    return [_read(storage, bucket, key) for key in keys]


def _read(storage: StorageBackend, bucket: str, key: str) -> bytes | StorageError:
    try:
        return storage.get(bucket, key)
    except StorageError as error:
        return error

"""A storage as one side sees it: now and then it is out of reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO

from lithops.exceptions import StorageUnavailable
from lithops.storage.base import Body, ObjectInfo, StorageBackend
from lithops.wire.messages import ByteRange, StorageRef


class StorageView:
    """Implements `StorageBackend` over another. `refuses(operation, key or prefix)` says whether it is out of reach."""

    def __init__(self, storage: StorageBackend, refuses: Callable[[str, str], bool]) -> None:
        self.name = storage.name
        self._storage = storage
        self._refuses = refuses

    def put(self, bucket: str, key: str, body: Body, *, if_absent: bool = False) -> None:
        self._check("put", key)
        self._storage.put(bucket, key, body, if_absent=if_absent)

    def get(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> bytes:
        self._check("get", key)
        return self._storage.get(bucket, key, byte_range)

    def open(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> BinaryIO:
        self._check("open", key)
        return self._storage.open(bucket, key, byte_range)

    def head(self, bucket: str, key: str) -> ObjectInfo:
        self._check("head", key)
        return self._storage.head(bucket, key)

    def list(self, bucket: str, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        self._check("list", prefix)
        return self._storage.list(bucket, prefix, start_after)

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        self._check("delete", "")
        self._storage.delete(bucket, keys)

    def ensure_bucket(self, bucket: str) -> None:
        self._storage.ensure_bucket(bucket)

    def bucket_exists(self, bucket: str) -> bool:
        return self._storage.bucket_exists(bucket)

    def default_bucket(self) -> str:
        return self._storage.default_bucket()

    def reference(self, bucket: str) -> StorageRef:
        return self._storage.reference(bucket)

    def client(self) -> Any:
        return self._storage.client()

    def close(self) -> None:
        """The storage is the cloud's, and outlives this view."""

    def _check(self, operation: str, key: str) -> None:
        if self._refuses(operation, key):
            raise StorageUnavailable(
                f"the simulated storage is out of reach for '{operation}': try again later"
            )

"""A storage in memory, for tests: it keeps every promise of `StorageBackend` while the process lives."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from lithops.exceptions import AlreadyExists, InvalidKey, NoSuchBucket, StorageNoSuchKeyError
from lithops.storage.base import Body, ObjectInfo
from lithops.wire.messages import ByteRange, StorageRef


@dataclass(frozen=True, slots=True)
class _Object:
    data: bytes
    info: ObjectInfo


class MemoryStorage:
    """Implements `StorageBackend`. Safe in threads.

    `clock` gives the seconds of the Unix epoch at which objects are said to be modified.
    """

    name = "memory"

    def __init__(self, bucket: str = "lithops-data", *, clock: Callable[[], float] = time.time) -> None:
        self._bucket = bucket
        self._clock = clock
        self._buckets: dict[str, dict[str, _Object]] = {}
        self._puts = 0
        self._lock = threading.Lock()

    def put(self, bucket: str, key: str, body: Body, *, if_absent: bool = False) -> None:
        _check("bucket", bucket)
        _check("key", key)
        # The body is read before the lock is taken: it may come slowly.
        data = _read(body)
        with self._lock:
            objects = self._objects(bucket)
            if if_absent and key in objects:
                raise AlreadyExists(f"there is an object '{key}' of bucket '{bucket}' already")
            self._puts += 1
            objects[key] = _Object(data, ObjectInfo(key, len(data), f"{self._puts}", self._clock()))

    def get(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> bytes:
        data = self._object(bucket, key).data
        return data if byte_range is None else data[byte_range.start : byte_range.stop]

    def open(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> BinaryIO:
        return io.BytesIO(self.get(bucket, key, byte_range))

    def head(self, bucket: str, key: str) -> ObjectInfo:
        return self._object(bucket, key).info

    def list(self, bucket: str, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        with self._lock:
            objects = self._objects(bucket)
            keys = sorted(key for key in objects if key.startswith(prefix) and key > start_after)
            infos = [objects[key].info for key in keys]
        yield from infos

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        for key in keys:
            _check("key", key)
        with self._lock:
            objects = self._objects(bucket)
            for key in keys:
                objects.pop(key, None)

    def ensure_bucket(self, bucket: str) -> None:
        _check("bucket", bucket)
        with self._lock:
            self._buckets.setdefault(bucket, {})

    def bucket_exists(self, bucket: str) -> bool:
        _check("bucket", bucket)
        return bucket in self._buckets

    def default_bucket(self) -> str:
        return self._bucket

    def reference(self, bucket: str) -> StorageRef:
        """Names this storage, but no other process can find it."""
        return StorageRef(self.name, bucket)

    def client(self) -> Any:
        return self

    def close(self) -> None:
        """Nothing is held open."""

    def _objects(self, bucket: str) -> dict[str, _Object]:
        _check("bucket", bucket)
        try:
            return self._buckets[bucket]
        except KeyError:
            raise NoSuchBucket(f"there is no bucket '{bucket}'; check the name, or create it") from None

    def _object(self, bucket: str, key: str) -> _Object:
        _check("key", key)
        with self._lock:
            try:
                return self._objects(bucket)[key]
            except KeyError:
                raise StorageNoSuchKeyError(bucket, key) from None


def _read(body: Body) -> bytes:
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    if isinstance(body, Sequence):
        return b"".join(bytes(segment) for segment in body)
    return body.read()


def _check(what: str, name: str) -> None:
    longest, forbidden = (1024, "\0") if what == "key" else (250, "\0/")
    size = len(name.encode(errors="replace"))
    is_text = not any("\ud800" <= character <= "\udfff" for character in name)
    is_path = name.startswith("/") or ".." in name.split("/") or any(mark in name for mark in forbidden)
    if is_path or not is_text or not 0 < size <= longest:
        raise InvalidKey(f"{name[:80]!r} cannot be the name of a {what}: take 1 to {longest} bytes of UTF-8")

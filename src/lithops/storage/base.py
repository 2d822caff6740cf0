"""What a storage backend is: a small protocol, and the few capabilities that some have beside it.

A backend raises only `StorageError`s: its SDK's own errors cross in one `translate_errors` of that backend.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, runtime_checkable

from lithops.exceptions import StorageError
from lithops.wire.messages import ByteRange, StorageRef
from lithops.wire.pickles import Buffer

Body = Buffer | Sequence[Buffer] | BinaryIO
"""What `put` takes: bytes, segments to be stored one after the other, or a binary file."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What is known of an object without reading it."""

    key: str
    size: int
    """Bytes."""
    etag: str
    """Changes when the object does."""
    last_modified: float
    """Seconds of the Unix epoch."""


class StorageBackend(Protocol):
    """Objects in buckets. Safe to use from many threads at once."""

    name: str
    """The name under which the registry knows this backend."""

    def put(self, bucket: str, key: str, body: Body, *, if_absent: bool = False) -> None:
        """Store an object whole or not at all.

        Raises `AlreadyExists` when `if_absent` and the object is there: of several writers, one wins.
        """
        ...

    def get(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> bytes:
        """The object's bytes, or those of the range that exist."""
        ...

    def open(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> BinaryIO:
        """The object as a stream; the caller closes it."""
        ...

    def head(self, bucket: str, key: str) -> ObjectInfo: ...

    def list(self, bucket: str, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        """The objects whose keys start with `prefix`, in the order of their keys, after `start_after`."""
        ...

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        """Delete objects; those that do not exist are no error."""
        ...

    def ensure_bucket(self, bucket: str) -> None:
        """Create the bucket unless it exists."""
        ...

    def bucket_exists(self, bucket: str) -> bool: ...

    def default_bucket(self) -> str:
        """The bucket of the configuration, or a stable name derived from the account."""
        ...

    def reference(self, bucket: str) -> StorageRef:
        """How a task names this storage: no credentials."""
        ...

    def client(self) -> Any:
        """The SDK's own client, for users who need more."""
        ...

    def close(self) -> None:
        """Close this process's connections. Whoever uses the storage afterwards opens new ones."""
        ...


@runtime_checkable
class SupportsMapping(Protocol):
    """A storage whose objects can be mapped into memory instead of being read."""

    def map(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> Buffer:
        """The object's bytes as private, writable memory that is copied only where it is written to."""
        ...


@runtime_checkable
class SupportsBulk(Protocol):
    """A storage that reads many small objects at once faster than one after the other in threads."""

    def get_many(self, bucket: str, keys: Sequence[str]) -> Sequence[bytes | StorageError]:
        """The objects' bytes, in the order of the keys; for one that cannot be read, the error instead."""
        ...

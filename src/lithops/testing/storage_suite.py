"""What the parts of the storages' conformance suite have in common: what an author gives, and may narrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lithops.storage import registry
from lithops.storage.base import StorageBackend
from lithops.storage.client import Storage
from lithops.testing.samples import NASTY_KEYS


class StorageSuite:
    """Tests of one storage backend."""

    bucket: ClassVar[str] = "lithops-conformance"
    """Is created, and emptied after each test."""
    large_bytes: ClassVar[int] = 8_000_000
    huge_bytes: ClassVar[int] = 100_000_000
    """More than goes in one request: it is stored and read in parts."""
    file_memory_bytes: ClassVar[int] = 95_000_000
    """By how much a process may grow while it stores and reads a file of `huge_bytes`: by the SDK, and by the parts
    that are under way at once, which on a busy machine are all that there may be."""
    listed_keys: ClassVar[int] = 1_100
    """More than one page of a listing."""
    deleted_keys: ClassVar[int] = 2_500
    """More than one request deletes."""
    bulk_keys: ClassVar[int] = 1_000
    threads: ClassVar[int] = 64
    races: ClassVar[int] = 5
    """How often sixteen writers race for one key."""
    replacements: ClassVar[int] = 50
    """How often an object is replaced while it is read."""
    clock_skew_s: ClassVar[float] = 120.0
    """How far the storage's clock may be from this machine's."""
    patience_s: ClassVar[float] = 60.0
    """How long anything may take before it is taken for hanging."""
    nasty_keys: ClassVar[Sequence[str]] = NASTY_KEYS
    invalid_keys: ClassVar[Sequence[str]] = ("", "k" * 1025, "nul\0", "surrogate\ud800")
    invalid_buckets: ClassVar[Sequence[str]] = ("", "a/b", "..", "../x", "nul\0", "b" * 300)

    def make_backend(self, tmp_path: Path) -> StorageBackend:
        """A new client of the storage under test. Called once a test; `tmp_path` is an empty folder."""
        raise NotImplementedError

    def make_denied_backend(self, tmp_path: Path) -> StorageBackend | None:  # noqa: ARG002 - for who overrides it
        """A client of the same storage whose identity may read and list, and nothing else. None: there is none."""
        return None

    def make_stranger_backend(self, tmp_path: Path) -> StorageBackend | None:  # noqa: ARG002 - as above
        """A client of the same storage that has a wrong secret. None: the storage asks for none."""
        return None

    def credentials(self) -> Mapping[str, Any]:
        """The secret settings that other processes need, as their environment would hold them for this backend."""
        return {}

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[StorageBackend]:
        backend = self.make_backend(tmp_path)
        backend.ensure_bucket(self.bucket)
        try:
            yield backend
        finally:
            backend.delete(self.bucket, [info.key for info in backend.list(self.bucket)])
            backend.close()

    @pytest.fixture
    def storage(self, backend: StorageBackend) -> Storage:
        return Storage.over(backend, self.bucket)

    def in_threads(self, count: int, work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """What `work` gives for each item, done by so many threads."""
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(work, items, timeout=self.patience_s))


def needs_registered(backend: StorageBackend) -> None:
    """Skip the test where other processes cannot find the storage."""
    if backend.name not in registry.backend_names():
        pytest.skip("this storage is not registered: no other process can find it")


def ordered(keys: Any) -> list[str]:
    """The order of all clouds: that of the keys' UTF-8 bytes."""
    return sorted(keys, key=str.encode)

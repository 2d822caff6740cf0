"""The storage in memory keeps every promise of a storage."""

from __future__ import annotations

from pathlib import Path

from lithops.storage.base import StorageBackend
from lithops.testing.memory import MemoryStorage
from lithops.testing.storage import StorageConformance


class TestMemoryStorage(StorageConformance):
    def make_backend(self, tmp_path: Path) -> StorageBackend:
        return MemoryStorage()


def test_times_come_from_the_clock_that_was_given() -> None:
    times = iter([1_000.0, 2_000.5])
    backend = MemoryStorage("b", clock=lambda: next(times))
    backend.ensure_bucket("b")
    backend.put("b", "first", b"")
    backend.put("b", "second", b"")
    assert [info.last_modified for info in backend.list("b")] == [1_000.0, 2_000.5]

"""Many threads at once: on one client, on one key, and around one object that changes."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from lithops.exceptions import AlreadyExists
from lithops.storage.base import StorageBackend
from lithops.testing.storage_suite import StorageSuite

_WRITERS = 16


class StorageSharing(StorageSuite):
    def test_of_many_conditional_puts_one_wins(self, backend: StorageBackend) -> None:
        for race in range(self.races):
            start = threading.Barrier(_WRITERS, timeout=self.patience_s)
            commit = partial(self._commit, backend, f"race/{race}", start)
            outcomes = self.in_threads(_WRITERS, commit, range(_WRITERS))
            winners = [writer for writer in outcomes if writer is not None]
            assert len(winners) == 1
            assert backend.get(self.bucket, f"race/{race}") == b"%d" % winners[0]

    def _commit(self, backend: StorageBackend, key: str, start: threading.Barrier, writer: int) -> int | None:
        start.wait()
        try:
            backend.put(self.bucket, key, b"%d" % writer, if_absent=True)
        except AlreadyExists:
            return None
        return writer

    def test_a_conditional_put_is_refused_while_the_object_exists(self, backend: StorageBackend) -> None:
        backend.put(self.bucket, "k", b"first", if_absent=True)
        for body in (
            b"second",
            io.BytesIO(b"second"),
            [b"sec", b"ond"],
            io.BytesIO(bytes(self.large_bytes * 3)),
        ):
            with pytest.raises(AlreadyExists, match="k"):
                backend.put(self.bucket, "k", body, if_absent=True)
        assert backend.get(self.bucket, "k") == b"first"
        backend.put(self.bucket, "k", b"third")
        assert backend.get(self.bucket, "k") == b"third"
        backend.delete(self.bucket, ["k"])
        backend.put(self.bucket, "k", b"fourth", if_absent=True)
        assert backend.get(self.bucket, "k") == b"fourth"

    def test_threads_share_a_client(self, backend: StorageBackend) -> None:
        def work(thread: int) -> None:
            keys = [f"threads/{thread:02d}/{turn}" for turn in range(4)]
            for key in keys:
                backend.put(self.bucket, key, key.encode() * 100)
            assert [info.key for info in backend.list(self.bucket, f"threads/{thread:02d}/")] == keys
            for key in keys:
                assert backend.get(self.bucket, key) == key.encode() * 100
            backend.delete(self.bucket, keys)

        self.in_threads(self.threads, work, range(self.threads))
        assert list(backend.list(self.bucket)) == []

    def test_readers_see_an_object_whole_while_it_is_replaced(self, backend: StorageBackend) -> None:
        bodies = [bytes([digit]) * (200_000 + 1_000 * digit) for digit in range(10)]
        backend.put(self.bucket, "k", bodies[0])
        replaced = threading.Event()

        def read() -> int:
            count = 0
            while not replaced.is_set() or count == 0:
                with backend.open(self.bucket, "k") as stream:
                    streamed = stream.read(10) + stream.read()
                assert backend.get(self.bucket, "k") in bodies
                assert streamed in bodies
                count += 1
            return count

        with ThreadPoolExecutor(4) as pool:
            readers = [pool.submit(read) for _ in range(4)]
            try:
                for turn in range(self.replacements):
                    backend.put(self.bucket, "k", bodies[turn % 10])
            finally:
                replaced.set()
            assert all(reader.result(self.patience_s) > 0 for reader in readers)

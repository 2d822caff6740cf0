"""What every storage backend promises, as tests. A backend's author inherits them::

    class TestMyStorage(StorageConformance):
        def make_backend(self, tmp_path):
            return MyStorage(MyConfig(...))

Nothing else has to be overridden. A storage that is slow, or allows fewer names, narrows the attributes.
"""

from __future__ import annotations

import io
import json
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lithops.exceptions import AlreadyExists, InvalidKey, NoSuchBucket, StorageNoSuchKeyError
from lithops.storage import registry
from lithops.storage.base import StorageBackend, SupportsMapping
from lithops.testing.samples import BODIES, NASTY_KEYS, SourceBrokeOff, unseekable
from lithops.wire.messages import ByteRange

_UNTIL_THE_END = sys.maxsize
_TIMEOUT_S = 60


class StorageConformance:
    """Inherit this, and override `make_backend`."""

    bucket: ClassVar[str] = "lithops-conformance"
    """Is created, and emptied after each test."""
    large_bytes: ClassVar[int] = 8_000_000
    listed_keys: ClassVar[int] = 1_100
    """More than one page of a listing."""
    nasty_keys: ClassVar[Sequence[str]] = NASTY_KEYS
    invalid_keys: ClassVar[Sequence[str]] = ("", "k" * 1025, "nul\0", "surrogate\ud800")
    invalid_buckets: ClassVar[Sequence[str]] = ("", "a/b", "..", "../x", "nul\0", "b" * 300)

    def make_backend(self, tmp_path: Path) -> StorageBackend:
        """A new client of the storage under test. Called once a test; `tmp_path` is an empty folder."""
        raise NotImplementedError

    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[StorageBackend]:
        backend = self.make_backend(tmp_path)
        backend.ensure_bucket(self.bucket)
        try:
            yield backend
        finally:
            backend.delete(self.bucket, [info.key for info in backend.list(self.bucket)])
            backend.close()

    # ---------------------------------------------------------------- bodies

    @pytest.mark.parametrize("kind", list(range(len(BODIES))), ids=lambda kind: list(BODIES)[kind])
    @pytest.mark.parametrize("size", ["empty", "one byte", "small", "large"])
    def test_every_body_comes_back(self, backend: StorageBackend, kind: int, size: str) -> None:
        count = {"empty": 0, "one byte": 1, "small": 1_000, "large": self.large_bytes}[size]
        data = random.Random(count).randbytes(count)
        make_body = list(BODIES.values())[kind]
        backend.put(self.bucket, "body", make_body(data))
        assert backend.get(self.bucket, "body") == data
        assert backend.head(self.bucket, "body").size == count
        with backend.open(self.bucket, "body") as stream:
            assert stream.read() == data

    def test_no_segments_are_an_empty_object(self, backend: StorageBackend) -> None:
        backend.put(self.bucket, "none", [])
        assert backend.get(self.bucket, "none") == b""

    def test_a_file_is_stored_from_its_position(self, backend: StorageBackend) -> None:
        file = io.BytesIO(b"skipped, stored")
        file.seek(9)
        backend.put(self.bucket, "rest", file)
        assert backend.get(self.bucket, "rest") == b"stored"

    def test_a_body_that_breaks_off_changes_nothing(self, backend: StorageBackend) -> None:
        backend.put(self.bucket, "old", b"old")
        for key in ("old", "new"):
            with pytest.raises(SourceBrokeOff):
                backend.put(self.bucket, key, unseekable(b"n" * 3_000_000, breaks_off=True))
        assert backend.get(self.bucket, "old") == b"old"
        assert [info.key for info in backend.list(self.bucket)] == ["old"]

    def test_what_was_put_may_change_afterwards(self, backend: StorageBackend) -> None:
        body = bytearray(b"before")
        backend.put(self.bucket, "k", body)
        body[:] = b"after!"
        assert backend.get(self.bucket, "k") == b"before"

    # ---------------------------------------------------------------- reading

    @pytest.mark.parametrize(
        ("start", "stop"),
        [
            (0, 10),
            (5, 7),
            (0, 100),
            (99, 100),
            (7, 7),
            (90, 200),
            (100, 110),
            (150, 160),
            (40, _UNTIL_THE_END),
        ],
    )
    def test_a_range_gives_what_exists_of_it(self, backend: StorageBackend, start: int, stop: int) -> None:
        data = bytes(range(100))
        byte_range = ByteRange(start, stop)
        backend.put(self.bucket, "k", data)
        assert backend.get(self.bucket, "k", byte_range) == data[start:stop]
        with backend.open(self.bucket, "k", byte_range) as stream:
            assert stream.read() == data[start:stop]
        if isinstance(backend, SupportsMapping):
            assert bytes(backend.map(self.bucket, "k", byte_range)) == data[start:stop]

    def test_a_range_of_an_empty_object_is_empty(self, backend: StorageBackend) -> None:
        backend.put(self.bucket, "empty", b"")
        assert backend.get(self.bucket, "empty", ByteRange(0, 10)) == b""
        with backend.open(self.bucket, "empty", ByteRange(0, 10)) as stream:
            assert stream.read() == b""

    def test_a_range_deep_in_a_large_object(self, backend: StorageBackend) -> None:
        data = random.Random(1).randbytes(self.large_bytes)
        middle = ByteRange(len(data) // 3, len(data) // 3 * 2)
        backend.put(self.bucket, "large", data)
        expected = data[middle.start : middle.stop]
        assert backend.get(self.bucket, "large", middle) == expected
        with backend.open(self.bucket, "large", middle) as stream:
            assert b"".join(iter(lambda: stream.read(1_000_003), b"")) == expected
        if isinstance(backend, SupportsMapping):
            assert bytes(backend.map(self.bucket, "large", middle)) == expected

    @pytest.mark.parametrize("byte_range", [None, ByteRange(4, 17)], ids=["whole", "range"])
    def test_a_stream_reads_pieces_and_lines(
        self, backend: StorageBackend, byte_range: ByteRange | None
    ) -> None:
        data = b"one\ntwo\nthree\nfour\nfive"
        backend.put(self.bucket, "lines", data)
        expected = io.BytesIO(data if byte_range is None else data[byte_range.start : byte_range.stop])
        with backend.open(self.bucket, "lines", byte_range) as stream:
            assert stream.read(2) == expected.read(2)
            assert stream.readline() == expected.readline()
            assert list(stream) == list(expected)
            assert stream.read() == b""

    def test_a_mapping_is_private_and_writable(self, backend: StorageBackend) -> None:
        if not isinstance(backend, SupportsMapping):
            pytest.skip("this storage maps no objects")
        backend.put(self.bucket, "k", b"original")
        mapped = memoryview(backend.map(self.bucket, "k"))
        mapped[:4] = b"####"
        assert bytes(mapped) == b"####inal"
        assert backend.get(self.bucket, "k") == b"original"
        backend.put(self.bucket, "empty", b"")
        assert bytes(backend.map(self.bucket, "empty")) == b""

    def test_head_tells_of_a_change(self, backend: StorageBackend) -> None:
        backend.put(self.bucket, "k", b"first")
        first = backend.head(self.bucket, "k")
        backend.put(self.bucket, "k", b"other")
        second = backend.head(self.bucket, "k")
        assert (first.key, first.size) == (second.key, second.size) == ("k", 5)
        assert first.etag != second.etag
        assert first.last_modified <= second.last_modified
        assert list(backend.list(self.bucket)) == [second]

    # ---------------------------------------------------------------- keys and listings

    def test_nasty_keys_live_side_by_side(self, backend: StorageBackend) -> None:
        # The order in which keys come must not matter to what can be stored beside what.
        for keys in (self.nasty_keys, self.nasty_keys[::-1]):
            for key in keys:
                backend.put(self.bucket, key, f"body of {key}".encode())
            assert [info.key for info in backend.list(self.bucket)] == _ordered(keys)
            for key in keys:
                assert backend.get(self.bucket, key) == f"body of {key}".encode()
                assert backend.head(self.bucket, key).key == key
            backend.delete(self.bucket, keys)
            assert list(backend.list(self.bucket)) == []

    def test_nasty_keys_are_found_by_prefix(self, backend: StorageBackend) -> None:
        for key in self.nasty_keys:
            backend.put(self.bucket, key, b"")
        prefixes = {key[:length] for key in self.nasty_keys for length in (0, 1, 2, 5, 61, 255, len(key))}
        for prefix in prefixes:
            expected = _ordered(key for key in self.nasty_keys if key.startswith(prefix))
            assert [info.key for info in backend.list(self.bucket, prefix)] == expected, prefix

    def test_an_object_beside_a_folder_of_its_name(self, backend: StorageBackend) -> None:
        backend.put(self.bucket, "a", b"object")
        backend.put(self.bucket, "a/b", b"below")
        backend.delete(self.bucket, ["a"])
        assert backend.get(self.bucket, "a/b") == b"below"
        with pytest.raises(StorageNoSuchKeyError):
            backend.get(self.bucket, "a")
        backend.put(self.bucket, "a", b"again")
        backend.delete(self.bucket, ["a/b"])
        assert backend.get(self.bucket, "a") == b"again"

    def test_long_listings_are_whole_and_in_order(self, backend: StorageBackend) -> None:
        keys = [f"d{number % 3}/{number:05d}" for number in range(self.listed_keys)]
        shuffled = random.Random(2).sample(keys, len(keys))
        _in_threads(16, lambda key: backend.put(self.bucket, key, key.encode()), shuffled)
        infos = list(backend.list(self.bucket))
        assert [info.key for info in infos] == sorted(keys)
        assert {info.size for info in infos} == {8}
        for prefix in ("d1/", "d1", "d2/000", "d", "d0/00003", "e", "d1/x", "/", "d1//"):
            for start_after in ("", "d", "d1", "d1/", "d1/00004", "d1/00005", "d1/00007x", "d2/000", "zzz"):
                expected = [key for key in sorted(keys) if key.startswith(prefix) and key > start_after]
                listed = [info.key for info in backend.list(self.bucket, prefix, start_after)]
                assert listed == expected, (prefix, start_after)

    def test_deleting_very_many_and_missing_ones(self, backend: StorageBackend) -> None:
        there = [f"many/{number:04d}" for number in range(0, 2_500, 2)]
        _in_threads(16, lambda key: backend.put(self.bucket, key, b""), [*there, "many/x"])
        backend.delete(self.bucket, [f"many/{number:04d}" for number in range(2_500)])
        assert [info.key for info in backend.list(self.bucket)] == ["many/x"]
        backend.delete(self.bucket, [])

    # ---------------------------------------------------------------- what is not there

    def test_a_missing_key(self, backend: StorageBackend) -> None:
        backend.put(self.bucket, "folder/there", b"")
        for key in ("missing", "folder", "folder/", "folder/missing", "folder/there/below"):
            for read in (backend.get, backend.open, backend.head):
                with pytest.raises(StorageNoSuchKeyError) as caught:
                    read(self.bucket, key)
                assert (caught.value.bucket, caught.value.key) == (self.bucket, key)
            backend.delete(self.bucket, [key])
        with pytest.raises(StorageNoSuchKeyError):
            backend.get(self.bucket, "missing", ByteRange(0, 1))

    def test_a_missing_bucket(self, backend: StorageBackend) -> None:
        missing = self.bucket + "-missing"
        uses: list[Callable[[], Any]] = [
            lambda: backend.put(missing, "k", b""),
            lambda: backend.put(missing, "k", b"", if_absent=True),
            lambda: backend.get(missing, "k"),
            lambda: backend.open(missing, "k"),
            lambda: backend.head(missing, "k"),
            lambda: backend.delete(missing, ["k"]),
            lambda: list(backend.list(missing)),
            lambda: list(backend.list(missing, "a/b")),
        ]
        for use in uses:
            with pytest.raises(NoSuchBucket, match=missing):
                use()
        assert not backend.bucket_exists(missing)

    def test_making_a_bucket_again_keeps_its_objects(self, backend: StorageBackend) -> None:
        backend.put(self.bucket, "k", b"kept")
        backend.ensure_bucket(self.bucket)
        assert backend.bucket_exists(self.bucket)
        assert backend.get(self.bucket, "k") == b"kept"

    def test_the_default_bucket_is_stable_and_usable(self, backend: StorageBackend) -> None:
        bucket = backend.default_bucket()
        assert bucket == backend.default_bucket()
        backend.ensure_bucket(bucket)
        assert backend.bucket_exists(bucket)

    def test_names_that_are_not_allowed(self, backend: StorageBackend) -> None:
        names = [(self.bucket, key) for key in self.invalid_keys] + [
            (name, "k") for name in self.invalid_buckets
        ]
        for bucket, key in names:
            uses: list[Callable[..., Any]] = [backend.get, backend.open, backend.head]
            for use in uses:
                with pytest.raises(InvalidKey):
                    use(bucket, key)
            with pytest.raises(InvalidKey):
                backend.put(bucket, key, b"")
            with pytest.raises(InvalidKey):
                backend.delete(bucket, [key])
        for bucket in self.invalid_buckets:
            for of_bucket in (
                backend.ensure_bucket,
                backend.bucket_exists,
                lambda name: list(backend.list(name)),
            ):
                with pytest.raises(InvalidKey):
                    of_bucket(bucket)
        assert list(backend.list(self.bucket)) == []

    # ---------------------------------------------------------------- many at once

    def test_of_many_conditional_puts_one_wins(self, backend: StorageBackend) -> None:
        for race in range(5):
            start = threading.Barrier(16, timeout=_TIMEOUT_S)
            commit = partial(self._commit, backend, f"race/{race}", start)
            outcomes = _in_threads(16, commit, range(16))
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
        for body in (b"second", io.BytesIO(b"second"), [b"sec", b"ond"]):
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

        _in_threads(64, work, range(64))
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
                for turn in range(50):
                    backend.put(self.bucket, "k", bodies[turn % 10])
            finally:
                replaced.set()
            assert all(reader.result(_TIMEOUT_S) > 0 for reader in readers)

    # ---------------------------------------------------------------- across processes

    def test_a_reference_leads_another_process_here(self, backend: StorageBackend) -> None:
        reference = backend.reference(self.bucket)
        assert (reference.backend, reference.bucket) == (backend.name, self.bucket)
        assert json.loads(json.dumps(dict(reference.options))) == dict(reference.options)
        if backend.name not in registry.backend_names():
            pytest.skip("this storage is not registered: no other process can find it")
        backend.put(self.bucket, "k", b"found")
        found = registry.from_reference(reference)
        try:
            assert found.default_bucket() == self.bucket
            assert found.get(self.bucket, "k") == b"found"
        finally:
            found.close()


def _ordered(keys: Any) -> list[str]:
    """The order of all clouds: that of the keys' UTF-8 bytes."""
    return sorted(keys, key=str.encode)


def _in_threads(count: int, work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, items, timeout=_TIMEOUT_S))

"""What is stored comes back: bodies of all kinds and sizes, whole, in ranges and as streams."""

from __future__ import annotations

import io
import random
import sys

import pytest

from lithops.storage.base import StorageBackend, SupportsMapping
from lithops.testing.samples import BODIES, SourceBrokeOff, unseekable
from lithops.testing.storage_suite import StorageSuite
from lithops.wire.messages import ByteRange

_UNTIL_THE_END = sys.maxsize
_READ_BYTES = 1_000_003
"""No divisor or multiple of any part's size."""


class StorageBodies(StorageSuite):
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

    def test_a_huge_body_comes_through_a_pipe(self, backend: StorageBackend) -> None:
        data = random.Random(3).randbytes(self.huge_bytes)
        backend.put(self.bucket, "huge", unseekable(data))
        assert backend.head(self.bucket, "huge").size == len(data)
        assert backend.get(self.bucket, "huge") == data
        with backend.open(self.bucket, "huge") as stream:
            position = 0
            while piece := stream.read(_READ_BYTES):
                assert piece == data[position : position + _READ_BYTES]
                position += len(piece)
        assert position == len(data)

    def test_no_segments_are_an_empty_object(self, backend: StorageBackend) -> None:
        backend.put(self.bucket, "none", [])
        assert backend.get(self.bucket, "none") == b""

    def test_a_file_is_stored_from_its_position(self, backend: StorageBackend) -> None:
        file = io.BytesIO(b"skipped, stored")
        file.seek(9)
        backend.put(self.bucket, "rest", file)
        assert backend.get(self.bucket, "rest") == b"stored"

    @pytest.mark.parametrize("size", ["some", "many parts"])
    def test_a_body_that_breaks_off_changes_nothing(self, backend: StorageBackend, size: str) -> None:
        count = 3_000_000 if size == "some" else self.huge_bytes // 4
        backend.put(self.bucket, "old", b"old")
        for key in ("old", "new"):
            with pytest.raises(SourceBrokeOff):
                backend.put(self.bucket, key, unseekable(b"n" * count, breaks_off=True))
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
            assert b"".join(iter(lambda: stream.read(_READ_BYTES), b"")) == expected
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

    def test_a_stream_may_be_closed_before_its_end(self, backend: StorageBackend) -> None:
        backend.put(self.bucket, "large", bytes(self.large_bytes))
        for _ in range(20):  # more than a client keeps connections
            with backend.open(self.bucket, "large") as stream:
                assert stream.read(10) == bytes(10)
        assert backend.get(self.bucket, "large", ByteRange(0, 5)) == bytes(5)

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

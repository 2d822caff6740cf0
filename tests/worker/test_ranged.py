"""A file of which only what is read is asked for reads as any file, and asks for little."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithops.exceptions import StorageError
from lithops.wire.messages import ByteRange
from lithops.worker import ranged
from lithops.worker.ranged import RangedFile

BODY = bytes(range(256)) * 4

steps = st.one_of(
    st.tuples(st.just("read"), st.integers(-1, 300)),
    st.tuples(st.just("readinto"), st.integers(0, 300)),
    st.tuples(st.just("start"), st.integers(0, 1200)),
    st.tuples(st.just("onward"), st.integers(-50, 300)),
    st.tuples(st.just("end"), st.integers(-900, 10)),
)


class Source:
    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked: list[tuple[int, int]] = []

    def read(self, start: int, stop: int | None) -> Any:
        assert stop is not None
        assert 0 <= start < stop <= len(self.body)
        self.asked.append((start, stop))
        for at in range(start, stop, 50):
            yield self.body[at : min(at + 50, stop)]


@given(st.binary(max_size=200) | st.just(BODY), st.integers(0, 100), st.lists(steps, max_size=30))
def test_it_reads_as_any_file(body: bytes, ahead: int, steps: list[tuple[str, int]]) -> None:
    source, expected = Source(body), io.BytesIO(body)
    file = RangedFile(source.read, len(body), ahead=ahead)
    for step, number in steps:
        if step == "read":
            assert file.read(number) == expected.read(number)
        elif step == "readinto":
            read, wanted = bytearray(number), bytearray(number)
            assert file.readinto(memoryview(read)) == expected.readinto(wanted)
            assert read == wanted
        else:
            whence = {"start": 0, "onward": 1, "end": 2}[step]
            base = {"start": 0, "onward": expected.tell(), "end": len(body)}[step]
            if base + number >= 0:
                assert file.seek(number, whence) == expected.seek(number, whence)
        assert file.tell() == expected.tell()


@given(st.lists(st.tuples(st.integers(0, 1023), st.integers(1, 200)), max_size=10), st.integers(0, 100))
def test_ranges_are_read_as_they_are_asked_for(places: list[tuple[int, int]], near: int) -> None:
    ranges = [ByteRange(start, min(start + count, len(BODY))) for start, count in places]
    source = Source(BODY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranged, "_NEAR_BYTES", near)
        read = RangedFile(source.read, len(BODY)).read_ranges(ranges)
    assert read == [BODY[each.start : each.stop] for each in ranges]
    asked = sorted(source.asked)
    assert all(after[0] - before[1] > near for before, after in pairwise(asked)), (
        "what is near each other shares a request"
    )


def test_what_was_read_ahead_is_not_asked_for_again() -> None:
    source = Source(BODY)
    file = RangedFile(source.read, len(BODY), ahead=100)
    for _ in range(10):
        assert len(file.read(10)) == 10
    file.seek(0)
    file.read(100)
    assert source.asked == [(0, 100)]
    file.read(1)
    file.seek(-1, 2)
    assert file.read(50) == BODY[-1:]
    assert source.asked == [(0, 100), (100, 200), (1023, 1024)]


def test_a_failure_is_passed_on_each_time() -> None:
    def failing(start: int, stop: int | None) -> Any:
        raise StorageError("changed")
        yield b""  # type: ignore[unreachable]

    file = RangedFile(failing, 100)
    for _ in range(2):
        with pytest.raises(StorageError, match="changed"):
            file.read(1)
    with pytest.raises(ValueError, match="before the start"):
        file.seek(-1)
    assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)

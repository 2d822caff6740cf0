"""Pieces are one stream, which asks for no more of them than it needs."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithops.exceptions import StorageUnavailable
from lithops.storage.streams import open_pieces


@given(
    st.lists(st.binary(min_size=1, max_size=30)), st.integers(1, 40), st.lists(st.integers(0, 50), max_size=9)
)
def test_it_reads_as_a_file_of_all_the_pieces(
    pieces: list[bytes], buffer_bytes: int, sizes: list[int]
) -> None:
    expected = io.BytesIO(b"".join(pieces))
    with open_pieces(iter(pieces), buffer_bytes) as stream:
        for size in sizes:
            assert stream.read(size) == expected.read(size)
        assert stream.readline() == expected.readline()
        assert stream.read() == expected.read()
        assert stream.read() == b""


def test_pieces_are_asked_for_when_they_are_needed() -> None:
    given_out: list[bytes] = []

    def source() -> Iterator[bytes]:
        for piece in (b"12", b"34", b"56"):
            given_out.append(piece)
            yield piece

    with open_pieces(source(), 2) as stream:
        assert given_out == []
        assert stream.read(1) == b"1"
        assert given_out == [b"12"]
        assert stream.read(3) == b"234"
        assert given_out == [b"12", b"34"]


def test_a_stream_that_failed_never_looks_as_if_it_had_ended() -> None:
    def source() -> Iterator[bytes]:
        yield b"12"
        raise StorageUnavailable("gone")

    with open_pieces(source(), 2) as stream:
        assert stream.read(2) == b"12"
        for _ in range(3):
            with pytest.raises(StorageUnavailable, match="gone"):
                stream.read(2)

"""A body in pieces is the same body, whatever kind it is of and wherever it is cut."""

from __future__ import annotations

import io
import threading
from itertools import chain, repeat
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithops.storage import bodies
from lithops.storage.base import Body
from lithops.storage.bodies import pieces, send_pieces, views
from lithops.testing.samples import SourceBrokeOff, unseekable


class Source:
    """A file that gives what it likes at a time, and counts what was asked of it."""

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks = chunks
        self.asked = 0

    def read(self, size: int) -> bytes:
        self.asked += 1
        return self.chunks.pop(0) if self.chunks else b""


def kinds(segments: list[bytes]) -> list[Body]:
    """The same bytes as bodies of every kind."""
    whole = b"".join(segments)
    strided = memoryview(bytes(each for byte in whole for each in (byte, 0)))[::2]
    return [
        whole,
        bytearray(whole),
        memoryview(whole),
        strided,
        segments,
        tuple(map(bytearray, segments)),
        [memoryview(segment) for segment in segments],
        io.BytesIO(whole),
        unseekable(whole),
        cast("Body", Source([segment for segment in segments if segment])),
    ]


@given(
    segments=st.lists(st.binary(max_size=40), max_size=8),
    first=st.lists(st.integers(1, 50), max_size=4),
    size=st.integers(1, 50),
)
def test_pieces_have_the_sizes_that_were_asked_for_and_lose_nothing(
    segments: list[bytes], first: list[int], size: int
) -> None:
    whole = b"".join(segments)
    for body in kinds(segments):
        found = list(pieces(body, chain(first, repeat(size))))
        assert b"".join(found) == whole
        assert all(type(piece) is bytes for piece in found)
        sizes = [wanted for wanted, _ in zip(chain(first, repeat(size)), found, strict=False)]
        assert [len(piece) for piece in found[:-1]] == sizes[:-1]
        assert 0 < len(found[-1]) <= sizes[-1] or found == [b""]
    for body in kinds(segments):
        assert b"".join(views(body)) == whole


def test_items_of_several_bytes_are_cut_as_bytes() -> None:
    items = memoryview(bytes(range(48))).cast("I", (3, 4))
    assert list(pieces(items, repeat(10))) == [bytes(range(48))[at : at + 10] for at in range(0, 48, 10)]


@pytest.mark.parametrize("wrap", [bytes, memoryview, lambda body: [body], lambda body: [b"", body]])
def test_what_is_one_piece_already_is_not_copied(wrap: Any) -> None:
    body = bytes(1000)
    (piece,) = pieces(wrap(body), repeat(1000))
    assert piece is body


def test_pieces_of_what_may_change_are_copies() -> None:
    body = bytearray(b"before")
    (piece,) = pieces(body, repeat(100))
    body[:] = b"after!"
    assert piece == b"before"


def test_a_file_is_read_no_further_than_is_asked_for() -> None:
    source = Source([b"123", b"456", b"789"])
    found = pieces(cast("Body", source), repeat(3))
    assert source.asked == 0
    assert next(found) == b"123"
    assert source.asked == 1


def test_what_goes_wrong_in_the_source_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_READ_BYTES", 10)
    found = pieces(unseekable(bytes(30), breaks_off=True), repeat(10))
    assert next(found) == bytes(10)
    with pytest.raises(SourceBrokeOff):
        list(found)


@given(st.lists(st.binary(max_size=5), max_size=30))
def test_all_pieces_are_sent_and_the_answers_are_in_order(those: list[bytes]) -> None:
    assert send_pieces(lambda number, piece: (number, piece), those) == list(enumerate(those))


def test_some_pieces_travel_at_once_and_no_more_are_read() -> None:
    read: list[int] = []
    together = threading.Barrier(4, timeout=20)

    def source() -> Any:
        for number in range(8):
            read.append(number)
            yield b""

    def send(number: int, piece: bytes) -> int:
        together.wait()
        return len(read) - number

    # Whoever is sent fourth of the first four finds four read, or the fifth one too.
    assert max(send_pieces(send, source())) <= 5


def test_an_error_ends_the_sending() -> None:
    def send(number: int, piece: bytes) -> None:
        sent.append(number)
        if number == 3:
            raise ConnectionError("gone")

    sent: list[int] = []
    with pytest.raises(ConnectionError):
        send_pieces(send, repeat(b"endless"))
    assert len(sent) < 20

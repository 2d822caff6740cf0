"""Whatever the text, the separator and the cuts: no line is split, none is lost, none is read twice."""

from __future__ import annotations

import re
from itertools import accumulate, product
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lithops.prepare.partition import partition
from lithops.testing.memory import MemoryStorage
from lithops.wire.messages import ByteRange
from lithops.worker import lines, reading
from lithops.worker.data import open_part

SEPARATORS = ["\n", "\r\n", "||", "\u2028", "ab", "\n\n", "aa", "aba", "aabaa", "\r\n\r\n"]

cuts: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"chunk_size": st.integers(1, 40)}),
    st.fixed_dictionaries({"chunk_number": st.integers(1, 12)}),
    st.just({}),
)


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, bytes]:
    """A separator and a text that is full of it, of its beginnings and of what surrounds it."""
    separator = draw(st.sampled_from(SEPARATORS))
    encoded = separator.encode()
    pieces = [encoded, encoded[:1], encoded[1:], encoded[:-1], b"x", b"yy", b"\x00", b"a longer piece"]
    return separator, b"".join(draw(st.lists(st.sampled_from(pieces), max_size=40)))


def lines_of(text: bytes, separator: bytes) -> list[bytes]:
    """The lines with their separators, by a scan from the start: what no part can do."""
    *whole, last = text.split(separator)
    return [line + separator for line in whole] + ([last] if last else [])


def _reader(text: bytes) -> lines.Read:
    def read(start: int, stop: int) -> lines.Blocks:
        yield text[start:stop]

    return read


def read_parts(text: bytes, *, newline: str | None, cut: dict[str, Any]) -> list[list[bytes]]:
    storage = MemoryStorage()
    storage.ensure_bucket("data")
    storage.put("data", "text", text)
    pieces = partition(["data/text"], storage=storage, newline=newline, **cut)
    parts = []
    for piece in pieces:
        with open_part(piece.part, storage) as obj:
            parts.append(obj.data_stream.readlines())
    return parts


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks and steps, so that short texts cross them."""
    monkeypatch.setattr(lines, "_FIRST_STEP", 5)
    monkeypatch.setattr(lines, "_LOOK_BACK", 3)
    monkeypatch.setattr(reading, "BLOCK_BYTES", 7)


class TestLines:
    @settings(max_examples=500)
    @given(texts(), cuts)
    @example(("aa", b"xaaay"), {"chunk_size": 1})
    @example(("\n\n", b"\n" * 50), {"chunk_size": 3})
    @example(("\n", b"no end"), {"chunk_size": 1})
    @example(("\r\n", b"\r\n"), {"chunk_size": 1})
    def test_every_line_is_whole_and_in_one_part(self, text: tuple[str, bytes], cut: dict[str, Any]) -> None:
        separator, body = text
        parts = read_parts(body, newline=separator, cut=cut)
        assert [line for part in parts for line in part] == lines_of(body, separator.encode())

    @pytest.mark.parametrize("separator", [b"a", b"aa", b"ab", b"aba", b"aaa"])
    def test_every_short_text(self, separator: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lines, "_LOOK_BACK", 0)
        for text in map(bytes, product(b"ab", repeat=11)):
            read = _reader(text)
            owned = [
                b"".join(lines.own_lines(read, ByteRange(at, at + 1), 11, separator)) for at in range(11)
            ]
            starts = [0, *accumulate(map(len, lines_of(text, separator)))]
            assert [at for at in range(11) if owned[at]] == starts[:-1]
            assert b"".join(owned) == text

    @given(st.binary(max_size=200), st.binary(min_size=1, max_size=3), st.integers(1, 30))
    def test_any_bytes_may_separate_any_bytes(self, body: bytes, separator: bytes, chunk_size: int) -> None:
        storage = MemoryStorage()
        storage.ensure_bucket("data")
        storage.put("data", "text", body)
        pieces = partition(["data/text"], storage=storage, newline=separator, chunk_size=chunk_size)
        read = [line for piece in pieces for line in open_part(piece.part, storage).data_stream]
        assert read == lines_of(body, separator)

    @settings(max_examples=300)
    @given(
        st.text(min_size=1, max_size=4),
        st.lists(st.text(max_size=300), max_size=20),
        st.sampled_from(["chunk_size", "chunk_number"]),
        st.integers(1, 2000),
    )
    def test_any_text_with_lines_of_any_length(
        self, newline: str, lines: list[str], way: str, number: int
    ) -> None:
        body = newline.join(lines).encode()
        parts = read_parts(body, newline=newline, cut={way: number})
        assert [line for part in parts for line in part] == lines_of(body, newline.encode())

    @given(texts(), cuts)
    def test_a_part_has_the_lines_that_start_in_its_range(
        self, text: tuple[str, bytes], cut: dict[str, Any]
    ) -> None:
        separator, body = text
        storage = MemoryStorage()
        storage.ensure_bucket("data")
        storage.put("data", "text", body)
        starts = [0]
        for line in lines_of(body, separator.encode()):
            starts.append(starts[-1] + len(line))
        for piece in partition(["data/text"], storage=storage, newline=separator, **cut):
            obj = open_part(piece.part, storage)
            assert obj.data_byte_range is not None
            first, last = obj.data_byte_range
            own = [start for start in starts[:-1] if first <= start <= last]
            assert len(obj.data_stream.readlines()) == len(own)

    @given(st.binary(max_size=200), cuts)
    def test_without_newline_the_parts_are_the_bytes(self, body: bytes, cut: dict[str, Any]) -> None:
        storage = MemoryStorage()
        storage.ensure_bucket("data")
        storage.put("data", "text", body)
        pieces = partition(["data/text"], storage=storage, newline=None, **cut)
        read = [open_part(piece.part, storage).data_stream.read() for piece in pieces]
        assert b"".join(read) == body
        assert [len(each) for each in read] == [piece.part.chunk_size for piece in pieces]

    @given(
        texts(),
        st.lists(st.tuples(st.sampled_from(["read", "read1", "readline"]), st.integers(0, 9)), max_size=30),
    )
    def test_reads_of_any_kind_follow_each_other(
        self, text: tuple[str, bytes], reads: list[tuple[str, int]]
    ) -> None:
        separator, body = text
        storage = MemoryStorage()
        storage.ensure_bucket("data")
        storage.put("data", "text", body)
        [piece] = partition(["data/text"], storage=storage, newline=separator)
        stream = open_part(piece.part, storage).data_stream
        position = 0
        for method, size in reads:
            got = getattr(stream, method)(size)
            rest = body[position:]
            assert got == rest[: len(got)]
            assert len(got) <= size
            if method == "read":
                assert len(got) == min(size, len(rest))
            if method == "readline":
                end = re.search(re.escape(separator.encode()), rest)
                assert len(got) == min(size, end.end() if end else len(rest))
            position += len(got)
        assert stream.read() == body[position:]

    @given(st.integers(0, 500), st.integers(1, 600), cuts)
    def test_parts_are_counted_and_adjacent(self, size: int, number: int, cut: dict[str, Any]) -> None:
        storage = MemoryStorage()
        storage.ensure_bucket("data")
        storage.put("data", "text", bytes(size))
        parts = [
            piece.part
            for piece in partition(["data/text"], storage=storage, **(cut or {"chunk_number": number}))
        ]
        ranges = [part.byte_range for part in parts]
        edges = [0]
        for byte_range in ranges:
            assert byte_range is not None
            assert byte_range.start == edges[-1]
            edges.append(byte_range.stop)
        assert edges[-1] == size
        assert [part.part for part in parts] == list(range(1, len(parts) + 1))
        assert {part.total_parts for part in parts} == {len(parts)}
        assert all(ranges) or size == 0

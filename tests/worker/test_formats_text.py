"""Compressed text, JSON lines and CSV: whatever is in them and wherever they are cut, the parts are the whole."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lithops.exceptions import InvalidCall, StorageError
from lithops.prepare.partition import partition
from lithops.storage.base import StorageBackend
from lithops.testing.memory import MemoryStorage
from lithops.worker import lines, reading
from lithops.worker.data import DataObject
from lithops.worker.formats import compressed, csv_rows
from lithops.worker.formats.jsonl import JsonObject
from lithops.worker.formats.registry import open_part_as

Cut = dict[str, Any]
cuts: st.SearchStrategy[Cut] = st.one_of(
    st.fixed_dictionaries({"chunk_size": st.integers(1, 60)}),
    st.fixed_dictionaries({"chunk_number": st.integers(1, 12)}),
    st.just({}),
)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks and steps, so that short texts cross them."""
    monkeypatch.setattr(lines, "_FIRST_STEP", 5)
    monkeypatch.setattr(reading, "BLOCK_BYTES", 7)
    monkeypatch.setattr(compressed, "_SLICE_BYTES", 3)
    monkeypatch.setattr(csv_rows, "_FIRST_STEP", 4)


def storage_with(body: bytes) -> StorageBackend:
    storage = MemoryStorage()
    storage.ensure_bucket("data")
    storage.put("data", "x", body)
    return storage


def opened(body: bytes, format_name: str, **cut: Any) -> list[Any]:
    """What the calls see of an object with that content."""
    storage = storage_with(body)
    pieces = partition(["data/x"], storage=storage, format_name=format_name, **cut)
    assert [piece.part.part for piece in pieces] == list(range(1, len(pieces) + 1))
    return [open_part_as(piece.part, storage) for piece in pieces]


def gzipped(*members: bytes) -> bytes:
    return b"".join(map(gzip.compress, members))


def zstandardized(*frames: bytes) -> bytes:
    return b"".join(map(zstandard.ZstdCompressor(write_checksum=True).compress, frames))


CODECS: dict[str, Callable[..., bytes]] = {"gzip": gzipped, "zstd": zstandardized}


@pytest.mark.parametrize("codec", CODECS)
class TestCompressed:
    @given(texts=st.lists(st.binary(max_size=200), min_size=1, max_size=4), cut=cuts)
    def test_the_text_is_there_in_one_part(self, codec: str, texts: list[bytes], cut: Cut) -> None:
        [obj] = opened(CODECS[codec](*texts), codec, **cut)
        assert (obj.part, obj.total_parts) == (1, 1)
        assert obj.data_stream.read() == b"".join(texts)
        obj.close()
        assert obj.data_stream.closed

    @given(text=st.text("ab\n\r", max_size=200), newline=st.sampled_from(["\n", "\r\n", "ab"]))
    def test_lines_end_as_the_job_says(self, codec: str, text: str, newline: str) -> None:
        [obj] = opened(CODECS[codec](text.encode()), codec, newline=newline)
        *whole, last = text.split(newline)
        assert obj.data_stream.readlines() == [
            line.encode() for line in [*(line + newline for line in whole), *([last] if last else [])]
        ]

    @given(text=st.binary(min_size=1, max_size=300), data=st.data())
    def test_what_is_not_whole_is_an_error(self, codec: str, text: bytes, data: st.DataObject) -> None:
        body = CODECS[codec](text)
        kept = data.draw(st.integers(0, len(body) - 1))
        [obj] = opened(body[:kept], codec)
        with pytest.raises(StorageError, match=r"'x' in bucket 'data' (ends in the middle|is damaged)"):
            obj.data_stream.read()

    @settings(max_examples=300)
    @given(text=st.binary(min_size=1, max_size=300), data=st.data())
    def test_damage_is_never_text(self, codec: str, text: bytes, data: st.DataObject) -> None:
        body = bytearray(CODECS[codec](text))
        body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
        [obj] = opened(bytes(body), codec)
        try:
            read = obj.data_stream.read()
        except StorageError:
            return
        assert read == text, "bytes of the header that mean nothing, such as the time, may change"

    def test_what_is_something_else_is_an_error(self, codec: str) -> None:
        for body in (b"", b"plain text\n", CODECS[codec](b"text") + b"more"):
            [obj] = opened(body, codec)
            with pytest.raises(StorageError, match=codec):
                obj.data_stream.read()

    def test_a_failure_is_not_mistaken_for_the_end(self, codec: str) -> None:
        [obj] = opened(CODECS[codec](bytes(100))[:-1], codec)
        for _ in range(3):
            with pytest.raises(StorageError, match="not whole"):
                obj.data_stream.read()

    def test_little_that_becomes_much_does_not_fill_the_memory(
        self, codec: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        [obj] = opened(CODECS[codec](bytes(300 << 20)), codec)
        sizes = [len(block) for block in obj.data_stream.raw._blocks]
        assert sum(sizes) == 300 << 20
        assert max(sizes) <= 140 << 20


def test_zeros_behind_gzip_are_no_data() -> None:
    [obj] = opened(gzipped(b"one", b"two") + bytes(1000), "gzip")
    assert obj.data_stream.read() == b"onetwo"


def test_gzip_is_read_as_the_standard_library_reads_it(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "x.gz", "wt", newline="") as file:
        csv.writer(file).writerows([[number, "text, with\nbreaks"] for number in range(500)])
    [obj] = opened((tmp_path / "x.gz").read_bytes(), "gzip")
    rows = list(csv.reader(io.TextIOWrapper(obj.data_stream, newline="")))
    with gzip.open(tmp_path / "x.gz", "rt", newline="") as file:
        assert rows == list(csv.reader(file))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


class TestJsonLines:
    @given(
        st.lists(values, max_size=15),
        st.sampled_from(["\n", "\r\n", "\n \n", "\n\n"]),
        st.booleans(),
        st.booleans(),
        cuts,
    )
    def test_every_value_is_in_one_part(
        self, values: list[Any], end: str, ends: bool, ascii_only: bool, cut: Cut
    ) -> None:
        text = end.join(json.dumps(value, ensure_ascii=ascii_only) for value in values) + (
            end if ends else ""
        )
        objs = opened(text.encode(), "jsonl", **cut)
        assert [value for obj in objs for value in obj.records()] == values
        assert (
            b"".join(obj.data_stream.read() for obj in opened(text.encode(), "jsonl", **cut)) == text.encode()
        )

    @given(st.lists(values, min_size=1, max_size=15), st.data(), cuts)
    def test_a_broken_line_is_found(self, values: list[Any], data: st.DataObject, cut: Cut) -> None:
        texts = [json.dumps(value) for value in values]
        at = data.draw(st.integers(0, len(texts) - 1))
        texts[at] = "{broken"
        position = sum(len(text) + 1 for text in texts[:at])
        objs = opened("\n".join(texts).encode(), "jsonl", **cut)
        read = (value for obj in objs for value in obj.records())
        assert list(islice(read, at)) == values[:at]
        with pytest.raises(StorageError, match=rf"'x' .* line at byte {position}: .* reads '{{broken"):
            next(read)

    def test_a_mark_at_the_start_is_no_value(self) -> None:
        [obj] = opened(b'\xef\xbb\xbf{"a": 1}\n2', "jsonl")
        assert list(obj.records()) == [{"a": 1}, 2]

    def test_text_and_values_are_read_in_turn(self) -> None:
        [obj] = opened(b"1\n2\n3\n", "jsonl")
        assert isinstance(obj, JsonObject)
        assert obj.data_stream.readline() == b"1\n"
        assert list(obj.records()) == [2, 3]

    def test_it_is_cut_at_lines(self) -> None:
        with pytest.raises(InvalidCall, match="jsonl is cut at lines"):
            opened(b"1\n", "jsonl", newline=None)


names = st.text("abc é€", max_size=6)
fields = st.one_of(st.integers().map(str), st.text('ab,;"é ', max_size=8))


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, list[list[str]]]:
    """What ends a line, and rows of the same length with a header that is not empty."""
    columns = draw(st.integers(1, 4))
    header = [f"{draw(st.text('ab,', max_size=5))}{number}" for number in range(columns)]
    if draw(st.booleans()):
        header[-1] = "two\nlines"
    rows = draw(st.lists(st.lists(fields, min_size=columns, max_size=columns), max_size=12))
    return draw(st.sampled_from(["\n", "\r\n"])), [header, *rows]


def as_csv(rows: list[list[str]], end: str, *, ends: bool = True, mark: bool = False) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator=end).writerows(rows)
    body = text.getvalue() if ends else text.getvalue().removesuffix(end)
    return body.encode("utf-8-sig" if mark else "utf-8")


def read_csv(stream: Any, encoding: str = "utf-8-sig") -> list[list[str]]:
    return list(csv.reader(io.TextIOWrapper(stream, encoding=encoding, newline="")))


class TestCsv:
    @settings(max_examples=400)
    @given(tables(), cuts, st.booleans(), st.booleans(), st.sampled_from([0, 2048]))
    @example(("\n", [["a", "b"]]), {"chunk_size": 1}, False, False, 2048)
    def test_every_part_has_the_header_and_every_row_is_in_one(
        self, table: tuple[str, list[list[str]]], cut: Cut, ends: bool, mark: bool, carried: int
    ) -> None:
        end, rows = table
        body = as_csv(rows, end, ends=ends, mark=mark)
        expected = read_csv(io.BytesIO(body))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(csv_rows, "_CARRIED_BYTES", carried)
            read = [read_csv(obj.data_stream) for obj in opened(body, "csv", **cut)]
        assert [part[0] for part in read] == [expected[0]] * len(read)
        assert [row for part in read for row in part[1:]] == expected[1:]

    @pytest.mark.parametrize("newline", ["\n", "\r\n", "\r", "||"])
    def test_any_line_end(self, newline: str) -> None:
        body = newline.join(["name,size", *(f"n{number},{number}" for number in range(50))]).encode()
        parts = [obj.data_stream.readlines() for obj in opened(body, "csv", chunk_number=6, newline=newline)]
        header = f"name,size{newline}".encode()
        assert [part[0] for part in parts] == [header] * 6
        assert b"".join(line for part in parts for line in part[1:]) == body.removeprefix(header)

    @pytest.mark.parametrize("body", [b"", b"a,b", b"a,b\n", b"\n\na,b\n", b'"a\nb"\n', b'"a\n'])
    def test_a_file_without_rows_is_one_part(self, body: bytes) -> None:
        [obj] = opened(body, "csv", chunk_size=1)
        assert obj.data_stream.read() == body

    def test_blank_lines_before_the_header_belong_to_it(self) -> None:
        objs = opened(b"\n\na,b\n1,2\n3,4\n", "csv", chunk_size=4)
        assert [obj.data_stream.read() for obj in objs] == [b"\n\na,b\n1,2\n", b"\n\na,b\n3,4\n"]

    def test_latin_1_stays_as_it_is(self) -> None:
        body = "größe,é\n1,ü\n2,ö\n".encode("latin-1")
        for obj in opened(body, "csv", chunk_size=4):
            assert read_csv(obj.data_stream, "latin-1")[0] == ["größe", "é"]

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
    def test_utf_16_is_refused(self, encoding: str) -> None:
        mark = "\ufeff" if encoding == "utf-16-be" else ""
        body = (mark + "a,b\n1,2\n").encode(encoding)
        with pytest.raises(InvalidCall, match="UTF-16"):
            opened(body, "csv", chunk_size=4)
        [obj] = opened(body, "csv")
        assert obj.data_stream.read() == body

    @given(st.integers(1, 60), st.lists(st.text("ab\n,", max_size=20), min_size=1, max_size=10))
    def test_a_line_break_in_a_field_is_kept_or_refused(self, chunk_size: int, texts: list[str]) -> None:
        rows = [["text", "number"], *([text, str(number)] for number, text in enumerate(texts))]
        objs = opened(as_csv(rows, "\n"), "csv", chunk_size=chunk_size)
        try:
            read = [row for obj in objs for row in read_csv(obj.data_stream)[1:]]
        except StorageError as refusal:
            message = str(refusal)
            read = rows[1:]
        else:
            message = ""
        assert read == rows[1:]
        assert not message or ("within a quoted field" in message and any("\n" in text for text in texts))

    def test_a_quote_within_a_field_is_text(self) -> None:
        body = b'name;size\npipe;5"\npipe;7" wide\ndisk;3"\n'
        parts = [obj.data_stream.readlines() for obj in opened(body, "csv", chunk_size=9)]
        assert b"".join(line for part in parts for line in part[1:]) == body.removeprefix(b"name;size\n")

    def test_it_is_cut_at_lines(self) -> None:
        with pytest.raises(InvalidCall, match="csv is cut at lines"):
            opened(b"1\n", "csv", newline=None)

    def test_a_header_without_an_end_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(csv_rows, "_LONGEST_HEADER", 100)
        with pytest.raises(InvalidCall, match=r"'x' .* has no header that ends in its first"):
            opened(b'"a\n' + b"1,2\n" * 1000, "csv", chunk_size=100)


def test_parts_of_lines_are_streams_as_any() -> None:
    for obj in opened(b"1\n2\n3\n", "csv", chunk_number=2):
        assert isinstance(obj, DataObject)
        assert next(obj.data_stream) == b"1\n"
        obj.close()
        assert obj.data_stream.closed

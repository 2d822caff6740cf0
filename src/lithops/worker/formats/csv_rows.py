"""CSV: cut at lines, as text is, and every part begins with the file's header.

A line break between quotes is part of a field. The header may have some. Whether a cut in the middle of the file is
between quotes cannot be known without reading all before it: the part that ends there notices, and is an error.
"""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace

from lithops.exceptions import InvalidCall, StorageError
from lithops.wire.parts import DataPart
from lithops.worker.data import DataObject
from lithops.worker.formats.base import Access, Cut, Format, check_newline, cut_bytes
from lithops.worker.lines import Read
from lithops.worker.reading import Blocks

_FIRST_STEP = 16 * 1024
"""What is asked for to find the header's end; each further step is four times as long."""
_LONGEST_HEADER = 64 * 1024 * 1024
_CARRIED_BYTES = 2048
"""A longer header is read by each part, so that calls stay small."""
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_OPENS_FIELD = re.compile(rb'(?:[,;\t|\r\n]|\n\xef\xbb\xbf)"')


class CsvRows(Format):
    """Rows of a file with a header."""

    def cut(self, whole: DataPart, cut: Cut, access: Access, /) -> list[DataPart]:
        newline = check_newline("csv", cut)
        parts = cut_bytes(whole, cut)
        if len(parts) == 1:
            return parts
        header = _find_header(access.read(whole), whole, newline)
        first, *others = cut_bytes(whole, cut, header=len(header))
        selection = header if len(header) <= _CARRIED_BYTES else len(header)
        return [first, *(replace(part, selection=selection) for part in others)]

    def open(self, part: DataPart, access: Access, /) -> DataObject:
        return DataObject(part, _rows(part, access))


def _rows(part: DataPart, access: Access) -> Blocks:
    if isinstance(part.selection, int):
        yield from access.read(part)(0, part.selection)
    elif part.selection:
        yield part.selection
    quotes = _Quotes()
    with closing(access.blocks(part)) as blocks:
        for block in blocks:
            quotes.pass_by(block)
            yield block
    if quotes.are_open and part.total_parts > 1:
        raise StorageError(
            f"{part.name} cannot be cut into parts: part {part.part} ends, or begins, within a quoted field that "
            "has line breaks; set obj_chunk_number=1, or write the file without line breaks in fields"
        )


def _find_header(read: Read, whole: DataPart, newline: bytes) -> bytes:
    """The first line that is not blank, with all before it, its end, and what line breaks it has between quotes."""
    size = whole.size or 0
    text, step = b"", _FIRST_STEP
    line_start = 0
    quotes = _Quotes()
    while True:
        text += b"".join(read(len(text), min(len(text) + step, size)))
        if text.startswith(_UTF16_MARKS):
            raise InvalidCall(
                f"{whole.name} is UTF-16, whose lines cannot be told by bytes; "
                "write it as UTF-8, or set obj_chunk_number=1"
            )
        while (found := text.find(newline, line_start)) >= 0:
            stop = found + len(newline)
            quotes.pass_by(text[line_start:stop])
            line_start = stop
            if not quotes.are_open and text[:stop].removeprefix(_UTF8_MARK).strip():
                return text[:stop]
        if len(text) == size:
            return text
        if len(text) > _LONGEST_HEADER:
            raise InvalidCall(
                f"{whole.name} has no header that ends in its first {len(text)} bytes; "
                "check obj_newline and the file's quotes"
            )
        step *= 4


class _Quotes:
    """Whether what passed by ends between quotes: their number is odd, and one of them begins a field.

    A quote within a field, as in ``5" pipe``, is text.
    """

    def __init__(self) -> None:
        self._is_odd = False
        self._has_opening = False
        self._last = b"\n"

    @property
    def are_open(self) -> bool:
        return self._is_odd and self._has_opening

    def pass_by(self, block: bytes) -> None:
        if not block:
            return
        count = block.count(b'"')
        if count:
            self._is_odd ^= bool(count % 2)
            self._has_opening = self._has_opening or bool(_OPENS_FIELD.search(self._last + block))
        self._last = block[-1:]

"""JSON lines: cut at lines, as text is, and read as values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lithops.exceptions import StorageError
from lithops.wire.parts import DataPart
from lithops.worker.data import DataObject
from lithops.worker.formats.base import Access, Cut, Format, check_newline, cut_bytes
from lithops.worker.lines import line_start

_SHOWN_BYTES = 80


class JsonLines(Format):
    """One JSON value in each line."""

    def cut(self, whole: DataPart, cut: Cut, _: Access, /) -> list[DataPart]:
        check_newline("jsonl", cut)
        return cut_bytes(whole, cut)

    def open(self, part: DataPart, access: Access, /) -> JsonObject:
        return JsonObject(part, access)


class JsonObject(DataObject):
    """A part of JSON lines: text in `data_stream`, or values by `records`."""

    def __init__(self, part: DataPart, access: Access) -> None:
        super().__init__(part, access.blocks(part))
        self._part = part
        self._read = access.read(part)

    def records(self) -> Iterator[Any]:
        """The values of the lines that have not been read, one at a time; blank lines have none.

        Raises `StorageError` for a line that is not JSON, with its place in the object.
        """
        position = 0
        for line in self.data_stream:
            try:
                if not line.isspace():
                    yield json.loads(line)
            except ValueError as error:
                raise self._broken(line, position, error) from error
            position += len(line)

    def _broken(self, line: bytes, position: int, error: ValueError) -> StorageError:
        part = self._part
        start = 0
        if part.total_parts > 1 and part.byte_range and part.size and part.newline:
            start = line_start(self._read, part.byte_range.start, part.size, part.newline)
        shown = line[:_SHOWN_BYTES].decode(errors="replace")
        return StorageError(
            f"{part.name} is not JSON in the line at byte {start + position}: {error}; it reads {shown!r}"
        )

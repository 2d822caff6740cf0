"""What a function finds in its parameter `obj`: one part of the input data, as a stream.

::

    storage, file or URL  ->  resumed()  ->  own_lines()  ->  data_stream
    blocks of 1 MiB           all there      the part's own    read, readline, iterate

Nothing is opened before it is read, and nothing is held but a block or two.
"""

from __future__ import annotations

import io
import os
import sys
import time
from functools import partial
from typing import BinaryIO, TypeVar, cast

from lithops.exceptions import StorageError
from lithops.storage.base import StorageBackend
from lithops.wire.parts import DataKind, DataPart
from lithops.worker.lines import own_lines
from lithops.worker.reading import BLOCK_BYTES, Blocks, Read, Sleep, read_object, read_path, resumed

_Object = TypeVar("_Object", bound="PartObject")


def open_part(part: DataPart, storage: StorageBackend, *, sleep: Sleep = time.sleep) -> DataObject:
    """The part as a function sees it; `storage` is where objects are read from."""
    return DataObject(part, part_blocks(part, storage, sleep=sleep))


class PartObject:
    """One part of an object, URL or file. A context manager; the worker closes it after the call."""

    part: int
    """Which part it is, counted from 1."""
    total_parts: int
    chunk_size: int | None
    """How many bytes the part was given: its lines may be a little less or more. None if not known."""
    data_byte_range: tuple[int, int] | None
    """The first and the last of those bytes, both included, as HTTP counts. None if they are not known."""
    bucket: str | None
    """The object's bucket; of a file, its folder."""
    key: str | None
    """The object's key; of a file, its name."""
    url: str | None
    path: str | None

    def __init__(self, part: DataPart) -> None:
        self.part = part.part
        self.total_parts = part.total_parts
        self.chunk_size = part.chunk_size
        byte_range = part.byte_range
        self.data_byte_range = None if byte_range is None else (byte_range.start, byte_range.stop - 1)
        self.bucket, self.key = part.bucket or None, part.key or None
        self.url = part.url or None
        self.path = part.path or None
        if part.path:
            self.bucket, self.key = os.path.split(part.path)
        self._name = part.name

    def close(self) -> None:
        """Release what was opened to read the part."""

    def __enter__(self: _Object) -> _Object:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<part {self.part} of {self.total_parts} of {self._name}>"


class DataObject(PartObject):
    """A part that is a stream of bytes."""

    data_stream: BinaryIO
    """The part's bytes as a binary file. Its lines end with the job's `obj_newline`, or ``\\n``."""

    def __init__(self, part: DataPart, blocks: Blocks) -> None:
        super().__init__(part)
        stream = PartStream(blocks)
        if part.newline in (None, b"\n"):
            self.data_stream = io.BufferedReader(stream, BLOCK_BYTES)
        else:
            self.data_stream = cast(BinaryIO, SeparatedReader(stream, part.newline))

    def close(self) -> None:
        self.data_stream.close()


class PartStream(io.RawIOBase):
    """Blocks as a binary file."""

    def __init__(self, blocks: Blocks) -> None:
        super().__init__()
        self._blocks = blocks
        self._block = memoryview(b"")
        self._failure: StorageError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override] # always called with a view
        if not self._fill():
            return 0
        count = min(len(buffer), len(self._block))
        buffer[:count] = self._block[:count]
        self._block = self._block[count:]
        return count

    def readall(self) -> bytes:
        pieces: list[memoryview] = []
        while self._fill():
            pieces.append(self._block)
            self._block = memoryview(b"")
        return b"".join(pieces)

    def close(self) -> None:
        self._blocks.close()
        self._block = memoryview(b"")
        super().close()

    def _fill(self) -> bool:
        """Whether anything is left to read."""
        if self._failure:
            # What failed once is not at its end.
            raise self._failure
        while not self._block:
            try:
                block = next(self._blocks, None)
            except StorageError as failure:
                self._failure = failure
                raise
            if block is None:
                return False
            self._block = memoryview(block)
        return True


class SeparatedReader(io.BufferedIOBase):
    """A buffered binary file whose lines end with `separator`."""

    def __init__(self, raw: io.RawIOBase, separator: bytes) -> None:
        super().__init__()
        self._raw = raw
        self._separator = separator
        self._held = b""
        self._at = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = sys.maxsize if size is None or size < 0 else size
        pieces: list[bytes] = []
        while wanted and (piece := self.read1(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
        return b"".join(pieces)

    def read1(self, size: int = -1, /) -> bytes:
        if not self._fill():
            return b""
        stop = len(self._held) if size < 0 else self._at + size
        piece = self._held[self._at : stop]
        self._at += len(piece)
        return piece

    def readline(self, size: int | None = -1, /) -> bytes:
        start = self._at
        found = self._held.find(self._separator, start)
        stop = found + len(self._separator)
        if found < 0 or (size is not None and 0 <= size < stop - start):
            return self._read_line(sys.maxsize if size is None or size < 0 else size)
        self._at = stop
        return self._held[start:stop]

    def close(self) -> None:
        self._raw.close()
        self._held, self._at = b"", 0
        super().close()

    def _read_line(self, limit: int) -> bytes:
        """A line that goes on in the next block, perhaps within its separator, or is longer than `limit`."""
        length = len(self._separator)
        line = bytearray()
        found = -1
        while found < 0 and len(line) < limit and self._fill():
            before = len(line)
            line += self._held[self._at :]
            found = line.find(self._separator, max(0, before - length + 1))
            taken = min(len(line) if found < 0 else found + length, limit)
            self._at += taken - before
            del line[taken:]
        return bytes(line)

    def _fill(self) -> bool:
        """Whether anything is left to read."""
        if self.closed:
            raise ValueError("the data stream is closed")
        if self._at == len(self._held):
            self._held = self._raw.read(BLOCK_BYTES) or b""
            self._at = 0
        return bool(self._held)


def part_blocks(part: DataPart, storage: StorageBackend, *, sleep: Sleep) -> Blocks:
    """The part's bytes, or the lines that start in them. Opens nothing until it is asked to."""
    read = reader(part, storage, sleep=sleep)
    if part.byte_range is None or part.size is None:
        yield from read(0, None)
    elif part.newline is None or part.total_parts == 1:
        yield from read(part.byte_range.start, part.byte_range.stop)
    else:
        yield from own_lines(read, part.byte_range, part.size, part.newline)


def reader(part: DataPart, storage: StorageBackend, *, sleep: Sleep) -> Read:
    """What reads any range of the whole that the part is of, as it was when it was partitioned."""
    return partial(resumed, _once(part, storage), part, sleep=sleep)


def _once(part: DataPart, storage: StorageBackend) -> Read:
    if part.kind is DataKind.OBJECT:
        return partial(read_object, storage, part)
    if part.kind is DataKind.PATH:
        return partial(read_path, part)
    from lithops.worker.urls import read_url

    return partial(read_url, part)

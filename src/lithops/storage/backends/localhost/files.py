"""Bytes to a file and from a part of one."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from typing import BinaryIO, cast

from lithops.storage.base import Body
from lithops.storage.bodies import as_bytes
from lithops.wire.messages import ByteRange
from lithops.wire.pickles import Buffer

_BATCH = 1024
"""Buffers that one system call takes: the least that systems allow today."""
_CHUNK_BYTES = 1 << 20


def batches(body: Body) -> Iterator[list[memoryview]]:
    """The body in portions that `write_all` takes. Nothing is joined, and a file is read as it is written."""
    if isinstance(body, bytes | bytearray | memoryview):
        yield [as_bytes(body)]
    elif isinstance(body, Sequence):
        for start in range(0, len(body), _BATCH):
            segments = cast("Sequence[Buffer]", body[start : start + _BATCH])
            yield [as_bytes(segment) for segment in segments]
    else:
        while chunk := body.read(_CHUNK_BYTES):
            yield [as_bytes(chunk)]


def write_all(descriptor: int, views: list[memoryview]) -> None:
    """Write the views one after the other, however little the system takes at a time."""
    while views:
        written = os.writev(descriptor, views)
        done = 0
        while done < len(views) and written >= views[done].nbytes:
            written -= views[done].nbytes
            done += 1
        del views[:done]
        if written:
            views[0] = views[0][written:]


def existing(byte_range: ByteRange | None, descriptor: int) -> tuple[int, int]:
    """Where the part of the range that the file has starts and stops; without a range, all of it."""
    size = os.fstat(descriptor).st_size
    if byte_range is None:
        return 0, size
    start = min(max(byte_range.start, 0), size)
    return start, max(start, min(byte_range.stop, size))


def open_window(file: io.FileIO, start: int, stop: int) -> BinaryIO:
    """The bytes from `start` to `stop` as a stream of their own, which closes `file` with itself."""
    return io.BufferedReader(_Window(file, start, stop))


class _Window(io.RawIOBase):
    def __init__(self, file: io.FileIO, start: int, stop: int) -> None:
        super().__init__()
        self._file = file
        self._start = start
        self._length = stop - start
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override] # as `io` calls it
        wanted = min(len(buffer), self._length - self._position)
        if wanted <= 0:
            return 0
        self._file.seek(self._start + self._position)
        count = self._file.readinto(memoryview(buffer)[:wanted])
        self._position += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()

"""An object in pieces as a stream."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO


def open_pieces(pieces: Iterator[bytes], buffer_bytes: int = io.DEFAULT_BUFFER_SIZE) -> BinaryIO:
    """The pieces one after the other, each asked for when it is needed. None of them may be empty.

    What the first failing read raises, every later one raises too: an iterator that failed looks like one that ended.
    """
    return io.BufferedReader(_Pieces(pieces), buffer_bytes)


class _Pieces(io.RawIOBase):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._failure: BaseException | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override] # as `io` calls it
        if not self._rest:
            self._rest = memoryview(self._next())
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def _next(self) -> bytes:
        if self._failure is not None:
            raise self._failure
        try:
            return next(self._pieces, b"")
        except BaseException as failure:
            self._failure = failure
            raise

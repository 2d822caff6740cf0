"""An object, URL or file as a seekable file of which only what is read is asked for."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

from lithops.wire.messages import ByteRange
from lithops.worker.lines import Read

_NEAR_BYTES = 128 * 1024
"""Ranges that are no further apart are asked for in one request: the bytes between cost less than another."""


class RangedFile(io.RawIOBase):
    """Reads `size` bytes by `read`, in a request for each range, at least `ahead` bytes at once.

    Raises what `read` raises: `StorageError` when the data changed, or cannot be had. Not for several threads at once.
    """

    def __init__(self, read: Read, size: int, *, ahead: int = 0) -> None:
        super().__init__()
        self.size = size
        self._read = read
        self._ahead = ahead
        self._position = 0
        self._held_start = 0
        self._held = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError(f"byte {base + offset} is before the start of the file")
        self._position = base + offset
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        start = self._position
        stop = self.size if size < 0 else min(start + size, self.size)
        if start >= stop:
            return b""
        if not (self._held_start <= start and stop <= self._held_start + len(self._held)):
            self._held = self._fetch(start, max(stop, min(start + self._ahead, self.size)))
            self._held_start = start
        self._position = stop
        return self._held[start - self._held_start : stop - self._held_start]

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override] # always called with a view
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read_ranges(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        """The bytes of each range. Those that are near each other share a request."""
        groups: list[list[int]] = []
        reach = 0
        for index in sorted(range(len(ranges)), key=lambda index: ranges[index].start):
            if groups and ranges[index].start <= reach + _NEAR_BYTES:
                groups[-1].append(index)
                reach = max(reach, ranges[index].stop)
            else:
                groups.append([index])
                reach = ranges[index].stop
        found = [b""] * len(ranges)
        for group in groups:
            start = ranges[group[0]].start
            block = self._fetch(start, min(max(ranges[index].stop for index in group), self.size))
            for index in group:
                found[index] = block[ranges[index].start - start : ranges[index].stop - start]
        return found

    def _fetch(self, start: int, stop: int) -> bytes:
        return b"".join(self._read(start, stop))

"""Which lines of an object belong to a part, found by reading little more than the part itself.

A part owns the lines that start in its byte range. A line starts at the object's first byte, and behind each
separator that a scan from there meets, left to right, none overlapping the one before: as in `bytes.split`.
A part cannot scan from the object's start. It starts where every such scan is in step:

- Most separators (``\\n``, ``\\r\\n``) cannot overlap themselves. One length before the part will do.
- For the others (``\\n\\n``, ``aa``) it looks further back, to a place that no separator lies across.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing

from lithops.wire.messages import ByteRange

Blocks = Generator[bytes, None, None]
Read = Callable[[int, int], Blocks]
"""Gives the object's bytes from a start up to a stop, all of them, in blocks that are not empty."""

_LOOK_BACK = 4096
_FIRST_STEP = 64 * 1024
"""What is asked for beyond the part's end, for its last line; each further step is twice as long."""
_LONGEST_STEP = 64 * 1024 * 1024


def own_lines(read: Read, byte_range: ByteRange, size: int, separator: bytes) -> Blocks:
    """The lines that start in `byte_range` of an object of `size` bytes, in blocks that may be empty."""
    start, stop = byte_range.start, byte_range.stop
    first = _scan_start(read, start, separator)
    blocks = _onward(read, first, stop, size)
    with closing(blocks):
        cursor = _Cursor(blocks, first)
        if start > 0:
            for _ in cursor.pass_to_line_start(start, separator):
                if cursor.position >= stop:
                    return
        if stop < size:
            yield from cursor.pass_to(_scan_start(read, stop, separator))
            yield from cursor.pass_to_line_start(stop, separator)
        else:
            yield from cursor.pass_to(size)


def line_start(read: Read, target: int, size: int, separator: bytes) -> int:
    """Where the first line that starts at `target` or later does; `size` if there is none."""
    if target <= 0:
        return 0
    first = _scan_start(read, target, separator)
    with closing(_onward(read, first, target, size)) as blocks:
        cursor = _Cursor(blocks, first)
        for _ in cursor.pass_to_line_start(target, separator):
            pass
        return cursor.position


class _Cursor:
    """Passes blocks on, up to places within them."""

    def __init__(self, blocks: Blocks, position: int) -> None:
        self.position = position
        """How far into the object what was passed on reaches."""
        self._blocks = blocks
        self._held = b""

    def pass_to(self, target: int) -> Blocks:
        """Everything before `target`."""
        while self.position < target:
            self._held = self._held or next(self._blocks)
            yield self._pass(min(target - self.position, len(self._held)))

    def pass_to_line_start(self, target: int, separator: bytes) -> Blocks:
        """Everything before the first line that starts at `target` or later."""
        length = len(separator)
        searched = 0
        while True:
            found = self._held.find(separator, searched)
            if found >= 0:
                searched = found + length
                if self.position + searched >= target:
                    yield self._pass(searched)
                    return
                continue
            block = next(self._blocks, b"")
            if not block:
                yield self._pass(len(self._held))
                return
            # The last bytes may be the beginning of a separator.
            yield self._pass(max(searched, len(self._held) - length + 1, 0))
            searched = 0
            self._held += block

    def _pass(self, count: int) -> bytes:
        passed, self._held = self._held[:count], self._held[count:]
        self.position += count
        return passed


def _onward(read: Read, start: int, likely_stop: int, size: int) -> Blocks:
    """The blocks from `start` to the object's end. What lies far behind `likely_stop` is asked for late."""
    step = _FIRST_STEP
    stop = min(likely_stop + step, size)
    yield from read(start, stop)
    while stop < size:
        start, stop = stop, min(stop + step, size)
        yield from read(start, stop)
        step = min(2 * step, _LONGEST_STEP)


def _scan_start(read: Read, target: int, separator: bytes) -> int:
    """Where to start a scan that is to find the first line start at `target` or later."""
    if target <= len(separator):
        return 0
    if not _overlaps_itself(separator):
        return target - len(separator)
    reach = _LOOK_BACK + 2 * len(separator)
    while True:
        low = max(0, target - reach)
        place = _place_in_step(b"".join(read(low, target)), separator, is_start=low == 0)
        if place is not None:
            return low + place
        reach *= 4


def _place_in_step(window: bytes, separator: bytes, *, is_start: bool) -> int | None:
    """The last place in `window` that no separator lies across and that leaves room for one behind it.

    None where `window` would have to begin earlier.
    """
    length = len(separator)
    place = len(window) - length
    while place > 0:
        if place < length and not is_start:
            return None
        across = window.find(separator, max(0, place - length + 1), place + length - 1)
        if across < 0:
            return place
        place = across
    return 0 if is_start else None


def _overlaps_itself(separator: bytes) -> bool:
    return any(separator.startswith(separator[start:]) for start in range(1, len(separator)))

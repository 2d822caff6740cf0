"""Keys and bodies that a storage may get wrong: what the conformance suite stores."""

from __future__ import annotations

import array
import io
from collections.abc import Callable
from typing import Any, BinaryIO

NASTY_KEYS = (
    *(
        "with space",
        "trailing ",
        "a+b",
        "100%",
        "%41",
        "%2E",
        "%25",
        "%_",
        "%",
        "%+/x",
        "~",
        "-",
        "$HOME",
        "#",
    ),
    *(
        "ünïcödé/日本語",
        "emoji-\U0001f389.txt",
        "é" * 500,
        "back\\slash",
        "query?x=1&y=2#z",
        "quote'\"`",
        "glob*[1]?",
    ),
    *("a", "a/b", "a/b/c", "a//b", "a/", "a//", "a.b", "a.b/c", "a.b/c.d", "a.b/c.d/e", "<xml>&amp;", "a:b"),
    *(".hidden", ".hidden/.too", "./x", "a/./b", "..b", "a..b", "a/..b", "...", "a/...", "." * 300),
    *(
        "s" * 1000,
        "s" * 999,
        "t" * 60,
        "t" * 60 + "/u",
        "t" * 251,
        "t" * 250 + "/u",
        "dir/" + "f" * 300 + ".bin",
    ),
    *("/".join("n" * 500), "/".join(["long" * 70] * 3)),
)


class SourceBrokeOff(Exception):
    """A test's source of data broke off: the backend lets this through as it is."""


def unseekable(data: bytes, *, breaks_off: bool = False) -> BinaryIO:
    """A file that can only be read onwards, some bytes at a time, as a pipe or an HTTP response."""
    return io.BufferedReader(_Source(data, breaks_off))


class _Source(io.RawIOBase):
    def __init__(self, data: bytes, breaks_off: bool) -> None:
        super().__init__()
        self._rest = memoryview(data)
        self._breaks_off = breaks_off

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override] # as `io` calls it
        if self._breaks_off and not self._rest:
            raise SourceBrokeOff
        count = min(len(buffer), len(self._rest), 100_003)
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _segments(data: bytes) -> list[bytes | bytearray | memoryview]:
    """Some 3,000 segments of all kinds, empty ones among them: more than a system call takes."""
    step = max(1, len(data) // 3_000)
    kinds: tuple[Callable[[bytes], Any], ...] = (bytes, bytearray, memoryview)
    cut = [kinds[start % 3](data[start : start + step]) for start in range(0, len(data), step)]
    return [b"", *cut, bytearray()]


def _strided(data: bytes) -> memoryview:
    """A view of every second byte of some memory."""
    memory = bytearray(2 * len(data))
    memory[::2] = data
    return memoryview(memory)[::2]


def _numbers(data: bytes) -> memoryview:
    """A view whose items are larger than a byte, where the length allows it."""
    view = memoryview(data)
    return memoryview(array.array("H", data)) if view.nbytes % 2 == 0 else view


BODIES: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "strided": _strided,
    "numbers": _numbers,
    "segments": _segments,
    "file": io.BytesIO,
    "unseekable": unseekable,
}

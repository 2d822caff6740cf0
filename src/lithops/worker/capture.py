"""What a call prints and logs, caught at the file descriptors: subprocesses and C libraries are heard too.

Standard output and error both lead into one file. After each call the file is read and emptied, which costs a
fraction of a microsecond when nothing was written. When a worker dies, its parent reads the last words there.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import TYPE_CHECKING, Protocol

MAX_LOG_BYTES = 1 << 20
"""Of a longer output the last part is kept, under a line that says how much is missing."""


class Capture(Protocol):
    """What a worker needs, to know what each of its calls prints."""

    def begin(self) -> None:
        """A call starts: catch what it writes."""
        ...

    def take(self) -> str:
        """What was written since the last time."""
        ...


class OutputStreams:
    """Standard output and error as a call finds them, whatever the call before did to them."""

    def __init__(self) -> None:
        self._streams = (writer(1), writer(2))

    def put_in_place(self) -> None:
        if self._streams[0].closed or self._streams[1].closed:
            self._streams = (writer(1), writer(2))
        sys.stdout, sys.stderr = self._streams

    def flush(self) -> None:
        for stream in self._streams:
            if not stream.closed:
                stream.flush()


class OutputCapture:
    """Catches standard output and error of this process in the file open at `fd` (read, write, append)."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._streams = OutputStreams()

    def begin(self) -> None:
        self._streams.put_in_place()

    def take(self) -> str:
        """What was written since the last time."""
        self._streams.flush()
        size = os.lseek(self._fd, 0, os.SEEK_END)
        if not size:
            return ""
        text = read_tail(self._fd, size)
        os.ftruncate(self._fd, 0)
        return text


def read_tail(fd: int, size: int, limit: int = MAX_LOG_BYTES) -> str:
    """The last `limit` of `size` bytes of a file, as text."""
    missing = max(0, size - limit)
    text = os.pread(fd, limit, missing).decode("utf-8", "replace")
    return f"[the first {missing} bytes of this output were dropped]\n{text}" if missing else text


def log_to_stderr(level: int = logging.INFO) -> None:
    """Let the user's log records from INFO up be heard, unless their code sets up logging itself."""
    handler = _CurrentStderr(level)
    handler.setFormatter(logging.Formatter("%(asctime)s [%(levelname)s] %(name)s -- %(message)s"))
    # The handler of last resort serves only while nobody has configured another.
    logging.lastResort = handler
    logging.getLogger().setLevel(level)


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[io.TextIOBase]
else:
    _StreamHandler = logging.StreamHandler  # Python 3.10 has no parameters there


class _CurrentStderr(_StreamHandler):
    """Writes to what `sys.stderr` is at that moment."""

    def __init__(self, level: int) -> None:
        logging.Handler.__init__(self, level)

    @property
    def stream(self) -> io.TextIOBase:  # type: ignore[override]
        return sys.stderr  # type: ignore[return-value]


def writer(fd: int) -> io.TextIOWrapper:
    """A text stream that writes to the descriptor, and leaves it open."""
    # Line by line, so that the last line before a crash is in the file.
    return io.TextIOWrapper(
        open(fd, "wb", closefd=False), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )

"""What a call writes, caught while it also goes where it went before: into the log of the cloud.

Both streams lead into a pipe. A thread passes on what comes out of it, so that the cloud has it even when the process
is killed in the midst of the call.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from lithops.worker.capture import MAX_LOG_BYTES, OutputStreams

_READ_BYTES = 1 << 16
_PATIENCE_S = 10.0
"""If the log takes nothing for so long, what is still in the pipe is left to the next call."""


class TeeCapture:
    """Implements `Capture` for a process whose output somebody else keeps too."""

    def __init__(self) -> None:
        self._log_fd = os.dup(2)
        self._read_fd, write_fd = os.pipe()
        self._mark = b"\0lithops" + os.urandom(16)
        self._kept = bytearray()
        self._dropped = 0
        self._marked = threading.Event()
        os.dup2(write_fd, 1)
        os.dup2(write_fd, 2)
        os.close(write_fd)
        self._streams = OutputStreams()
        threading.Thread(target=self._pass_on, daemon=True, name="lithops-output").start()

    def begin(self) -> None:
        self.take()
        self._streams.put_in_place()

    def take(self) -> str:
        self._streams.flush()
        self._marked.clear()
        os.write(2, self._mark)
        self._marked.wait(_PATIENCE_S)
        text, self._kept = self._kept.decode("utf-8", "replace"), bytearray()
        dropped, self._dropped = self._dropped, 0
        return f"[the first {dropped} bytes of this output were dropped]\n{text}" if dropped else text

    def _pass_on(self) -> None:
        rest = b""
        while data := os.read(self._read_fd, _READ_BYTES):
            data = rest + data
            written, mark, after = data.partition(self._mark)
            if not mark:
                # The mark may have come in part.
                whole = len(data) - _overlap(data, self._mark)
                written, after = data[:whole], data[whole:]
            self._keep(written)
            rest = after
            if mark:
                self._marked.set()

    def _keep(self, written: bytes) -> None:
        if written:
            with suppress(OSError):  # nobody keeps the log any more: no reason for the call to fail
                os.write(self._log_fd, written)
            self._kept += written
            excess = len(self._kept) - MAX_LOG_BYTES
            if excess > 0:
                del self._kept[:excess]
                self._dropped += excess


def _overlap(data: bytes, mark: bytes) -> int:
    """How many bytes at the end of the data may be the beginning of the mark."""
    return next(
        (count for count in range(min(len(mark), len(data)), 0, -1) if mark.startswith(data[-count:])), 0
    )

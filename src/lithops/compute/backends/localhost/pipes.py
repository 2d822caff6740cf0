"""Reading frames from a pipe: what client and worker process have in common."""

from __future__ import annotations

import os

from lithops.wire.frames import Frame, FrameReader

_READ_BYTES = 1 << 16


def read_frames(fd: int, reader: FrameReader) -> tuple[bool, list[Frame]]:
    """One read: whether the pipe has ended, and the frames that are whole now. Large bodies are read in place.

    Raises `BlockingIOError` where the descriptor does not block and nothing is there.
    """
    missing = reader.missing
    if missing is None:
        data = os.read(fd, _READ_BYTES)
        return not data, reader.feed(data)
    count = os.readv(fd, [missing])
    return not count, reader.fill(count)

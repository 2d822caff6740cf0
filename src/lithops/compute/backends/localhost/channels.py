"""What connects a client with one worker: pipes for tasks, statuses and claims, and a file that catches output.

A worker process inherits them. A container finds them by name in a folder that it shares with its client, so that
nothing but the kernel is between the two: `open_named` is the client's side, `connect` the worker's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass
from typing import IO

_PIPE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Channels:
    """The client's ends. None of them blocks."""

    tasks: IO[bytes]
    statuses: IO[bytes]
    claims: IO[bytes]
    unused_claims: IO[bytes]
    """The worker's end of the claims, to take some back."""
    output: IO[bytes]

    def __post_init__(self) -> None:
        for pipe in (self.tasks, self.statuses):
            os.set_blocking(pipe.fileno(), False)
            # Fewer turns for large messages than with the usual 64 KiB.
            with contextlib.suppress(
                OSError, AttributeError
            ):  # not on Linux, or this user has too many of them
                fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def close(self) -> None:
        """Release all of them. The worker ends when it sees that."""
        for stream in (self.tasks, self.statuses, self.claims, self.unused_claims, self.output):
            stream.close()


def open_named(folder: str) -> tuple[Channels, int]:
    """Make named channels in the folder. Also gives the worker's end of the statuses.

    Whoever starts the worker holds that end too: where no worker ever opens it, the statuses end all the same.
    """
    for name in ("tasks", "statuses", "claims"):
        os.mkfifo(f"{folder}/{name}", 0o600)
    statuses = _open(f"{folder}/statuses", os.O_RDONLY, "rb")
    worker_end = os.open(f"{folder}/statuses", os.O_WRONLY)
    # Open for reading too, these can be written to before there is a worker.
    tasks = _open(f"{folder}/tasks", os.O_RDWR, "r+b")
    claims = _open(f"{folder}/claims", os.O_RDWR, "r+b")
    output = _open(f"{folder}/output", os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, "r+b")
    return Channels(tasks, statuses, claims, claims, output), worker_end


def connect(folder: str) -> int:
    """Make the named channels this process's standard streams, remove the folder, and give the pipe of claims.

    Raises `OSError` where the client is gone.
    """
    try:
        # Nothing here may block: a client that is gone will never open its end.
        tasks = os.open(f"{folder}/tasks", os.O_RDONLY | os.O_NONBLOCK)
        statuses = os.open(f"{folder}/statuses", os.O_WRONLY | os.O_NONBLOCK)
        output = os.open(f"{folder}/output", os.O_RDWR | os.O_APPEND)
        claims = os.open(f"{folder}/claims", os.O_RDONLY | os.O_NONBLOCK)
    finally:
        for name in os.listdir(folder):
            os.unlink(f"{folder}/{name}")
        os.rmdir(folder)
    for standard, fd in enumerate((tasks, statuses, output)):
        os.set_blocking(fd, True)
        os.dup2(fd, standard)
        os.close(fd)
    # What the container's engine had to say is not the first call's output.
    os.ftruncate(2, 0)
    return claims


def _open(path: str, flags: int, mode: str) -> IO[bytes]:
    return open(os.open(path, flags | os.O_NONBLOCK, 0o600), mode, buffering=0)

"""A localhost worker process: tasks in through one pipe, statuses out through another.

On start, standard input is the pipe of tasks, standard output the pipe of statuses, and standard error the file that
catches what calls print. The two pipes move to descriptors of their own, which the calls' subprocesses do not inherit;
then standard output joins standard error in the file.

A third pipe holds *claims*: one byte for each call that this worker may still start. The client takes bytes out of it
to have calls run elsewhere, and a byte that the worker took is a call that it starts: the kernel decides who was first.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
import sys
import threading
import time

from lithops.compute.backends.localhost.pipes import read_frames
from lithops.storage.registry import from_reference
from lithops.version import __version__
from lithops.wire.codec import hello_to_frame, statuses_to_frame, task_from_frame
from lithops.wire.frames import FrameReader
from lithops.wire.messages import CallStatus, JobSpec
from lithops.wire.pickles import Buffer
from lithops.worker.capture import OutputCapture, log_to_stderr
from lithops.worker.handler import Worker

_ORDERLY_EXIT_S = 2.0


def main(claims_fd: int, name: str) -> None:
    """Run tasks until the client closes the pipe. The client knows this worker as `name`."""
    claims = Claims(claims_fd)
    tasks_fd, statuses_fd = os.dup(0), os.dup(1)
    os.register_at_fork(after_in_child=lambda: _leave(claims_fd, tasks_fd, statuses_fd))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    faulthandler.enable(file=2)
    log_to_stderr()
    busy = threading.Event()
    lifeline = threading.Thread(
        target=_end_with_client, args=(tasks_fd, busy), daemon=True, name="lithops-lifeline"
    )
    lifeline.start()
    worker = Worker(name, from_reference, OutputCapture(2))
    _write(statuses_fd, hello_to_frame(__version__, sys.version_info[:2], os.getpid()))

    def report(status: CallStatus) -> None:
        _write(statuses_fd, statuses_to_frame([status]))

    reader, jobs, ended = FrameReader(), dict[str, JobSpec](), False
    while not ended:
        ended, frames = read_frames(tasks_fd, reader)
        for frame in frames:
            claims.next_task()
            busy.set()
            worker.run(task_from_frame(frame, jobs), report, claims.take)
            busy.clear()


class Claims:
    """The worker's end of the pipe of claims. Each byte is its task's number, modulo 256."""

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)
        self._fd = fd
        self._task = -1
        self._held: int | None = None

    def next_task(self) -> None:
        self._task = (self._task + 1) % 256

    def take(self) -> bool:
        """Whether this worker may start the next call of its task."""
        claim = self._held
        if claim is None:
            try:
                claim = os.read(self._fd, 1)[0]
            except BlockingIOError:
                return False
        # A byte of the next task says that what was left of this one has been taken back.
        self._held = None if claim == self._task else claim
        return self._held is None


def _leave(*fds: int) -> None:
    """In a child that a call forks: while it held the pipes, nobody would see the worker's end."""
    for fd in fds:
        with contextlib.suppress(OSError):  # the call has closed it already
            os.close(fd)


def _write(fd: int, segments: list[Buffer]) -> None:
    """Write a whole frame. It reaches the pipe before the next call starts, so a crash there cannot lose it."""
    for segment in segments:
        written = os.write(fd, segment)
        if written < len(segment):
            view = memoryview(segment)[written:]
            while view:
                view = view[os.write(fd, view) :]


def _end_with_client(tasks_fd: int, busy: threading.Event) -> None:
    """End this process, and what its calls started, when the client is gone: in the middle of a call at once."""
    poll = select.poll()
    poll.register(tasks_fd, 0)
    poll.poll()
    if not busy.is_set():
        # The main thread sees it too, and ends in order: executors that calls made clean up.
        time.sleep(_ORDERLY_EXIT_S)
    # The worker leads a process group of its own: see `Interpreter.start`; in a container, its init sees to that.
    os.killpg(os.getpid(), signal.SIGKILL)

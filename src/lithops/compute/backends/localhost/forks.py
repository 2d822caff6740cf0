"""A process that has imported what workers need, and becomes one after the other: by a fork, in a millisecond.

::

    Interpreter.start ──descriptors──► serve ──fork──► entry.main
                      ◄─────pid──────
    ForkedProcess.wait ◄──exit code──

It has no threads, and it is not the program: of the program's threads, locks and open files, workers have none.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import struct
from collections.abc import Iterable
from importlib import import_module

from lithops.worker import NUMBER_VARIABLE

ANSWER = struct.Struct("=ii")
"""The worker's pid, or 0 and the number of the system's error."""
EXIT_CODE = struct.Struct("=i")
"""Negative for a signal."""
KEY_VARIABLE = "LITHOPS_AUTHKEY"
"""Set for the server alone: the key, in hexadecimal digits, that the program's processes have in common."""
PASSED = 6
"""So many descriptors come with each request, in the order of the arguments of `_become_worker` and one more."""


def serve(requests_fd: int, modules: Iterable[str]) -> int | None:
    """Import the modules, then fork a worker for each request, and tell of its end. Gives its pipe of claims in a
    worker, and None in the end, when the client is gone."""
    requests = socket.socket(fileno=requests_fd)
    _take_key()
    for name in modules:
        with contextlib.suppress(ImportError):  # whoever really needs it says so
            import_module(name)
    children = _Children()
    # What is there now is never collected, so that workers and this process go on sharing its memory.
    gc.collect()
    gc.freeze()
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    poll.register(children.wake_fd, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if children.wake_fd in ready:
            children.tell_ends()
        if requests.fileno() not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(requests, 1, PASSED)
        if not message:
            return None
        *channels, end_fd = descriptors
        try:
            pid, error = os.fork(), 0
        except OSError as refused:
            pid, error = 0, refused.errno or -1
        if not pid and not error:
            requests.close()
            children.leave()
            os.close(end_fd)
            os.environ[NUMBER_VARIABLE] = str(children.count + 1)
            return _become_worker(*channels)
        for fd in channels:
            os.close(fd)
        children.add(pid, end_fd)
        requests.sendall(ANSWER.pack(pid, error))


def _take_key() -> None:
    """So that workers are let in by the standard library's managers of the program, as its processes would be."""
    key = os.environ.pop(KEY_VARIABLE, "")
    if key:
        process = import_module("multiprocessing.process")
        process.current_process().authkey = bytes.fromhex(key)


def _become_worker(tasks_fd: int, statuses_fd: int, output_fd: int, folder_fd: int, claims_fd: int) -> int:
    """Have these as the standard streams, and lead a session: it is killed as a whole, and has its own share of the
    processors."""
    os.setsid()
    # The program may have changed it since the last worker was started.
    os.fchdir(folder_fd)
    for standard, fd in enumerate((tasks_fd, statuses_fd, output_fd)):
        os.dup2(fd, standard)
    for fd in (tasks_fd, statuses_fd, output_fd, folder_fd):
        os.close(fd)
    return claims_fd


class _Children:
    """The workers that are alive, and the pipes on which the client waits for their ends."""

    def __init__(self) -> None:
        self._ends: dict[int, int] = {}
        self.count = 0
        """How many there have been."""
        self.wake_fd, self._woken_fd = os.pipe()
        """Can be read from after a child has ended."""
        for fd in (self.wake_fd, self._woken_fd):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken_fd)

    def add(self, pid: int, end_fd: int) -> None:
        """A child, or 0 for one that could not be made."""
        if pid:
            self._ends[pid] = end_fd
            self.count += 1
        else:
            os.close(end_fd)

    def tell_ends(self) -> None:
        """Tell the client of all that have ended."""
        os.read(self.wake_fd, 4096)
        with contextlib.suppress(ChildProcessError):  # there are no more
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                end_fd = self._ends.pop(pid)
                with contextlib.suppress(BrokenPipeError):  # nobody wants to know
                    os.write(end_fd, EXIT_CODE.pack(os.waitstatus_to_exitcode(status)))
                os.close(end_fd)

    def leave(self) -> None:
        """In a child: all this is its parent's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in (*self._ends.values(), self.wake_fd, self._woken_fd):
            os.close(fd)

"""Calls in processes of their own, each of which can be killed, and die, without harm to any other call.

::

    Children.run ──a line of text for each call──► child: Worker.run
                 ◄──a line of text for each status──
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from lithops.wire.codec import statuses_from_text, task_to_text
from lithops.wire.failures import failure_of_time
from lithops.wire.messages import Call, CallStatus, Failure, Phase, Task
from lithops.worker.capture import read_tail
from lithops.worker.endings import count_memory_kills, failure_of_exit
from lithops.worker.output_file import open_output

_BOOT = "import sys; sys.path[:] = {path!r}; from lithops.worker.child import serve; serve({fd})"
_READ_BYTES = 1 << 16
_MARGIN_S = 1.0
"""A call that is stopped so long before its activation can still be reported."""
_END_S = 5.0
"""A process that has closed its pipe ends within this."""


class Children:
    """Implements `Calls` by so many processes, started when they are needed, with one call in hand each."""

    def __init__(self, processes: int) -> None:
        self._most = processes
        self._idle: list[_Child] = []

    def run(
        self, task: Task, activation_id: str, ends_at: float, report: Callable[[CallStatus], None]
    ) -> None:
        pending = deque(task.calls)
        busy: list[_Child] = []
        with selectors.DefaultSelector() as selector:
            while pending or busy:
                while pending and len(busy) < self._most:
                    child = self._idle.pop() if self._idle else _Child()
                    child.start(task, pending.popleft(), ends_at - _MARGIN_S)
                    selector.register(child.statuses_fd, selectors.EVENT_READ, child)
                    busy.append(child)
                soonest = min(child.ends_at for child in busy)
                ready = [key.data for key, _ in selector.select(max(0.0, soonest - time.monotonic()))]
                for child in busy[:]:
                    status = child.read() if child in ready else child.check_time()
                    if status is None:
                        continue
                    busy.remove(child)
                    selector.unregister(child.statuses_fd)
                    if child.is_alive:
                        self._idle.append(child)
                    else:
                        child.close()
                    sys.stderr.write(status.logs)
                    report(replace(status, activation_id=activation_id))


@dataclass(slots=True)
class _Assignment:
    task: Task
    call: Call
    ends_at: float
    limit_s: float


class _Child:
    """A process that runs one call after the other."""

    def __init__(self) -> None:
        self._output = open_output()
        self.statuses_fd, write_fd = os.pipe()
        self._unread = b""
        self._assignment: _Assignment | None = None
        self._memory_kills = count_memory_kills()
        self.is_alive = True
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT.format(path=sys.path, fd=write_fd)],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=self._output,
            pass_fds=[write_fd],
            start_new_session=True,
        )
        os.close(write_fd)

    @property
    def ends_at(self) -> float:
        assert self._assignment is not None
        return self._assignment.ends_at

    def start(self, task: Task, call: Call, latest: float) -> None:
        """Have it run a call, until its timeout or `latest`."""
        limit_s = min(task.job.timeout_s, latest - time.monotonic())
        self._assignment = _Assignment(task, call, time.monotonic() + limit_s, limit_s)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(task_to_text(replace(task, calls=(call,), reply_s=0.0)) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return  # it has died, which its other pipe tells as well

    def read(self) -> CallStatus | None:
        """What became of its call, if it has told or died."""
        data = os.read(self.statuses_fd, _READ_BYTES)
        if not data:
            return self._bury()
        self._unread += data
        line, newline, rest = self._unread.partition(b"\n")
        if not newline:
            return None
        self._unread = rest
        return statuses_from_text(line)[0]

    def check_time(self) -> CallStatus | None:
        """Kill it if its call has taken too long."""
        assignment = self._assignment
        assert assignment is not None
        if time.monotonic() < assignment.ends_at:
            return None
        self._kill()
        return self._lost(failure_of_time(assignment.limit_s, assignment.task.job.timeout_s))

    def close(self) -> None:
        """Give back what it held."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # what was still to be written
            self._process.stdin.close()
        os.close(self.statuses_fd)
        self._output.close()

    def _bury(self) -> CallStatus:
        try:
            code: int | None = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            code = None
        self._kill()
        killed_for_memory = code == -signal.SIGKILL and count_memory_kills() > self._memory_kills
        return self._lost(
            failure_of_exit(code, killed_for_memory=killed_for_memory, last_words=self._words())
        )

    def _kill(self) -> None:
        """End it, and whatever its call has started."""
        self.is_alive = False
        with suppress(ProcessLookupError):  # nothing is left of it
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _lost(self, failure: Failure) -> CallStatus:
        assignment = self._assignment
        assert assignment is not None
        task, call = assignment.task, assignment.call
        return CallStatus(
            task.job.job_key,
            call.index,
            Phase.LOST,
            task.task_id,
            call.attempt,
            failure=failure,
            logs=self._words(),
        )

    def _words(self) -> str:
        fd = self._output.fileno()
        return read_tail(fd, os.lseek(fd, 0, os.SEEK_END))

"""Localhost compute: warm worker processes, each with one task in hand, and one thread that talks to all of them.

::

    invoke(task) ──► WorkerProcess.send ──pipe──► entry.main ──► Worker.run
    receive()    ◄── WorkerProcess.read ◄──pipe── report (one status a call, before the next call starts)

Since every status is in the pipe before the next call starts, and claims tell which calls have not started, the death
of a process costs exactly the call that was running. The other calls of its task are declined, and sent again.
"""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from lithops.compute.backends.localhost.config import LocalhostConfig
from lithops.compute.backends.localhost.endings import failure_of_slow_start, failure_of_start
from lithops.compute.backends.localhost.process import Assignment, WorkerProcess
from lithops.compute.backends.localhost.runtime import runtime_of
from lithops.compute.base import (
    ComputeError,
    Limits,
    RuntimeInfo,
    StatusSource,
    Surroundings,
    Throttled,
)
from lithops.wire.codec import statuses_from_frames
from lithops.wire.failures import failure_of_timeout
from lithops.wire.frames import Frame
from lithops.wire.messages import CallStatus, Failure, FailureKind, Phase, StorageRef, Task
from lithops.worker.endings import count_memory_kills, failure_of_exit

_INLINE_BYTES = 8 << 20
"""Up to here a pipe is faster than a file."""
_STARTUP_S = 60.0
_PATIENCE_S = 0.01
"""A call that runs for longer gives back the calls that wait behind it."""
_SLOW_S = 1.0
"""A process that has not started a call within this may be in trouble: another one is to have the call."""
_COALESCE_S = 0.0005
"""While statuses pour in, the reader rests this long between reads, so that it handles many at a time."""
_COALESCE_FROM = 4
_MOMENT_S = 0.01
"""A process that was killed ends within this, a container does not."""
_BURY_S = 0.2
"""A process that has closed its pipe has ended, or is about to: nobody else waits longer for it to do so."""
_OURS = f"{sys.version_info[0]}.{sys.version_info[1]}"


class LocalhostCompute:
    """Runs tasks in worker processes of this machine, or in containers. `receive` and `invoke` belong to one thread."""

    name = "localhost"

    def __init__(self, config: LocalhostConfig, surroundings: Surroundings | None = None) -> None:
        self._runtime = runtime_of(config.runtime, surroundings or Surroundings(), config.preload)
        self.limits = Limits(
            max_activations=config.processes,
            inline_bytes=_INLINE_BYTES,
            payload_bytes=64 << 20,
            startup_s=_STARTUP_S,
            adaptive_batches=True,
        )
        self._calls_per_worker = config.calls_per_worker or math.inf
        self._idle: list[WorkerProcess] = []
        """The last one is the next to be used."""
        self._busy: dict[WorkerProcess, Assignment] = {}
        self._ending: list[WorkerProcess] = []
        self._memory_kills = count_memory_kills()
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        # Not in `close`, after which processes may be started, and woken for, again.
        weakref.finalize(self, _close_all, self._wake_read, self._wake_write).atexit = False
        self._owner_pid = os.getpid()
        self._ready_statuses: list[CallStatus] = []
        self._rest_until = 0.0

    # ------------------------------------------------------------ runtimes

    def deploy(self, runtime: str, memory_mb: int, timeout_s: float) -> RuntimeInfo:  # noqa: ARG002
        """See that the configured runtime is there. An image that is not is pulled."""
        self._runtime.check()
        return RuntimeInfo(self._runtime.name, memory_mb, _OURS)

    def describe(self) -> Mapping[str, Any]:
        return {self._runtime.kind: self._runtime.name, "worker_processes": self.limits.max_activations}

    def runtimes(self) -> Sequence[RuntimeInfo]:
        return [self.deploy(self._runtime.name, 0, 0)]

    def remove(self, runtime: str) -> None:
        raise ComputeError(f"localhost has deployed nothing, so there is no runtime '{runtime}' to remove")

    # ------------------------------------------------------------ tasks out

    def invoke(self, task: Task, runtime: RuntimeInfo) -> str:  # noqa: ARG002 - there is one runtime
        process = self._idle.pop() if self._idle else self._start(task.job.storage)
        self._busy[process] = Assignment(task, time.monotonic())
        process.send(task)
        self._watch(process)
        return process.name

    def cancel(self, task_id: int, job_key: str, indexes: Sequence[int]) -> None:  # noqa: ARG002
        """Stop calls of a task: those that wait are taken back, the one that runs dies with its process."""
        for process, assignment in list(self._busy.items()):
            if assignment.task.task_id == task_id:
                self._reclaim(process)
                # What it has reported meanwhile counts, and would be lost with it.
                self._read(process)
                if process not in self._busy:
                    continue
                running = assignment.running
                if running is not None and running.index in set(indexes):
                    self._lose(process, Failure(FailureKind.CANCELLED, "cancelled", "the call was cancelled"))

    def status_source(self) -> StatusSource:
        return self

    # ------------------------------------------------------------ statuses in

    def receive(self, timeout_s: float) -> Sequence[CallStatus]:
        """Statuses that arrived, and those of calls whose process died or whose time is up."""
        self._rest()
        wait_s = 0.0 if self._ready_statuses else min(timeout_s, self._next_check_s())
        for key, events in self._selector.select(max(0.0, wait_s)):
            if key.fd == self._wake_read:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            elif events & selectors.EVENT_READ:
                self._read(key.data)
            elif events & selectors.EVENT_WRITE:
                key.data.flush()
                self._watch(key.data)
        self._check_running(time.monotonic())
        statuses, self._ready_statuses = self._ready_statuses, []
        self._rest_until = time.monotonic() + _COALESCE_S if len(statuses) >= _COALESCE_FROM else 0.0
        return statuses

    def _rest(self) -> None:
        """While statuses pour in, let a few gather: unless handling the last ones has taken as long already."""
        left_s = self._rest_until - time.monotonic() if self._rest_until else 0.0
        if left_s > 0:
            time.sleep(left_s)

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")

    def hurry(self) -> None:
        """Nothing to do: statuses come by themselves."""

    def sent(self, job_key: str, task_id: int, after_s: float = 0.0) -> None:
        """Nothing to do, as above."""

    def finished(self, job_key: str, task_id: int) -> None:
        """Nothing to do: workers keep only the last few jobs."""

    def close(self) -> None:
        """Stop all processes. The next `invoke` starts new ones."""
        if os.getpid() != self._owner_pid:
            return
        idle, busy = self._idle, list(self._busy)
        self._idle, self._busy = [], {}
        for process in busy:
            self._retire(process)
        for process in idle:
            process.say_goodbye()
        for process in idle:
            process.wait(process.exit_s)
            self._retire(process)
        for process in self._ending:
            process.wait(process.exit_s)
        self._ending.clear()
        self._runtime.close()

    # ------------------------------------------------------------ processes

    def _start(self, storage: StorageRef) -> WorkerProcess:
        if len(self._busy) >= self.limits.max_activations:
            raise Throttled(f"all {self.limits.max_activations} worker processes are busy")
        try:
            process = self._runtime.start(storage)
        except OSError as error:
            raise ComputeError(
                f"a worker of {self._runtime} cannot be started: {error}; check localhost: runtime"
            ) from error
        self._selector.register(process.statuses_fd, selectors.EVENT_READ, process)
        return process

    def _watch(self, process: WorkerProcess) -> None:
        """Ask to be told when a pipe that was full takes more."""
        registered = process.tasks_fd in self._selector.get_map()
        if process.flush():
            if registered:
                self._selector.unregister(process.tasks_fd)
        elif not registered:
            self._selector.register(process.tasks_fd, selectors.EVENT_WRITE, process)

    def _retire(self, process: WorkerProcess) -> None:
        """Let go of a process, and of what its calls have started. Whoever takes longer to end is not waited for."""
        for fd in (process.statuses_fd, process.tasks_fd):
            if fd in self._selector.get_map():
                self._selector.unregister(fd)
        process.kill()
        process.close()
        self._ending = [ending for ending in self._ending if ending.wait(0) is None]
        if process.wait(_MOMENT_S) is None:
            self._ending.append(process)

    def _dismiss(self, process: WorkerProcess) -> None:
        """Have a process end in order, which nobody waits for."""
        self._selector.unregister(process.statuses_fd)
        process.say_goodbye()
        process.close()
        self._ending = [ending for ending in self._ending if ending.wait(0) is None] + [process]

    def _read(self, process: WorkerProcess) -> None:
        frames = process.read()
        if frames is None:
            self._bury(process)
            return
        if frames and not process.ready:
            self._greet(process, frames.pop(0))
        self._take(statuses_from_frames(frames), process)

    def _greet(self, process: WorkerProcess, hello: Frame) -> None:
        """The process is up: the clock of its first call starts now."""
        process.ready = True
        said = hello.header["hello"]
        theirs = ".".join(map(str, said["python"]))
        if theirs != _OURS:
            message = (
                f"the runtime '{self._runtime.name}' is Python {theirs}, this program runs on Python {_OURS}: "
                f"functions cannot move between them; set localhost: runtime to one with Python {_OURS}"
            )
            self._lose(process, Failure(FailureKind.LOST, "lost", message))
        elif process in self._busy:
            self._busy[process].since = time.monotonic()

    def _take(self, statuses: list[CallStatus], process: WorkerProcess) -> None:
        if statuses:
            process.fruitful = True
            process.calls += len(statuses)
            self._ready_statuses.extend(statuses)
            self._busy[process].reported(len(statuses), time.monotonic())
            self._free_if_done(process)

    def _free_if_done(self, process: WorkerProcess) -> None:
        if self._busy[process].running is None:
            del self._busy[process]
            if process.calls < self._calls_per_worker:
                self._idle.append(process)
            else:
                self._dismiss(process)

    # ------------------------------------------------------------ calls that do not return

    def _next_check_s(self) -> float:
        """Seconds until a running call may have run out of patience or time."""
        if not self._busy:
            return float("inf")
        now = time.monotonic()
        return min(
            assignment.since
            + (
                _PATIENCE_S + assignment.slow_start_s
                if assignment.is_news and process.ready
                else self._allowed_s(process)
            )
            - now
            for process, assignment in self._busy.items()
        )

    def _announce(self, process: WorkerProcess, assignment: Assignment) -> None:
        """Say that a call is running: only of those that run for long enough that anybody could ask."""
        running, task = assignment.running, assignment.task
        if running is not None:
            assignment.announced = running.index
            self._ready_statuses.append(
                CallStatus(
                    task.job.job_key, running.index, Phase.STARTED, task.task_id, running.attempt, process.name
                )
            )  # fmt: skip

    def _allowed_s(self, process: WorkerProcess) -> float:
        return self._busy[process].task.job.timeout_s if process.ready else _STARTUP_S

    def _check_running(self, now: float) -> None:
        for process, assignment in list(self._busy.items()):
            ran_s = now - assignment.since
            if assignment.is_news and process.ready and ran_s > _PATIENCE_S + assignment.slow_start_s:
                if ran_s < _SLOW_S and not process.has_begun(assignment.unreported):
                    # It still reads the task. Its first call is to start before others that come later.
                    assignment.slow_start_s = ran_s
                else:
                    self._reclaim(process)
                    self._announce(process, assignment)
            if process in self._busy and ran_s > self._allowed_s(process):
                # Its report may be in the pipe already: then it was in time.
                frames = process.read() if process.ready else []
                self._take(statuses_from_frames(frames or []), process)
                if process in self._busy and self._busy[process].since == assignment.since:
                    self._lose(process, self._overdue(process))

    def _overdue(self, process: WorkerProcess) -> Failure:
        if process.ready:
            return failure_of_timeout(self._allowed_s(process))
        return failure_of_slow_start(str(self._runtime), _STARTUP_S, last_words=process.last_words())

    def _bury(self, process: WorkerProcess) -> None:
        """The process has closed its pipe: find out how it ended."""
        code = process.wait(_BURY_S)
        kills = count_memory_kills()
        for_memory = code == -9 and kills > self._memory_kills
        self._memory_kills = kills
        if process in self._busy:
            words = process.last_words()
            if process.ready:
                failure = failure_of_exit(code, killed_for_memory=for_memory, last_words=words)
            else:
                failure = failure_of_start(
                    str(self._runtime),
                    code,
                    needs=f"Python {_OURS} and {self._runtime.needs}",
                    last_words=words,
                )
            self._lose(process, failure)
        elif process in self._idle:
            self._idle.remove(process)
            self._retire(process)

    def _lose(self, process: WorkerProcess, failure: Failure) -> None:
        """End a process. The call that ran in it has failed; those that waited are declined."""
        process.kill()
        if process in self._busy:
            # A process that has done nothing at all would be followed by others like it for ever: it costs a call.
            self._reclaim(process, keep=0 if process.fruitful else 1)
        assignment = self._busy.pop(process, None)
        if assignment is None:  # no call was running
            self._idle.remove(process)
            self._retire(process)
            return
        task, running = assignment.task, assignment.running
        assert running is not None
        phase = Phase.CANCELLED if failure.kind is FailureKind.CANCELLED else Phase.LOST
        self._ready_statuses.append(
            CallStatus(
                task.job.job_key, running.index, phase, task.task_id, running.attempt, process.name,
                failure=failure, logs=process.last_words(),
            )
        )  # fmt: skip
        self._retire(process)

    def _reclaim(self, process: WorkerProcess, *, keep: int = 0) -> None:
        """Take back the calls of a process that have not started, but `keep`: they are declined, and sent again."""
        assignment = self._busy[process]
        task = assignment.task
        count = min(process.reclaim(), assignment.unreported - keep)
        self._ready_statuses.extend(
            CallStatus(task.job.job_key, call.index, Phase.DECLINED, task.task_id, call.attempt)
            # The last one first, since each is put before all others that wait.
            for call in reversed(assignment.shorten(count))
        )
        self._free_if_done(process)


def _close_all(*fds: int) -> None:
    for fd in fds:
        os.close(fd)

"""A stand-in for a cloud's functions: processes that get a task as text, and report through the storage alone.

There is no connection on which statuses come back, as on most clouds. What runs in the processes is the worker that
runs in a cloud's functions, over any storage that this machine reaches.

::

    invoke(task) ──► queue of events ──text──► sandbox: Worker.run_stored ──► storage
    dead()       ◄───────────────────── EOF ── sandbox that died
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from lithops.compute.base import ComputeError, Limits, RuntimeInfo, failure_of_timeout
from lithops.storage.registry import from_reference
from lithops.wire.codec import task_from_text, task_to_text
from lithops.wire.messages import Failure, FailureKind, Task
from lithops.worker.capture import OutputCapture, log_to_stderr, read_tail
from lithops.worker.handler import Worker

_BOOT = "from lithops.testing.functions import serve; serve()"
_DONE = b"."


class LocalFunctions:
    """Implements `ComputeBackend` and `SupportsHealth` by so many processes, each started when it is needed.

    Tasks wait in a queue, as events do in a cloud, at most `max_activations` of them. `environment` is set on the
    runtime: the credentials of a storage, for example.
    """

    name = "functions"

    def __init__(
        self,
        *,
        processes: int = 2,
        max_activations: int = 100,
        inline_bytes: int = 100_000,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.limits = Limits(
            max_activations=max_activations,
            inline_bytes=inline_bytes,
            payload_bytes=1_000_000,
            startup_s=60.0,
        )
        self._processes = processes
        self._environment = {**os.environ, **(environment or {})}
        self._events: queue.Queue[_Event | None] = queue.Queue()
        self._sandboxes: list[_Sandbox] = []
        self._dead: dict[str, Failure] = {}
        self._numbers = itertools.count()

    def deploy(self, runtime: str, memory_mb: int, timeout_s: float) -> RuntimeInfo:  # noqa: ARG002
        return RuntimeInfo(sys.executable, memory_mb, f"{sys.version_info[0]}.{sys.version_info[1]}")

    def describe(self) -> Mapping[str, Any]:
        return {"python": sys.executable, "processes": self._processes}

    def runtimes(self) -> Sequence[RuntimeInfo]:
        return [self.deploy("", 0, 0)]

    def remove(self, runtime: str) -> None:
        raise ComputeError(f"nothing has been deployed, so there is no runtime '{runtime}' to remove")

    def invoke(self, task: Task, runtime: RuntimeInfo) -> str:  # noqa: ARG002 - there is one
        activation_id = f"activation-{next(self._numbers)}"
        self._events.put(_Event(activation_id, task_to_text(task), task.job.timeout_s))
        if len(self._sandboxes) < self._processes:
            self._sandboxes.append(_Sandbox(self._events, self._dead, self._environment))
        return activation_id

    def dead(self, activation_ids: Sequence[str]) -> Mapping[str, Failure]:
        return {each: self._dead[each] for each in activation_ids if each in self._dead}

    def close(self) -> None:
        """End all processes. What waits in the queue is dropped; the next `invoke` starts anew."""
        sandboxes, self._sandboxes = self._sandboxes, []
        events, self._events = self._events, queue.Queue()
        for sandbox in sandboxes:
            sandbox.stop()
        for _ in sandboxes:
            events.put(None)
        for sandbox in sandboxes:
            sandbox.join()


@dataclass(frozen=True, slots=True)
class _Event:
    activation_id: str
    text: bytes
    timeout_s: float


class _Sandbox:
    """A thread that hands one event after the other to its process, and starts another when one has died."""

    def __init__(
        self, events: queue.Queue[_Event | None], dead: dict[str, Failure], environment: Mapping[str, str]
    ) -> None:
        self._events = events
        self._dead = dead
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._output = _open_output()
        self._stopped = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, daemon=True, name="lithops-sandbox")
        self._thread.start()

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            if self._process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def join(self) -> None:
        self._thread.join()

    def _serve(self) -> None:
        while (event := self._events.get()) is not None:
            process = self._ready_process()
            if process is None:
                break
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):  # it has died, which its other pipe tells as well
                process.stdin.write(event.text + b"\n")
                process.stdin.flush()
            if not process.stdout.read(1):
                code = self._bury(process)
                self._dead[event.activation_id] = _failure_of_exit(code, event.timeout_s, self._last_words())
        if self._process is not None:
            self._bury(self._process)
        self._output.close()

    def _ready_process(self) -> subprocess.Popen[bytes] | None:
        """The process, which is started if there is none; None after the end."""
        with self._lock:
            if self._process is None and not self._stopped:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _BOOT],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._output,
                    env=dict(self._environment),
                    start_new_session=True,
                )
            return None if self._stopped else self._process

    def _last_words(self) -> str:
        fd = self._output.fileno()
        text = read_tail(fd, os.lseek(fd, 0, os.SEEK_END))
        os.ftruncate(fd, 0)
        return text

    def _bury(self, process: subprocess.Popen[bytes]) -> int:
        self._process = None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # what was still to be written
            process.stdin.close()
        return process.wait()


def _failure_of_exit(code: int, timeout_s: float, last_words: str) -> Failure:
    if code == -signal.SIGALRM:
        return failure_of_timeout(timeout_s)
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    # Of a traceback the last line.
    said = last_words.strip().rpartition("\n")[2]
    message = f"the sandbox {how} while the call ran" + (f"; its last output was: {said}" if said else "")
    return Failure(FailureKind.LOST, FailureKind.LOST.value, message)


def _open_output() -> IO[bytes]:
    """A file at whose end all writes go: it is emptied between calls, while others hold it open."""
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - whoever asked for it closes it
    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
    return file


def serve() -> None:
    """A sandbox: run the tasks that come as lines of text, and say after each that it is done.

    It is ended when a task takes more time than its calls may take together, as a cloud ends a function.
    """
    done = os.dup(1)
    os.dup2(2, 1)
    log_to_stderr()
    worker = Worker(f"sandbox-{os.getpid()}", from_reference, OutputCapture(2))
    for line in sys.stdin.buffer:
        task = task_from_text(line)
        signal.setitimer(signal.ITIMER_REAL, task.job.timeout_s * len(task.calls))
        worker.run_stored(task)
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.write(done, _DONE)

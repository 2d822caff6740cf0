"""A stand-in for a cloud's functions: processes that get a task as text, and report in a response or by the storage.

What runs in the processes is what runs in a cloud's functions, over any storage that this machine reaches.

::

    invoke(task)  ──► queue of events ──text──► sandbox: Sandbox.answer ──► storage
    request(task) ──►                 ◄──text──
    dead()        ◄───────────────────── EOF ── sandbox that died
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from lithops.compute.base import ComputeError, Limits, Response, RuntimeInfo
from lithops.wire.codec import statuses_from_text, task_to_text
from lithops.wire.messages import Failure, FailureKind, Task
from lithops.worker.capture import read_tail
from lithops.worker.output_file import open_output
from lithops.worker.sandbox import Sandbox

_BOOT = "from lithops.testing.functions import serve; serve(isolated={})"


class LocalFunctions:
    """Implements `ComputeBackend`, `SupportsHealth` and `SupportsResponses` by so many processes, each started when it
    is needed.

    Tasks wait in a queue, as events do in a cloud, at most `max_activations` of them, and at most `connections` of
    their responses are waited for. `environment` is set on the runtime: the credentials of a storage, for example.
    Calls run in the processes themselves, or each in one of its own (`isolated`).
    """

    name = "functions"

    def __init__(
        self,
        *,
        processes: int = 2,
        max_activations: int = 100,
        inline_bytes: int = 100_000,
        environment: Mapping[str, str] | None = None,
        connections: int = 0,
        isolated: bool = False,
    ) -> None:
        self.limits = Limits(
            max_activations=max_activations,
            inline_bytes=inline_bytes,
            payload_bytes=1_000_000,
            startup_s=60.0,
            invoke_threads=2 * connections,
            connections=connections,
        )
        self._boot = _BOOT.format(isolated)
        self._processes = processes
        self._environment = {**os.environ, **(environment or {})}
        self._events: queue.Queue[_Event | None] = queue.Queue()
        self._sandboxes: list[_Sandbox] = []
        self._dead: dict[str, Failure] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def deploy(self, runtime: str, memory_mb: int, timeout_s: float) -> RuntimeInfo:  # noqa: ARG002
        return RuntimeInfo(sys.executable, memory_mb, f"{sys.version_info[0]}.{sys.version_info[1]}")

    def describe(self) -> Mapping[str, Any]:
        return {"python": sys.executable, "processes": self._processes}

    def runtimes(self) -> Sequence[RuntimeInfo]:
        return [self.deploy("", 0, 0)]

    def remove(self, runtime: str) -> None:
        raise ComputeError(f"nothing has been deployed, so there is no runtime '{runtime}' to remove")

    def invoke(self, task: Task, runtime: RuntimeInfo) -> str:  # noqa: ARG002 - there is one
        return self._send(task).activation_id

    def request(self, task: Task, runtime: RuntimeInfo) -> Response:  # noqa: ARG002 - there is one
        event = self._send(task)
        text = event.answer.result()
        if text is None:
            return Response(event.activation_id, failure=self._dead.get(event.activation_id))
        return Response(event.activation_id, statuses_from_text(text))

    def _send(self, task: Task) -> _Event:
        event = _Event(f"activation-{next(self._numbers)}", task_to_text(task))
        with self._lock:
            self._events.put(event)
            if len(self._sandboxes) < self._processes:
                self._sandboxes.append(_Sandbox(self._boot, self._events, self._dead, self._environment))
        return event

    def dead(self, activation_ids: Sequence[str]) -> Mapping[str, Failure]:
        return {each: self._dead[each] for each in activation_ids if each in self._dead}

    def close(self) -> None:
        """End all processes. What waits in the queue is dropped; the next `invoke` starts anew."""
        with self._lock:
            sandboxes, self._sandboxes = self._sandboxes, []
            events, self._events = self._events, queue.Queue()
        for sandbox in sandboxes:
            sandbox.stop()
        for _ in sandboxes:
            events.put(None)
        for sandbox in sandboxes:
            sandbox.join()
        while not events.empty():
            event = events.get()
            if event is not None:
                event.answer.set_result(None)


@dataclass(frozen=True, slots=True)
class _Event:
    activation_id: str
    text: bytes
    answer: Future[bytes | None] = field(default_factory=Future)
    """The text of the response; None where there is none."""


class _Sandbox:
    """A thread that hands one event after the other to its process, and starts another when one has died."""

    def __init__(
        self,
        boot: str,
        events: queue.Queue[_Event | None],
        dead: dict[str, Failure],
        environment: Mapping[str, str],
    ) -> None:
        self._boot = boot
        self._events = events
        self._dead = dead
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._output = open_output()
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
                event.answer.set_result(None)
                break
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):  # it has died, which its other pipe tells as well
                process.stdin.write(event.text + b"\n")
                process.stdin.flush()
            text = process.stdout.readline()
            if not text:
                code = self._bury(process)
                self._dead[event.activation_id] = _failure_of_exit(code, self._last_words())
            event.answer.set_result(text or None)
        if self._process is not None:
            self._bury(self._process)
        self._output.close()

    def _ready_process(self) -> subprocess.Popen[bytes] | None:
        """The process, which is started if there is none; None after the end."""
        with self._lock:
            if self._process is None and not self._stopped:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", self._boot],
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


def _failure_of_exit(code: int, last_words: str) -> Failure:
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    # Of a traceback the last line.
    said = last_words.strip().rpartition("\n")[2]
    message = f"the sandbox {how} while the call ran" + (f"; its last output was: {said}" if said else "")
    return Failure(FailureKind.LOST, FailureKind.LOST.value, message)


def serve(*, isolated: bool) -> None:
    """A sandbox: answer requests, each a line of text, with a line of text."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    last_words = os.fdopen(os.dup(2), "w", buffering=1)
    os.dup2(2, 1)
    sandbox = Sandbox(isolated=isolated)
    for line in sys.stdin.buffer:
        try:
            answer = sandbox.answer(json.loads(line), f"sandbox-{os.getpid()}")
        except BaseException:  # noqa: BLE001 - whatever it is, it ends this process
            traceback.print_exc(file=last_words)
            raise SystemExit(1) from None  # once more, and through the pipe, it would come in pieces
        answers.write(json.dumps(answer).encode() + b"\n")

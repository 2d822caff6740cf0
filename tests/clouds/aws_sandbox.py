"""A sandbox of Lambda: one process of AWS's own Python runtime, and the Runtime API that it asks for work.

::

    Sandbox.run(invocation) ──► GET next ──► awslambdaric ──► handler of the package that was uploaded
    Invocation.end(outcome) ◄── POST response, POST error, or the end of the process

The process is stopped between invocations, and killed with all that it has started when it takes too long or too much.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from aws_http import Reply, Request, json_reply, serve_connection
from aws_processes import descendants, memory_mb

RESPONSE_BYTES = 6_291_556
_INIT_S = 10.0
_TAIL_BYTES = 4096
_RUNTIME = "/2018-06-01/runtime/"
OUT_OF_MEMORY = ("Runtime.OutOfMemory", "Error: Runtime exited with error: signal: killed")


class Log(Protocol):
    def write(self, group: str, stream: str, text: str) -> None: ...


@dataclass(frozen=True)
class Spec:
    """What a sandbox is made for."""

    name: str
    arn: str
    handler: str
    runtime: str
    task_root: Path
    python_path: tuple[Path, ...]
    """The layers, and what Lambda's own environment has."""
    memory_mb: int
    timeout_s: float
    environment: Mapping[str, str]
    image: str = ""
    """What a container engine runs; empty: the task root is a folder, and a process runs it."""

    @property
    def log_group(self) -> str:
        return f"/aws/lambda/{self.name}"


@dataclass(frozen=True)
class Outcome:
    payload: bytes
    error: str = ""
    """What the header X-Amz-Function-Error says; empty for a function that returned."""
    tail: str = ""


@dataclass
class Invocation:
    request_id: str
    payload: bytes
    end: Callable[[Outcome], None]
    attempts: int = 0
    began: float = 0.0
    lines: list[str] = field(default_factory=list)


class Sandbox:
    """Runs one invocation at a time. `idle` is told when the next may come, `dead` when none may."""

    def __init__(
        self,
        spec: Spec,
        python: Path,
        folder: Path,
        log: Log,
        *,
        idle: Callable[[Sandbox], None],
        dead: Callable[[Sandbox], None],
    ) -> None:
        self.spec = spec
        self.stream = f"{time.strftime('%Y/%m/%d')}/[$LATEST]{folder.name}{os.urandom(8).hex()}"
        self.peak_mb = 0
        self.began = time.monotonic()
        self._log = log
        self._idle, self._dead = idle, dead
        self._inbox: queue.SimpleQueue[Invocation | None] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._current: Invocation | None = None
        self._ready_ms: float | None = None
        self._reported_init = False
        self._rest = b""
        """What has been written of a line that has not ended yet."""
        self._verdict: tuple[str, str] | None = None
        """The error's type and message, where it is known why the process is about to end."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=8)
        self._process = self._start(python, folder)
        self._pid_fd = os.pidfd_open(self._process.pid)
        threading.Thread(target=self._serve, daemon=True).start()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, invocation: Invocation) -> None:
        with self._lock:
            self._current = invocation
            if self._ready_ms is None:
                invocation.began = time.monotonic()
            self._inbox.put(invocation)

    def look(self, now: float) -> None:
        """End the process if it takes too long, or too much."""
        self.peak_mb = max(self.peak_mb, memory_mb(self.pid))
        with self._lock:
            why = self._overdue(now)
            if why:
                self.kill(why)

    def _overdue(self, now: float) -> str:
        current = self._current
        if self._ready_ms is None:
            return "init" if now - self.began > _INIT_S else ""
        if current is not None and current.began and now - current.began > self.spec.timeout_s:
            return "timeout"
        return "memory" if self.peak_mb > self.spec.memory_mb else ""

    def kill(self, why: str) -> None:
        """End the process and what it has started: for `timeout`, `memory`, or because it is needed no more."""
        with self._lock:
            if self._verdict is None:
                if why == "timeout":
                    text = f"Task timed out after {self.spec.timeout_s:.2f} seconds"
                    self._verdict = ("Sandbox.Timedout", text)
                elif why == "memory":
                    self._verdict = OUT_OF_MEMORY
        for pid in [*descendants(self.pid), self.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._signal(signal.SIGKILL)

    # ---------------------------------------------------------------- the process

    def _start(self, python: Path, folder: Path) -> subprocess.Popen[bytes]:
        temporary = folder / "tmp"
        temporary.mkdir(parents=True)
        spec = self.spec
        environment = {
            "LAMBDA_RUNTIME_DIR": str(spec.python_path[-1]),
            "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join(map(str, spec.python_path)),
            "TMPDIR": str(temporary),
            **self._variables(),
        }
        return subprocess.Popen(
            [str(python), "-m", "awslambdaric", spec.handler],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=spec.task_root,
            env=environment,
            start_new_session=True,
        )

    def _variables(self) -> dict[str, str]:
        """The environment that does not depend on where the process runs."""
        spec = self.spec
        return {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._listener.getsockname()[1]}",
            "AWS_LAMBDA_FUNCTION_NAME": spec.name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": spec.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": self.stream,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{spec.runtime}",
            "LAMBDA_TASK_ROOT": str(spec.task_root),
            "_HANDLER": spec.handler,
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            **spec.environment,
        }

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _watch(self) -> None:
        """Pass on what the process writes, until it has ended."""
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        os.set_blocking(output, False)
        poll = select.poll()
        poll.register(output, select.POLLIN)
        poll.register(self._pid_fd, select.POLLIN)
        ended = False
        while not ended:
            events = dict(poll.poll())
            ended = self._pid_fd in events
            if not self._read_output() and not ended:
                poll.unregister(output)  # it has closed its output, and lives
        self._process.wait()
        self._signal(signal.SIGKILL)
        self._end()

    def _read_output(self) -> bool:
        """What is there to read. False at the end of the pipe."""
        assert self._process.stdout is not None
        with self._lock:
            while True:
                try:
                    data = os.read(self._process.stdout.fileno(), 1 << 16)
                except BlockingIOError:
                    return True
                if not data:
                    return False
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self._write(line.decode(errors="replace").replace("\r", "\n"))

    def _write(self, line: str) -> None:
        if self._current is not None:
            self._current.lines.append(line)
        self._log.write(self.spec.log_group, self.stream, line + "\n")

    def _end(self) -> None:
        with self._lock:
            current = self._current
            if current is not None:
                current.began = current.began or time.monotonic()
                kind, text = self._verdict or ("Runtime.ExitError", exit_text(self._process.returncode))
                outcome = self._finish_badly(current, kind, text)
        self._listener.close()
        self._inbox.put(None)
        os.close(self._pid_fd)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._dead(self)
        if current is not None:
            current.end(outcome)

    def _finish_badly(self, current: Invocation, kind: str, text: str) -> Outcome:
        if self._ready_ms is None:
            took = f"INIT_REPORT Init Duration: {_ms_since(self.began):.2f} ms"
            self._write(f"{took}\tPhase: init\tStatus: error\tError Type: {kind}")
            self._write(f"START RequestId: {current.request_id} Version: $LATEST")
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        if kind == "Sandbox.Timedout":
            self._write(f"{stamp} {current.request_id} {text}")
            status, message = "Status: timeout", f"{stamp} {current.request_id} {text}"
        else:
            message = f"RequestId: {current.request_id} {text}" if text.startswith("Error: ") else text
            if text.startswith("Error: "):
                self._write(f"{message}\nRuntime.ExitError")
            status = f"Status: error\tError Type: {kind}"
            kind = "Runtime.ExitError" if kind == "Runtime.OutOfMemory" else kind
        body = {"errorType": kind, "errorMessage": message}
        return self._finish(current, json.dumps(body).encode(), "Unhandled", status)

    def _finish(self, current: Invocation, payload: bytes, error: str = "", status: str = "") -> Outcome:
        if self._rest:
            rest, self._rest = self._rest, b""
            self._write(rest.decode(errors="replace"))
        duration_ms = _ms_since(current.began)
        init = ""
        if self._ready_ms is not None and not self._reported_init:
            self._reported_init, init = True, f"\tInit Duration: {self._ready_ms:.2f} ms"
        # Nothing above its limit was ever used: that is what the limit is for.
        peak = min(max(self.peak_mb, 1), self.spec.memory_mb)
        self._write(f"END RequestId: {current.request_id}")
        self._write(
            f"REPORT RequestId: {current.request_id}\tDuration: {duration_ms:.2f} ms\t"
            f"Billed Duration: {int(duration_ms) + 1} ms\tMemory Size: {self.spec.memory_mb} MB\t"
            f"Max Memory Used: {peak} MB{init}" + (f"\t{status}" if status else "")
        )
        self._current = None
        tail = "\n".join(current.lines)[-_TAIL_BYTES:] + "\n"
        return Outcome(payload, error, tail)

    # ---------------------------------------------------------------- the Runtime API

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed at the end of the process
                return
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection:
            serve_connection(connection, self._answer)

    def _answer(self, request: Request) -> Reply | None:
        what = request.path.removeprefix(_RUNTIME)
        if what == "invocation/next":
            return self._next()
        if what == "init/error":
            return self._init_failed(request)
        _, request_id, verb = what.split("/")
        with self._lock:
            current = self._current
            if current is None or current.request_id != request_id:
                return json_reply({"errorType": "InvalidRequestID"}, 400)
            self._read_output()
            if verb == "response" and len(request.body) > RESPONSE_BYTES:
                text = (
                    f"Response payload size exceeded maximum allowed payload size ({RESPONSE_BYTES} bytes)."
                )
                outcome = self._finish_badly(current, "Function.ResponseSizeTooLarge", text)
            elif verb == "response":
                outcome = self._finish(current, request.body)
            else:
                status = f"Status: error\tError Type: {_type_of(request)}"
                outcome = self._finish(current, request.body, "Unhandled", status)
        if outcome.error and verb == "response":
            current.end(outcome)
            return json_reply({"errorType": "RequestEntityTooLarge"}, 413)
        # Whoever asks again after the answer finds a sandbox that is free.
        self._idle(self)
        current.end(outcome)
        return json_reply({"status": "OK"}, 202)

    def _init_failed(self, request: Request) -> Reply:
        with self._lock:
            said = json.loads(request.body)
            self._verdict = (said["errorType"], said["errorMessage"])
        return json_reply({"status": "OK"}, 202)

    def _next(self) -> Reply | None:
        if self._ready_ms is None:
            self._ready_ms = _ms_since(self.began)
        elif self._inbox.empty():
            self._signal(signal.SIGSTOP)
        current = self._inbox.get()
        if current is None:
            return None
        self._signal(signal.SIGCONT)
        with self._lock:
            self._write(f"START RequestId: {current.request_id} Version: $LATEST")
            current.began = time.monotonic()
        return Reply(
            200,
            current.payload,
            {
                "Content-Type": "application/json",
                "Lambda-Runtime-Aws-Request-Id": current.request_id,
                "Lambda-Runtime-Deadline-Ms": str(int((time.time() + self.spec.timeout_s) * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": self.spec.arn,
                "Lambda-Runtime-Trace-Id": "Root=1-00000000-000000000000000000000000;Sampled=0",
            },
        )


def _type_of(request: Request) -> str:
    return str(json.loads(request.body).get("errorType", "Unknown"))


def exit_text(code: int) -> str:
    if code == 0:
        return "Error: Runtime exited without providing a reason"
    if code < 0:
        names = {signal.SIGKILL: "killed", signal.SIGSEGV: "segmentation fault", signal.SIGABRT: "aborted"}
        return f"Error: Runtime exited with error: signal: {names.get(signal.Signals(-code), str(-code))}"
    return f"Error: Runtime exited with error: exit status {code}"


def _ms_since(began: float) -> float:
    return (time.monotonic() - began) * 1000

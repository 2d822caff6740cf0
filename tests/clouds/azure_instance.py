"""One instance of a function app: a process of Microsoft's runtime, its memory measured, its time bounded.

All that the process starts belongs to the instance, as it would in a container, and dies with it: a variable of their
environment tells.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LENGTH = struct.Struct("<I")
_LOOK_EVERY_S = 0.03
_ERROR = 40
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PROGRAM = Path(__file__).parent / "azure_worker.py"

Log = Callable[[str, str, int], None]
"""Takes what was logged, by which invocation ("": none), and how severe it is."""


class InstanceDied(Exception):
    """In the words of Azure's host; `memory` and `timeout` say whether the host ended it."""

    def __init__(self, words: str, cause: str) -> None:
        super().__init__(words)
        self.cause = cause


@dataclass(frozen=True)
class Invocation:
    """One execution of a function."""

    id: str
    function: str
    trigger: str
    parameter: str
    body: bytes
    trace_parent: str = ""
    method: str = ""
    url: str = ""
    headers: Mapping[str, str] | None = None
    query: Mapping[str, str] | None = None
    metadata: Mapping[str, Any] | None = None

    def message(self) -> dict[str, Any]:
        return {
            "invocation": self.id,
            "function": self.function,
            "trigger": self.trigger,
            "parameter": self.parameter,
            "trace_parent": self.trace_parent,
            "method": self.method,
            "url": self.url,
            "headers": dict(self.headers or {}),
            "query": dict(self.query or {}),
            "metadata": dict(self.metadata or {}),
            "body": base64.b64encode(self.body).decode(),
        }


class Instance:
    """Runs one invocation at a time."""

    def __init__(
        self,
        root: Path,
        own_packages: Path,
        environment: Mapping[str, str],
        memory_bytes: int,
        log: Log,
        console: Path,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._log = log
        self._cause = ""
        self._mark = f"AZURE_STAND_IN_INSTANCE={uuid.uuid4().hex}"
        self._ended = threading.Event()
        # Of a virtual environment the Python below it, so that nothing is there but what the package has.
        python = getattr(sys, "_base_executable", sys.executable)
        with console.open("ab") as output:
            self._process = subprocess.Popen(
                [python, "-S", "-I", str(_PROGRAM), str(root), str(own_packages)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={**environment, **dict([self._mark.split("=")])},
                cwd=root,
                start_new_session=True,
            )
        self._watch = threading.Thread(target=self._watch_memory, daemon=True, name="azure-memory")
        self._watch.start()

    def start(self) -> dict[str, list[dict[str, Any]]]:
        """Wait until the functions are indexed: their bindings by name. Raises `InstanceDied`."""
        message = self._receive()
        if "failed" in message:
            self._log(message["trace"], "", _ERROR)
            self.end("failed")
            raise InstanceDied(message["failed"], "failed")
        functions: dict[str, list[dict[str, Any]]] = message["functions"]
        return functions

    def invoke(self, invocation: Invocation, timeout_s: float) -> dict[str, Any]:
        """What the function answered, or `raised`. Raises `InstanceDied`."""
        timer = threading.Timer(timeout_s, self.end, ("timeout",))
        timer.daemon = True
        timer.start()
        try:
            data = json.dumps(invocation.message()).encode()
            assert self._process.stdin is not None
            with suppress(BrokenPipeError):  # it has died, which its other pipe tells as well
                self._process.stdin.write(_LENGTH.pack(len(data)) + data)
                self._process.stdin.flush()
            return self._receive()
        finally:
            timer.cancel()

    @property
    def alive(self) -> bool:
        return not self._ended.is_set() and self._process.poll() is None

    def end(self, cause: str = "recycled") -> None:
        """Kill everything in it."""
        self._cause = self._cause or cause
        self._ended.set()
        while members := _marked(self._mark):
            for pid in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.001)

    def close(self) -> None:
        self.end()
        self._watch.join()
        self._process.wait()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdout.close()
        with suppress(BrokenPipeError):  # what was still to be written
            self._process.stdin.close()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        while True:
            head = self._process.stdout.read(_LENGTH.size)
            if len(head) < _LENGTH.size:
                raise self._buried()
            body = self._process.stdout.read(*_LENGTH.unpack(head))
            message: dict[str, Any] = json.loads(body)
            if "log" not in message:
                return message
            self._log(message["log"], message["invocation"] or "", message["level"])

    def _buried(self) -> InstanceDied:
        self.end("exit")
        code = self._process.wait()
        code = 128 - code if code < 0 else code
        return InstanceDied(f"python exited with code {code} (0x{code:X})", self._cause)

    def _watch_memory(self) -> None:
        while not self._ended.wait(_LOOK_EVERY_S):
            if _tree_bytes(self._process.pid) > self._memory_bytes:
                self.end("memory")


def _marked(mark: str) -> list[int]:
    """The living processes that have this in their environment."""
    found = []
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with suppress(OSError):  # it has ended meanwhile, or is another user's
            if mark.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def _tree_bytes(pid: int) -> int:
    """The resident memory of a process and all that it has started."""
    total = 0
    with suppress(OSError):  # it ends meanwhile
        total = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += sum(map(_tree_bytes, map(int, (thread / "children").read_text().split())))
    return total

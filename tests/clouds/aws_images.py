"""A sandbox of Lambda that is a container: what was pushed as an image, run by a real engine.

The engine keeps the limit of memory, and says who was killed for it. The container has the network of this machine, so
that its runtime finds the Runtime API where all sandboxes find it.
"""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from aws_sandbox import OUT_OF_MEMORY, Sandbox, exit_text

TASK_ROOT = Path("/var/task")
_USER = "993:990"
"""Functions are nobody in particular: what only root may read, they may not."""
_LOOK_S = 0.02
_KILLED = 137


class Container(Sandbox):
    """A sandbox whose process is the first of a container. Signals reach it as they reach any process here."""

    def _start(self, python: Path, folder: Path) -> subprocess.Popen[bytes]:
        variables = [f"--env={name}={value}" for name, value in self._variables().items()]
        memory = f"{self.spec.memory_mb}m"
        self._id = docker(
            "create", "--network=host", f"--memory={memory}", f"--memory-swap={memory}", f"--user={_USER}",
            "--read-only", "--volume=/tmp", *variables, self.spec.image, self.spec.handler,
        ).strip()  # fmt: skip
        client = subprocess.Popen(
            ["docker", "start", "--attach", self._id],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._first_pid = self._find_pid(client)
        return client

    def _find_pid(self, client: subprocess.Popen[bytes]) -> int:
        """The container's first process, as this machine counts; the client, where the container did not start."""
        while client.poll() is None:
            pid = int(self._state()["Pid"])
            if pid:
                return pid
            time.sleep(_LOOK_S)
        return client.pid

    @property
    def pid(self) -> int:
        return self._first_pid

    def _overdue(self, now: float) -> str:
        why = super()._overdue(now)
        return "" if why == "memory" else why

    def _end(self) -> None:
        state = self._state()
        with self._lock:
            if self._verdict is None:
                self._verdict = _verdict(int(state["ExitCode"]), for_memory=state["OOMKilled"])
            if self._verdict is OUT_OF_MEMORY:
                self.peak_mb = self.spec.memory_mb
        super()._end()
        docker("rm", "--force", "--volumes", self._id)

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(docker("inspect", "--format={{json .State}}", self._id))
        return state


def pulled(uri: str) -> bool:
    """Whether the engine has got the image from its registry."""
    done = subprocess.run(["docker", "pull", "--quiet", uri], capture_output=True, check=False)
    return done.returncode == 0


def docker(*arguments: str) -> str:
    """What the engine's client prints. Raises `CalledProcessError`."""
    return subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def _verdict(code: int, *, for_memory: bool) -> tuple[str, str]:
    if code == _KILLED and for_memory:
        return OUT_OF_MEMORY
    return "Runtime.ExitError", exit_text(128 - code if code > 128 else code)

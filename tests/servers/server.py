"""Real servers for tests: started on free ports of this machine, waited for, and ended with all that they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

_READY_S = 30.0
_END_S = 10.0


def missing(what: str, install: str) -> NoReturn:
    """A server is not installed: the test is skipped, but fails where everything has to be there."""
    message = f"{what} is not installed; run: {install}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def free_ports(count: int) -> list[int]:
    """So many ports of the loopback address that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def answers(port: int) -> bool:
    """Whether somebody listens on the port."""
    with closing(socket.socket()) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(
    command: Sequence[str], *, ready: Callable[[], object], log: Path, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The server while it runs. `ready` tells, by its truth, that it answers; its output goes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env=None if env is None else {**os.environ, **env},
        )  # fmt: skip
    try:
        until = time.monotonic() + _READY_S
        while not ready():
            if process.poll() is not None or time.monotonic() > until:
                text = log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{command[0]} is not ready after {_READY_S} s, or has ended:\n{text}")
            time.sleep(0.02)
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            process.wait(_END_S)
        return

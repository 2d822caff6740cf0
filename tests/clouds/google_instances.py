"""Cloud Run's instances: Google's functions-framework in processes of its own, one request at a time each."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from google_web import Answer, Request
from server import answers, free_ports

_START_S = 60.0
_LOOK_EVERY_S = 0.05
_KEPT_BACK = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "authorization"}
"""Headers that end at the frontend."""


class Died(Exception):
    """The instance ended before it answered."""


class TookTooLong(Exception):
    """The instance has not answered in time."""


class NotStarted(Exception):
    """The instance ended before it listened."""


@dataclass(frozen=True, slots=True)
class Container:
    """What all instances of one revision have in common."""

    python: Path
    source: Path
    environment: Mapping[str, str]
    memory_mib: int
    write_line: Callable[[str, str, str], None]
    """Is given the instance's id, the stream's name and a line that was printed."""


class Instance:
    """One running container."""

    def __init__(self, container: Container, folder: Path) -> None:
        self.id = f"00{os.urandom(12).hex()}"
        self._container = container
        self._folder = folder / self.id[:12]
        self._tmp = self._folder / "tmp"
        self._tmp.mkdir(parents=True)
        (self._port,) = free_ports(1)
        self.used_mib = 0
        """How much memory it had when it was killed for it; 0 while it was not."""
        self._process = subprocess.Popen(
            [container.python, "-m", "functions_framework", "--host", "127.0.0.1"],
            cwd=container.source,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={
                "PATH": f"{container.python.parent}:/usr/local/bin:/usr/bin:/bin",
                "HOME": str(self._folder),
                "TMPDIR": str(self._tmp),
                "LANG": "C.UTF-8",
                "PYTHONUNBUFFERED": "TRUE",
                "PORT": str(self._port),
                **container.environment,
            },
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("stdout", self._process.stdout), ("stderr", self._process.stderr))
        ]
        for reader in self._readers:
            reader.start()
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Raises `NotStarted`."""
        until = time.monotonic() + _START_S
        while not answers(self._port):
            if not self.is_alive or time.monotonic() > until:
                self.kill()
                self._join()
                raise NotStarted
            time.sleep(0.01)

    def answer(self, request: Request, timeout_s: float) -> Answer:
        """Raises `Died` or `TookTooLong`."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout_s)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _KEPT_BACK}
        try:
            connection.request(request.method, "/", request.body, headers)
            response = connection.getresponse()
            body = response.read()
        except TimeoutError:
            raise TookTooLong from None
        except (http.client.HTTPException, OSError):
            # It may be about to end; or only the framework's worker has, of which it starts another.
            if self._ended.wait(0.3):
                self._join()
            raise Died from None
        finally:
            connection.close()
        # One that died between two requests is noticed now, not by the next.
        return Answer(response.status, body, dict(response.getheaders()))

    def kill(self) -> None:
        """End all of its processes."""
        for pid in _tree(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    def exit_code(self) -> int | None:
        return self._process.poll()

    def _join(self) -> None:
        for reader in self._readers:
            reader.join(1.0)

    def _read(self, name: str, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._container.write_line(self.id, name, line.decode(errors="replace").rstrip("\n"))

    def _watch(self) -> None:
        """Kill it when it, with its files in /tmp, has taken more memory than it may."""
        while self.is_alive:
            used = (sum(map(_memory_bytes, _tree(self._process.pid))) + _size_bytes(self._tmp)) >> 20
            if used > self._container.memory_mib:
                self.used_mib = used
                self.kill()
            time.sleep(_LOOK_EVERY_S)
        self._ended.set()


def _tree(root: int) -> list[int]:
    """The process and all that it has started, by their parents."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            children.setdefault(int(stat[1]), []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _memory_bytes(pid: int) -> int:
    """Its memory, with its share of what it shares."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss_Anon:"):
                return int(line.split()[1]) << 10
    return 0


def _size_bytes(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total

"""Workers that are processes of a Python interpreter of this machine, forked by a server that has only that to do."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from typing import IO, ClassVar

from lithops import version
from lithops.compute.backends.localhost.channels import Channels
from lithops.compute.backends.localhost.forks import ANSWER, EXIT_CODE, KEY_VARIABLE
from lithops.compute.backends.localhost.process import WorkerProcess
from lithops.exceptions import ConfigError
from lithops.wire.messages import StorageRef
from lithops.worker.output_file import open_output

_PACKAGE = os.path.join(os.path.dirname(version.__file__), "__init__.py")
_BOOT = """
import os, sys
from lithops.compute.backends.localhost.entry import main
from lithops.compute.backends.localhost.forks import serve
claims_fd = serve(int(sys.argv[-1]), sys.argv[1:-1])
if claims_fd is not None:
    main(claims_fd, f"pid-{os.getpid()}")
"""
_BOOT_ELSEWHERE = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("lithops", {_PACKAGE!r})
sys.modules["lithops"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["lithops"])
"""
"""Another interpreter gets this library by its path, and nothing else of what is installed beside it."""
_ANSWER_S = 60.0
"""A server that says nothing for so long will never be ready."""
_EXIT_S = 2.0


class Interpreter:
    """An interpreter by its path or name. Workers have this process's environment, and `environment`; and they have
    imported `modules` as soon as they are there."""

    kind: ClassVar[str] = "interpreter"
    needs = "cloudpickle"

    def __init__(self, python: str, environment: Mapping[str, str], modules: Sequence[str]) -> None:
        self.name = python
        self._modules = modules
        self._environment = {**os.environ, **environment}
        self._server: _ForkServer | None = None

    def __str__(self) -> str:
        return f"the interpreter '{self.name}'"

    def check(self) -> None:
        if shutil.which(self.name) is None:
            raise ConfigError(
                f"localhost: runtime: found '{self.name}', which is no program on this machine; allowed is the path of "
                "a Python interpreter that has cloudpickle, the name of a container image, or nothing for the "
                "interpreter that runs this program"
            )

    def start(self, storage: StorageRef) -> WorkerProcess:  # noqa: ARG002 - it sees all of this machine
        with contextlib.ExitStack() as kept, contextlib.ExitStack() as passed:
            output = kept.enter_context(open_output())
            their_tasks, tasks = _open_pipe(passed, kept)
            statuses, their_statuses = _open_pipe(kept, passed)
            unused_claims, claims = _open_pipe(kept, kept)
            os.set_blocking(unused_claims.fileno(), False)
            end, their_end = _open_pipe(kept, passed)
            folder = os.open(".", os.O_RDONLY)
            passed.callback(os.close, folder)
            streams = [each.fileno() for each in (their_tasks, their_statuses, output)]
            pid, code = self._fork([*streams, folder, unused_claims.fileno(), their_end.fileno()], output)
            kept.pop_all()
        return ForkedProcess(pid, end, Channels(tasks, statuses, claims, unused_claims, output), code)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _fork(self, descriptors: list[int], output: IO[bytes]) -> tuple[int, int | None]:
        """The worker's pid; or that of a server that could not make one, and its exit code. Raises `OSError`."""
        if self._server is not None:
            with contextlib.suppress(EOFError):
                return self._server.fork(descriptors), None
            # It was killed, as processes are where memory is short.
            self._server.close()
        self._server = _ForkServer(self._command(), {**self._environment, **_key()}, output)
        try:
            return self._server.fork(descriptors), None
        except EOFError:
            pid, code = self._server.pid, self._server.close()
            self._server = None
            return pid, code

    def _command(self) -> list[str]:
        boot = _BOOT if self.name == sys.executable else _BOOT_ELSEWHERE + _BOOT
        return [self.name, "-c", boot, *self._modules]


class ForkedProcess(WorkerProcess):
    """A worker that the server has forked. Its exit code is told by the server, once it is no more."""

    def __init__(self, pid: int, end: IO[bytes], channels: Channels, code: int | None) -> None:
        super().__init__(channels, f"pid-{pid}")
        self._pid = pid
        self._end = end
        # It is read after the channels are closed, or never.
        weakref.finalize(self, end.close).atexit = False
        self._code = code

    def kill(self) -> None:
        """End the process and all that its calls have started, now."""
        # Itself too: at first, it leads no session yet.
        for kill in (os.killpg, os.kill) if self._code is None else (os.killpg,):
            with contextlib.suppress(ProcessLookupError):
                kill(self._pid, signal.SIGKILL)

    def wait(self, timeout_s: float) -> int | None:
        if self._code is None:
            ended = select.poll()
            ended.register(self._end, select.POLLIN)
            if ended.poll(timeout_s * 1000):
                told = self._end.read(EXIT_CODE.size)
                # Without a word, the server was killed. That of its workers which somebody waits for was so before.
                self._code = EXIT_CODE.unpack(told)[0] if told else -signal.SIGKILL
        return self._code


class _ForkServer:
    """The server, from the client's side: see `forks.serve`."""

    def __init__(self, command: list[str], environment: Mapping[str, str], output: IO[bytes]) -> None:
        """`output` gets what the server says until it is ready, or why it never will be."""
        self._requests, theirs = socket.socketpair()
        self._requests.settimeout(_ANSWER_S)
        with theirs:
            self._popen = subprocess.Popen(
                [*command, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(theirs.fileno(),),
                env=environment,
                # Away from the terminal's Ctrl-C.
                start_new_session=True,
            )
        self.pid = self._popen.pid

    def fork(self, descriptors: list[int]) -> int:
        """The pid of a new worker. Raises `OSError` if it cannot be made, `EOFError` if this server is no more."""
        try:
            socket.send_fds(self._requests, [b"\0"], descriptors)
            answer = self._requests.recv(ANSWER.size, socket.MSG_WAITALL)
        except (TimeoutError, ConnectionError) as error:
            raise EOFError from error
        if not answer:
            raise EOFError
        pid, error_number = ANSWER.unpack(answer)
        if error_number:
            raise OSError(error_number, os.strerror(error_number))
        return int(pid)

    def close(self) -> int:
        """Have it end. Gives its exit code."""
        self._requests.close()
        try:
            return self._popen.wait(_EXIT_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            return self._popen.wait()


def _key() -> dict[str, str]:
    """The key of this program's processes. Where nothing has imported them, there is nobody who asks for it."""
    process = sys.modules.get("multiprocessing.process")
    return {} if process is None else {KEY_VARIABLE: bytes(process.current_process().authkey).hex()}


def _open_pipe(read: contextlib.ExitStack, write: contextlib.ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    """A pipe's two ends, each closed with its stack."""
    ends = os.pipe()
    return (
        read.enter_context(open(ends[0], "rb", buffering=0)),
        write.enter_context(open(ends[1], "wb", buffering=0)),
    )

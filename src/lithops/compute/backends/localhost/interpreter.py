"""Workers that are processes of a Python interpreter of this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import IO, ClassVar

from lithops import version
from lithops.compute.backends.localhost.channels import Channels
from lithops.compute.backends.localhost.process import WorkerProcess
from lithops.exceptions import ConfigError
from lithops.wire.messages import StorageRef
from lithops.worker.output_file import open_output

_PACKAGE = os.path.join(os.path.dirname(version.__file__), "__init__.py")
_BOOT = """
import os, sys
from lithops.compute.backends.localhost.entry import main
main(int(sys.argv[1]), f"pid-{os.getpid()}")
"""
_BOOT_ELSEWHERE = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("lithops", sys.argv[2])
sys.modules["lithops"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["lithops"])
"""
"""Another interpreter gets this library by its path, and nothing else of what is installed beside it."""


class Interpreter:
    """An interpreter by its path or name. Workers have this process's environment, and `environment`."""

    kind: ClassVar[str] = "interpreter"
    needs = "cloudpickle"

    def __init__(self, python: str, environment: Mapping[str, str]) -> None:
        self.name = python
        self._environment = {**os.environ, **environment}

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
        with contextlib.ExitStack() as undo:
            output = undo.enter_context(open_output())
            unused_claims, claims = (undo.enter_context(end) for end in _open_pipe())
            os.set_blocking(unused_claims.fileno(), False)
            # A session of its own keeps the terminal's Ctrl-C away, and makes it one group with what its calls start.
            popen = subprocess.Popen(
                self._command(unused_claims.fileno()),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                pass_fds=(unused_claims.fileno(),),
                env=self._environment,
                start_new_session=True,
                bufsize=0,
            )
            undo.pop_all()
        assert popen.stdin is not None
        assert popen.stdout is not None
        return WorkerProcess(
            popen, Channels(popen.stdin, popen.stdout, claims, unused_claims, output), f"pid-{popen.pid}"
        )

    def _command(self, claims_fd: int) -> list[str]:
        if self.name == sys.executable:
            return [self.name, "-c", _BOOT, str(claims_fd)]
        return [self.name, "-c", _BOOT_ELSEWHERE + _BOOT, str(claims_fd), _PACKAGE]


def _open_pipe() -> tuple[IO[bytes], IO[bytes]]:
    read, write = os.pipe()
    return open(read, "rb", buffering=0), open(write, "wb", buffering=0)

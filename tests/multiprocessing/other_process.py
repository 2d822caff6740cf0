"""Programs that a test starts beside itself, with shared objects in their hands, and what is in the server."""

from __future__ import annotations

import pickle
import subprocess
from collections.abc import Callable
from typing import Any

from lithops.shared.session import Session

_PREAMBLE = """
import pickle, sys, time
from lithops.shared.session import appear_as, leave
given = pickle.loads(bytes.fromhex(sys.argv[1]))
def say(*words):
    print(*words, flush=True)
"""


def keys_of(session: Session) -> set[str]:
    return {key.decode() for key in session.run("KEYS", "*") if b":alive:" not in key}


class OtherProcess:
    """A program that finds in `given` what it was started with, and talks by its output and input."""

    def __init__(self, start: Callable[..., subprocess.Popen[str]], source: str, given: Any) -> None:
        self.program = start(_PREAMBLE + source, pickle.dumps(given).hex(), stdin=subprocess.PIPE)

    def hear(self) -> str:
        """Its next line."""
        assert self.program.stdout is not None
        line = self.program.stdout.readline()
        assert line, self.program.communicate()[1]
        return line.strip()

    def kill(self) -> None:
        self.program.kill()
        self.program.wait()

    def end(self) -> None:
        """Wait for its end, which has to be a good one."""
        _, errors = self.program.communicate(timeout=30)
        assert self.program.returncode == 0, errors

"""Calls that wait for the test, and tell it that they run: by files, which any process sees."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

_LONGEST_S = 30.0


def pass_gate(gate: str, value: Any = None) -> Any:
    """Say that this call has come to the gate, wait until it is open, and return the value."""
    arrive(gate, value)
    until = time.monotonic() + _LONGEST_S
    while not os.path.exists(gate):
        if time.monotonic() > until:
            raise TimeoutError(f"nobody opened {gate}")
        time.sleep(0.002)
    return value


def arrive(gate: str, value: Any = None) -> None:
    """Say that this call, and which process, has come to the gate."""
    with open(f"{gate}.{value}.partial", "w") as file:
        file.write(str(os.getpid()))
    os.rename(f"{gate}.{value}.partial", f"{gate}.{value}")


class Gate:
    """The test's side of a gate."""

    def __init__(self, folder: Path, name: str = "gate") -> None:
        self.path = str(folder / name)

    def open(self) -> None:
        """Let all calls pass, now and later."""
        Path(self.path).touch()

    def arrived(self, value: Any = None) -> bool:
        """Whether the call with this value has come to the gate."""
        return os.path.exists(f"{self.path}.{value}")

    def pid(self, value: Any = None) -> int:
        """The process of a call that has arrived."""
        return int(Path(f"{self.path}.{value}").read_text())

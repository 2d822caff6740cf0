"""Functions that the tests of executors call, in workers of this library and in those of the standard library.

A call tells that it runs, and waits until it may go on, by files, or where there are none in common by the server.
Calls take this module along to a cloud: it imports little.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

from places import AnyPlace

_LONGEST_S = 30.0

Eventually = Callable[..., None]
MakeExecutor = Callable[..., futures.Executor]


def square(x: int) -> int:
    return x * x


def add(x: int, y: int) -> int:
    return x + y


def give(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def name_everything(id: int, obj: str, storage: str) -> Any:  # noqa: A002 - what is tested is this name
    return id, obj, storage


def invert(x: int) -> float:
    return 1 / x


class OwnError(Exception):
    """An error with an attribute."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, code)
        self.code = code


class Unpicklable:
    def __reduce__(self) -> Any:
        raise OwnError("no pickle of this", 1)


def fail_as(error: BaseException) -> None:
    raise error


def die(code: int = 3) -> None:
    os._exit(code)


def append(path: str, value: int) -> None:
    with open(path, "a") as file:
        file.write(f"{value}\n")


def count_bytes(data: bytes) -> int:
    return len(data)


def thread_name() -> str:
    return threading.current_thread().name


def fail_once(marker: str) -> str:
    """Fails the first time."""
    if not os.path.exists(marker):
        Path(marker).touch()
        raise OSError("not yet")
    return "well"


# ---------------------------------------------------------------- initializers

_STATE: list[Any] = []


def remember(*values: Any) -> None:
    _STATE.extend(values)


def recall(_: int = 0) -> tuple[int, list[Any]]:
    return os.getpid(), list(_STATE)


def recall_otherwise() -> list[Any]:
    return list(_STATE)


def fail_to_start(message: str) -> None:
    raise ValueError(message)


# ---------------------------------------------------------------- gates


def pass_gate(gate: AnyPlace, value: Any = None) -> Any:
    """Say that this call runs, wait until the gate is open, and give the value."""
    gate.with_name(f"{gate.name}.{value}").touch()
    until = time.monotonic() + _LONGEST_S
    while not gate.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"nobody opened {gate}")
        time.sleep(0.002)
    return value


class Door:
    """The test's side of a gate."""

    def __init__(self, folder: AnyPlace, name: str = "gate") -> None:
        self.path = folder / name

    def open(self) -> None:
        """Let all calls pass, now and later."""
        self.path.touch()

    def arrived(self, value: Any = None) -> bool:
        """Whether the call with this value runs."""
        return self.path.with_name(f"{self.path.name}.{value}").exists()

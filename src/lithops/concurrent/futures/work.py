"""What is sent in place of a function: it sets the worker up first. Workers import little beside it."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from inspect import Parameter, Signature
from typing import Any

from lithops.worker.initializer import Initializer

Function = Callable[..., Any]
Arguments = tuple[Any, ...]


class Setup(Initializer):
    """What a worker does once, before its first call for an executor."""

    def __init__(self, initializer: Function | None, initargs: Arguments, thread_name: str = "") -> None:
        super().__init__(initializer, initargs)
        self._thread_name = thread_name

    def _run(self) -> BaseException | None:
        if self._thread_name:
            threading.current_thread().name = f"{self._thread_name}_{os.getpid()}"
        return super()._run()


class Runner:
    """Makes calls of some functions, which are told by their numbers."""

    __signature__ = Signature(
        [Parameter(name, Parameter.POSITIONAL_ONLY) for name in ("number", "args", "kwargs")]
    )
    """Given, since to find it out takes longer than most of what else a job needs."""

    def __init__(self, functions: list[Function], setup: Setup) -> None:
        self.__name__ = _name(functions[0])
        self.namespace = setup.name
        """Functions and initializer share their globals in a worker: see `lithops.prepare.serialize`."""
        self._functions = functions
        self._setup = setup

    def __call__(self, number: int, args: Arguments, kwargs: dict[str, Any]) -> Any:
        self._setup.apply()
        return self._functions[number](*args, **kwargs)


class Chunked:
    """Calls a function once for each tuple of arguments in a chunk, and gives the list of results."""

    def __init__(self, function: Function) -> None:
        self.__name__ = _name(function)
        self._function = function

    def __call__(self, chunk: list[Arguments]) -> list[Any]:
        return [self._function(*args) for args in chunk]


def chunks(arguments: Iterable[Arguments], size: int) -> Iterator[list[Arguments]]:
    """The arguments in lists of `size`, the last of which may be shorter."""
    remaining = iter(arguments)
    while chunk := list(itertools.islice(remaining, size)):
        yield chunk


def _name(function: Function) -> str:
    return getattr(function, "__name__", type(function).__name__)

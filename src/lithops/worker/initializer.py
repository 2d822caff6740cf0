"""What each worker does once, before the first call that needs it: initializers of pools, executors and contexts."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

INITIALIZER_FAILED = "lithops_initializer_failed"
"""The attribute of an error which says that the initializer has failed, and how."""
_outcomes: dict[str, BaseException | None] = {}
"""In a worker: the names of the initializers that have run, and what they raised."""


class Initializer:
    """A function and its arguments; None: there is nothing to do. Every copy that travels is the same one."""

    def __init__(self, function: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
        self.name = os.urandom(8).hex()
        self._function = function
        self._arguments = arguments

    def run_once(self) -> BaseException | None:
        """Run it, unless this worker has. Gives what it raised, now or then: with its traceback the first time."""
        if self.name in _outcomes:
            failure = _outcomes[self.name]
            return failure and failure.with_traceback(None)
        _outcomes[self.name] = self._run()
        return _outcomes[self.name]

    def apply(self) -> None:
        """`run_once`, and raise `BrokenExecutor` if it has failed, now or then."""
        failure = self.run_once()
        if failure is not None:
            raise _broken(failure) from failure

    def _run(self) -> BaseException | None:
        if self._function is not None:
            try:
                self._function(*self._arguments)
            except BaseException as error:  # noqa: BLE001 - whatever it is, whoever needs it is told
                return error
        return None


def _broken(failure: BaseException) -> BaseException:
    from concurrent.futures import BrokenExecutor  # which takes longer to import than most of the worker

    reason = f"{type(failure).__name__}: {failure}"
    error = BrokenExecutor(f"the initializer failed: {reason}")
    setattr(error, INITIALIZER_FAILED, reason)
    return error

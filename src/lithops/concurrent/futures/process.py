"""`concurrent.futures.process` on any compute backend."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool as BrokenProcessPool
from typing import Any

from lithops import executors
from lithops.concurrent.futures.executor import FunctionExecutor


class ProcessPoolExecutor(FunctionExecutor):
    """As `concurrent.futures.ProcessPoolExecutor`, and `FunctionExecutor`.

    A worker is an interpreter of its own, whatever `mp_context` says; after `max_tasks_per_child` calls another takes
    its place.
    """

    _broken_error = BrokenProcessPool

    def __init__(
        self, max_workers: int | None = None, mp_context: Any = None,  # noqa: ARG002 - how workers start is given
        initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = (), *,
        max_tasks_per_child: int | None = None, executor: executors.FunctionExecutor | None = None,
        retries: int | None = None, **options: Any,
    ) -> None:  # fmt: skip
        _check(max_tasks_per_child)
        self._open(
            max_workers,
            initializer,
            initargs,
            executor,
            retries,
            options,
            calls_per_worker=max_tasks_per_child,
        )


def _check(max_tasks_per_child: object) -> None:
    if max_tasks_per_child is not None:
        if not isinstance(max_tasks_per_child, int):
            raise TypeError("max_tasks_per_child must be an integer")
        if max_tasks_per_child <= 0:
            raise ValueError("max_tasks_per_child must be >= 1")

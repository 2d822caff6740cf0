"""`concurrent.futures.thread` on any compute backend."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures.thread import BrokenThreadPool as BrokenThreadPool
from typing import Any

from lithops import executors
from lithops.concurrent.futures.executor import FunctionExecutor


class ThreadPoolExecutor(FunctionExecutor):
    """As `concurrent.futures.ThreadPoolExecutor`, and `FunctionExecutor`, but its workers are processes.

    Functions and arguments travel to them, and what they change there is not seen here.
    """

    _broken_error = BrokenThreadPool

    def __init__(
        self, max_workers: int | None = None, thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = (), *,
        executor: executors.FunctionExecutor | None = None, retries: int | None = None, **options: Any,
    ) -> None:  # fmt: skip
        self._open(
            max_workers, initializer, initargs, executor, retries, options, thread_name=thread_name_prefix
        )

"""The standard library's `multiprocessing`, on any backend: ``import lithops.multiprocessing as mp``.

Processes and pools are calls, and what they share lives in a Redis server. docs/multiprocessing.md lists every name.
"""

from __future__ import annotations

from multiprocessing import (
    AuthenticationError,
    BufferTooShort,
    ProcessError,
    TimeoutError,  # noqa: A004 - the standard's name
)
from multiprocessing.util import get_logger, log_to_stderr
from typing import Any

from lithops.multiprocessing import config
from lithops.multiprocessing.context import DefaultContext, default_context
from lithops.multiprocessing.process import Process, active_children, current_process, parent_process

_OF_CONTEXT = (
    "Pool", "Queue", "SimpleQueue", "JoinableQueue", "Pipe", "Manager", "Value", "Array", "RawValue", "RawArray",
    "Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event", "Barrier", "cpu_count", "get_context",
    "set_start_method", "get_start_method", "get_all_start_methods", "freeze_support", "allow_connection_pickling",
    "set_executable", "set_forkserver_preload",
)  # fmt: skip

__all__ = [
    "Process",
    *_OF_CONTEXT,
    "current_process",
    "parent_process",
    "active_children",
    "get_logger",
    "log_to_stderr",
    "AuthenticationError",
    "BufferTooShort",
    "ProcessError",
    "TimeoutError",
    "DefaultContext",
    "config",
]

globals().update((name, getattr(default_context, name)) for name in _OF_CONTEXT)


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"lithops.multiprocessing has no '{name}'; docs/multiprocessing.md says what has become of every name of the "
        "standard library's module"
    )

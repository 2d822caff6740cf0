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
from multiprocessing import reduction as reducer
from multiprocessing.util import get_logger, log_to_stderr
from typing import Any

from lithops.multiprocessing import config
from lithops.multiprocessing.context import DefaultContext, default_context
from lithops.multiprocessing.process import Process, active_children, current_process, parent_process

__all__ = [
    "Process",
    "Pool",
    "Queue",
    "SimpleQueue",
    "JoinableQueue",
    "Pipe",
    "Manager",
    "Value",
    "Array",
    "RawValue",
    "RawArray",
    "Lock",
    "RLock",
    "Semaphore",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Barrier",
    "cpu_count",
    "get_context",
    "set_start_method",
    "get_start_method",
    "get_all_start_methods",
    "freeze_support",
    "allow_connection_pickling",
    "set_executable",
    "set_forkserver_preload",
    "current_process",
    "parent_process",
    "active_children",
    "reducer",
    "get_logger",
    "log_to_stderr",
    "AuthenticationError",
    "BufferTooShort",
    "ProcessError",
    "TimeoutError",
    "DefaultContext",
    "config",
]

Pool = default_context.Pool
Queue = default_context.Queue
SimpleQueue = default_context.SimpleQueue
JoinableQueue = default_context.JoinableQueue
Pipe = default_context.Pipe
Manager = default_context.Manager
Value = default_context.Value
Array = default_context.Array
RawValue = default_context.RawValue
RawArray = default_context.RawArray
Lock = default_context.Lock
RLock = default_context.RLock
Semaphore = default_context.Semaphore
BoundedSemaphore = default_context.BoundedSemaphore
Condition = default_context.Condition
Event = default_context.Event
Barrier = default_context.Barrier
cpu_count = default_context.cpu_count
get_context = default_context.get_context
set_start_method = default_context.set_start_method
get_start_method = default_context.get_start_method
get_all_start_methods = default_context.get_all_start_methods
freeze_support = default_context.freeze_support
allow_connection_pickling = default_context.allow_connection_pickling
set_executable = default_context.set_executable
set_forkserver_preload = default_context.set_forkserver_preload


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"lithops.multiprocessing has no '{name}'; docs/multiprocessing.md says what has become of every name of the "
        "standard library's module"
    )

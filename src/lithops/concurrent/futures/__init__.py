"""`concurrent.futures` on any compute backend: change the import, and the program runs there.

>>> from lithops.concurrent.futures import ProcessPoolExecutor
>>> with ProcessPoolExecutor() as pool:
...     list(pool.map(pow, [2, 3], [5, 2]))
[32, 9]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import (
        ALL_COMPLETED,
        FIRST_COMPLETED,
        FIRST_EXCEPTION,
        BrokenExecutor,
        CancelledError,
        Executor,
        InvalidStateError,
        TimeoutError,  # noqa: A004 - the standard library's name
        as_completed,
        wait,
    )

    from lithops.concurrent.futures import process as process
    from lithops.concurrent.futures import thread as thread
    from lithops.concurrent.futures.errors import OutOfMemory, WorkerLost
    from lithops.concurrent.futures.executor import (
        FunctionExecutor,
        LocalhostExecutor,
        ServerlessExecutor,
        StandaloneExecutor,
    )
    from lithops.concurrent.futures.future import Future
    from lithops.concurrent.futures.process import ProcessPoolExecutor
    from lithops.concurrent.futures.thread import ThreadPoolExecutor

__all__ = [
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "ALL_COMPLETED",
    "CancelledError",
    "TimeoutError",
    "InvalidStateError",
    "BrokenExecutor",
    "WorkerLost",
    "OutOfMemory",
    "Future",
    "Executor",
    "FunctionExecutor",
    "ProcessPoolExecutor",
    "ThreadPoolExecutor",
    "LocalhostExecutor",
    "ServerlessExecutor",
    "StandaloneExecutor",
    "wait",
    "as_completed",
]

_MODULES = ("process", "thread")
_HOMES = {
    "WorkerLost": "errors",
    "OutOfMemory": "errors",
    "Future": "future",
    "FunctionExecutor": "executor",
    "ProcessPoolExecutor": "process",
    "ThreadPoolExecutor": "thread",
    "LocalhostExecutor": "executor",
    "ServerlessExecutor": "executor",
    "StandaloneExecutor": "executor",
}
"""Where the names are that are not the standard library's own."""


def __getattr__(name: str) -> Any:
    # Loaded on first use: workers, which import a module of this package, have none of it.
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    home = f"{__name__}.{_HOMES[name]}" if name in _HOMES else "concurrent.futures"
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})

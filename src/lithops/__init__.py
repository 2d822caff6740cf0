"""Run ordinary Python functions at massive scale on serverless clouds, or on this machine.

>>> import lithops
>>> with lithops.FunctionExecutor() as fexec:
...     futures = fexec.map(lambda x: x * x, range(4))
...     fexec.get_result(futures)
[0, 1, 4, 9]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lithops.version import __version__

if TYPE_CHECKING:
    from lithops.executors import FunctionExecutor, LocalhostExecutor, ServerlessExecutor, StandaloneExecutor
    from lithops.retries import RetryingFunctionExecutor
    from lithops.storage.client import Storage
    from lithops.wait import as_completed, get_result, wait

__all__ = [
    "FunctionExecutor",
    "LocalhostExecutor",
    "ServerlessExecutor",
    "StandaloneExecutor",
    "RetryingFunctionExecutor",
    "Storage",
    "wait",
    "get_result",
    "as_completed",
    "__version__",
]

_HOMES = {
    "FunctionExecutor": "lithops.executors",
    "LocalhostExecutor": "lithops.executors",
    "ServerlessExecutor": "lithops.executors",
    "StandaloneExecutor": "lithops.executors",
    "RetryingFunctionExecutor": "lithops.retries",
    "Storage": "lithops.storage.client",
    "wait": "lithops.wait",
    "get_result": "lithops.wait",
    "as_completed": "lithops.wait",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: `import lithops` costs next to nothing, and a worker pays for none of it.
    if name not in _HOMES:
        raise AttributeError(f"module 'lithops' has no attribute '{name}'")
    module = importlib.import_module(_HOMES[name])
    # `lithops.wait` is a module that can be called, since importing it binds that name in any case.
    value = module if name == "wait" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

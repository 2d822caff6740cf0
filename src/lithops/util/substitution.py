"""Libraries that import the standard library's modules themselves, on this library: not a line of them is changed."""

from __future__ import annotations

import importlib
import multiprocessing as standard_multiprocessing
import pkgutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_REPLACED = ("multiprocessing", "concurrent.futures")
_lock = threading.RLock()


@contextmanager
def standard_library_replaced() -> Iterator[None]:
    """While entered, whoever imports `multiprocessing` or `concurrent.futures` gets this library's.

    ::

        with standard_library_replaced():
            from pandarallel import pandarallel

    It is for the import of another library, or around a call of one that imports when it is called. In the meantime it
    holds for all threads.
    """
    with _lock:
        ours = {name: importlib.import_module(f"lithops.{name}") for name in _REPLACED}
        # What is imported later by this library itself has to get the standard's.
        for module in (*ours.values(), standard_multiprocessing):
            _import_all(module)
        before = {name: module for name, module in sys.modules.items() if name.startswith(_REPLACED)}
        futures = sys.modules["concurrent"].futures
        try:
            for name in before:
                replacement = _replacement(name)
                if replacement is not None:
                    sys.modules[name] = replacement
            sys.modules["concurrent"].futures = ours["concurrent.futures"]  # type: ignore[attr-defined]
            yield
        finally:
            sys.modules.update(before)
            sys.modules["concurrent"].futures = futures  # type: ignore[attr-defined]


def _replacement(name: str) -> ModuleType | None:
    """This library's module of that name; None: it has none, and the standard's stays."""
    return sys.modules.get(f"lithops.{name}")


def _import_all(package: ModuleType) -> None:
    for info in pkgutil.iter_modules(package.__path__):
        if info.name not in ("popen_spawn_win32", "__main__"):
            importlib.import_module(f"{package.__name__}.{info.name}")

"""The names of `multiprocessing`, made of calls, and of state in a server. Each part is imported when it is used first.

The standard library starts processes in several ways, and programs choose one by name. Here there is one way, which is
like ``spawn``; the other names are accepted, and mean the same.
"""

from __future__ import annotations

import os
import sys
from multiprocessing import context as standard
from typing import Any

from lithops.multiprocessing.current import load
from lithops.multiprocessing.process import Process

_METHODS = ["spawn", "fork", "forkserver"]
_MADE_BY = {
    "Pool": "pool",
    "Lock": "synchronize",
    "RLock": "synchronize",
    "Semaphore": "synchronize",
    "BoundedSemaphore": "synchronize",
    "Condition": "synchronize",
    "Event": "synchronize",
    "Barrier": "synchronize",
    "Queue": "queues",
    "JoinableQueue": "queues",
    "SimpleQueue": "queues",
    "Pipe": "connection",
    "Value": "sharedctypes",
    "Array": "sharedctypes",
    "RawValue": "sharedctypes",
    "RawArray": "sharedctypes",
    "Manager": "managers",
}
"""The modules of the classes and functions that contexts have as methods."""


def _maker(name: str, module: str) -> Any:
    def make(self: LithopsContext, *args: Any, **kwargs: Any) -> Any:
        self.get_context()  # as in the standard library, from now on the start method has been chosen
        return getattr(load(module), name)(*args, **kwargs)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"See `multiprocessing.{name}`."
    return make


class LithopsContext(standard.BaseContext):
    """See `multiprocessing.get_context`."""

    _name = "spawn"
    Process: Any = Process

    def cpu_count(self) -> int:
        """How many processes can work at once: this machine's CPUs, or as many workers as the cloud may start."""
        found = load("program").settings()
        if found.compute_name == "localhost":
            return os.cpu_count() or 1
        return int(found.compute.max_workers * found.compute.worker_processes)

    def get_context(self, method: str | None = None) -> Any:
        """A context of its own for one of the standard's ways to start processes, which are all the same here."""
        if method is None:
            return self
        if method not in _METHODS:
            raise ValueError(f"cannot find context for {method!r}")
        return _contexts[method]

    def get_start_method(self, allow_none: bool = False) -> str:  # noqa: ARG002 - the standard's parameter
        return self._name

    def set_start_method(self, method: str | None, force: bool = False) -> None:  # noqa: ARG002
        raise ValueError("cannot set start method of concrete context")

    def freeze_support(self) -> None:
        """Nothing to do: workers do not start this program again."""

    def allow_connection_pickling(self) -> None:
        raise NotImplementedError(
            "sockets and the standard library's connections are of one machine: send a lithops Pipe or Queue"
        )

    def set_executable(self, executable: str | bytes | os.PathLike[str]) -> None:
        """Accepts the interpreter of this program, and refuses others."""
        if os.fsdecode(executable) == sys.executable:
            return
        raise NotImplementedError(
            f"workers are not started with {executable!r}: set the interpreter or image of your backend with `runtime` "
            "in the configuration"
        )

    def set_forkserver_preload(self, module_names: Any) -> None:
        """On this machine, all workers that start from now on have these modules."""
        if not all(type(name) is str for name in module_names):
            raise TypeError("module_names must be a list of strings")
        load("program").preload(list(module_names))

    def _check_available(self) -> None:
        """All of them are."""


for _name, _module in _MADE_BY.items():
    setattr(LithopsContext, _name, _maker(_name, _module))


class _Named(LithopsContext):
    def __init__(self, name: str) -> None:
        self._name = name


class DefaultContext(LithopsContext):
    """What the functions of `lithops.multiprocessing` belong to."""

    def __init__(self) -> None:
        self._chosen: str | None = None

    def get_context(self, method: str | None = None) -> Any:
        if method is None:
            self._chosen = self._chosen or _METHODS[0]
            return _contexts[self._chosen]
        return super().get_context(method)

    def set_start_method(self, method: str | None, force: bool = False) -> None:
        """Accepted, and of no consequence. As in the standard library, it can be done once."""
        if self._chosen is not None and not force:
            raise RuntimeError("context has already been set")
        if method is not None and method not in _METHODS:
            raise ValueError(f"cannot find context for {method!r}")
        self._chosen = method

    def get_start_method(self, allow_none: bool = False) -> Any:
        if self._chosen is None and not allow_none:
            self._chosen = _METHODS[0]
        return self._chosen

    def get_all_start_methods(self) -> list[str]:
        return list(_METHODS)


_contexts = {name: _Named(name) for name in _METHODS}
default_context = DefaultContext()

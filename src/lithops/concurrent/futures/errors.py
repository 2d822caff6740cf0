"""The errors of calls whose worker died, as the standard library's programs expect them."""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from concurrent.futures.thread import BrokenThreadPool

from lithops import exceptions


class WorkerLost(exceptions.WorkerLost, BrokenProcessPool, BrokenThreadPool):
    """The worker that ran the call vanished. Only this call has failed: the executor goes on."""


class OutOfMemory(exceptions.OutOfMemory, BrokenProcessPool, BrokenThreadPool):
    """The worker that ran the call was killed because it used too much memory. Only this call has failed."""


_DEATHS: dict[type[BaseException], type[BaseException]] = {
    exceptions.WorkerLost: WorkerLost,
    exceptions.OutOfMemory: OutOfMemory,
}


def as_broken(error: BaseException) -> BaseException:
    """The error; if it says that a worker died, as one that is a `BrokenExecutor` too."""
    kind = _DEATHS.get(type(error))
    if kind is None:
        return error
    broken = kind(*error.args)
    broken.__cause__ = error.__cause__
    return broken

"""`Pool`: the standard library's class over an executor.

The standard's own methods and results are used as they are. What they put into their queue of tasks comes to `Outbox`,
which makes calls of it, and what becomes of the calls is told to the standard's results.

::

    map, imap, apply (standard) ─► Outbox.put ─► sender ─► executor ─► workers: work.Runner
    AsyncResult.get() (standard) ◄─ _set ◄─ collector ◄─ futures
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from multiprocessing import pool, process
from multiprocessing.pool import (
    CLOSE,
    INIT,
    RUN,
    TERMINATE,
    ApplyResult,
    AsyncResult,
    IMapIterator,
    IMapUnorderedIterator,
    MapResult,
    ThreadPool,
)
from typing import Any

from lithops.clock import Event
from lithops.executors import FunctionExecutor
from lithops.janitor import look_after
from lithops.multiprocessing import program
from lithops.multiprocessing.outbox import Outbox
from lithops.multiprocessing.output import printer
from lithops.multiprocessing.work import Setup

_standard: Any = pool
_process: Any = process
MaybeEncodingError = _standard.MaybeEncodingError
RemoteTraceback = _standard.RemoteTraceback

__all__ = [
    "Pool",
    # Threads are of this process, here as there.
    "ThreadPool",
    "ApplyResult",
    "AsyncResult",
    "MapResult",
    "IMapIterator",
    "IMapUnorderedIterator",
    "MaybeEncodingError",
    "RemoteTraceback",
    "INIT",
    "RUN",
    "CLOSE",
    "TERMINATE",
]


class Pool(pool.Pool):
    """Workers that run the tasks of a program. See `multiprocessing.Pool`.

    `processes` is how many tasks run at once; None: as many as the backend has workers. A `map` is one job of as many
    calls as it has chunks. `maxtasksperchild` has its effect on this machine; a cloud decides by itself when it
    replaces a worker.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: Any = None,
        context: Any = None,
    ) -> None:
        # What the standard's own methods look at.
        self._state: Any = INIT
        self._pool: Any = ()
        self._cache: dict[int, Any] = _Results()
        self._change_notifier = None
        self._ctx = context
        if processes is not None and processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and not (isinstance(maxtasksperchild, int) and maxtasksperchild > 0):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        assert not process.current_process().daemon, "daemonic processes are not allowed to have children"
        executor = _executor(processes, maxtasksperchild)
        self._pool = range(processes or executor.invoker.workers)
        streaming = printer()
        # As many as the standard library's pool would start.
        first, *_ = [next(_process._process_counter) for _ in self._pool]
        setup = Setup(initializer, tuple(initargs), streaming.key if streaming else None, first)
        options = {} if maxtasksperchild is None else {"chunksize": 1}
        workers = len(self._pool) if executor.backend == "localhost" else 0
        outbox = Outbox(executor, setup, self._cache, options, workers=workers, printer=streaming)
        self._taskqueue: Any = outbox
        self._end = look_after(self, outbox.terminate)
        self._state = RUN

    def close(self) -> None:
        """No more tasks; those that there are will be done."""
        if self._state == RUN:
            self._state = CLOSE
            self._taskqueue.close()

    def terminate(self) -> None:
        """Stop at once: tasks that have not ended fail with `CallCancelled`."""
        self._state = TERMINATE
        self._end()

    def join(self) -> None:
        """Wait for all tasks to end. Call `close` or `terminate` first."""
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state == CLOSE:
            self._taskqueue.join()
            self._end()


class _Results(dict[int, Any]):
    """The results that are waited for, which each enters itself."""

    def __setitem__(self, number: int, result: Any) -> None:
        if isinstance(result, ApplyResult):
            result._event = Event()  # type: ignore[attr-defined]
        super().__setitem__(number, result)


def _executor(processes: int | None, tasks_per_worker: int | None) -> FunctionExecutor:
    """Of this pool alone: its workers start with it, and end with it. Those of a cloud are the cloud's."""
    if program.settings().compute_name != "localhost" or tasks_per_worker is None:
        return program.new_executor(processes)
    return program.new_executor(processes, calls_per_worker=tasks_per_worker)

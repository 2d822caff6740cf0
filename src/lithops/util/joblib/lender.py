"""One executor for all runs of a joblib context: warm between them, and closed when nobody holds the context."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lithops.executors import FunctionExecutor

_LOCALHOST = "localhost"


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many workers there can be."""

    workers: int
    """As the configuration says; on localhost, if it says nothing, one for each CPU."""
    is_local: bool
    """Whether the workers are processes of this machine."""
    has_bound: bool
    """Whether there are never more."""


class Lender:
    """Makes the executor when it is first needed, and lends it out.

    On localhost it has as many workers as the run that borrows it: when a run needs more or fewer, or another
    environment, there is a new executor. `options` are those of `FunctionExecutor`; or `executor`, one that exists.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = {"log_level": None, **options}
        self._given: FunctionExecutor | None = self._options.pop("executor", None)
        self._capacity: Capacity | None = None
        self._current: FunctionExecutor | None = self._given
        self._key: object = None
        self._borrowers: Counter[FunctionExecutor] = Counter()
        self._lock = threading.Lock()

    @property
    def capacity(self) -> Capacity:
        """What the configuration allows. Raises `ConfigError`."""
        with self._lock:
            if self._capacity is None:
                self._capacity = self._find_capacity()
            return self._capacity

    def _find_capacity(self) -> Capacity:
        executor = self._current or FunctionExecutor(**self._options)
        workers = executor.invoker.workers
        is_local = executor.compute_handler.name == _LOCALHOST
        if not is_local or self._given is not None:
            self._current = executor
            return Capacity(workers, is_local, has_bound=True)
        executor.close()
        section = executor.config[_LOCALHOST]
        has_bound = section["worker_processes"] is not None or section["max_workers"] is not None
        return Capacity(workers, is_local, has_bound)

    def count(self, n_jobs: int) -> int:
        """How many workers a run of `n_jobs` gets: joblib counts from the last one where it is negative."""
        capacity = self.capacity
        if n_jobs < 0:
            return max(capacity.workers + 1 + n_jobs, 1)
        return min(n_jobs, capacity.workers) if capacity.has_bound else n_jobs

    def borrow(self, workers: int, environment: Mapping[str, str]) -> FunctionExecutor:
        """An executor for a run of so many workers. To be given back."""
        is_sized = self.capacity.is_local and self._given is None
        with self._lock:
            # Libraries read these variables when they are loaded, so workers that have loaded them are of no use.
            key = (workers, sorted(environment.items())) if is_sized else None
            if self._current is None or self._key != key:
                size = {"worker_processes": workers, "max_workers": workers} if is_sized else {}
                former, self._current = self._current, FunctionExecutor(**{**self._options, **size})
                self._key = key
                self._close_if_idle(former)
            self._borrowers[self._current] += 1
            return self._current

    def give_back(self, executor: FunctionExecutor) -> None:
        """The run has ended."""
        with self._lock:
            self._borrowers[executor] -= 1
            if executor is not self._current:
                self._close_if_idle(executor)

    def _close_if_idle(self, executor: FunctionExecutor | None) -> None:
        if executor is not None and not self._borrowers[executor]:
            del self._borrowers[executor]
            executor.close()

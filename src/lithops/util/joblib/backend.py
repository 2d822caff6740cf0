"""What joblib sees: a backend as its extension interface describes it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

from joblib.parallel import (
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
)

from lithops.executors import FunctionExecutor
from lithops.util.joblib.lender import Lender
from lithops.util.joblib.packing import Sharing
from lithops.util.joblib.run import BatchCall, Run
from lithops.util.joblib.worker import initialized
from lithops.worker.initializer import Initializer

_DOUBLINGS = 3
"""joblib doubles its batches while they are short. Each of ours is a call of an executor, so they grow faster."""
_READERS = 8
"""Threads that read results where these may lie in a storage that takes its time."""

_run_numbers = itertools.count()


class LithopsBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc] # joblib has no types
    """Runs the batches of one `joblib.Parallel` at a time; for others at the same time it makes backends like itself.

    Each worker calls ``initializer(*initargs)`` before its first batch. `options` are those of
    `lithops.FunctionExecutor`, or `executor`, one to use.
    """

    supports_retrieve_callback = True
    supports_inner_max_num_threads = True

    def __init__(
        self, nesting_level: int | None = None, inner_max_num_threads: int | None = None,
        initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = (), **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self.parallel: Any = None
        """Whose batches these are; None between two of them."""
        self._lender = Lender(options)
        self._own_initializer = Initializer(initializer, initargs) if initializer else None
        self._initializer: Initializer | None = None
        self._executor: FunctionExecutor | None = None
        self._sharing = Sharing()
        self._environment: dict[str, str] = {}
        self._room: int | None = None
        self._readers = 1
        self._run: Run | None = None
        self._batch_size = 1
        self._call_s = 0.0
        """How long the latest batch has taken, for each of its calls."""

    # ------------------------------------------------------------ before and after

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many calls run at once: -1 stands for all that the compute backend has, None for 1."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        return 1 if n_jobs is None or n_jobs == 1 else self._lender.count(n_jobs)

    def configure(
        self, n_jobs: int | None = 1, parallel: Any = None, max_nbytes: int | None = 1 << 20,
        mmap_mode: str | None = "r", initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (), **_: Any,
    ) -> int:  # fmt: skip
        """Get ready for the calls of `parallel`, and give the number of workers. What joblib gives besides is about
        its own ways to start processes."""
        if self.parallel is not None and self.parallel is not parallel:
            raise FallbackToBackend(self._another())
        workers = self.effective_n_jobs(n_jobs)
        if workers == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        is_local = self._lender.capacity.is_local
        # Elsewhere the number of CPUs is not that of this machine.
        limits_threads = is_local or self.inner_max_num_threads is not None
        self._environment = self._prepare_worker_env(n_jobs=workers) if limits_threads else {}
        self._executor = self._lender.borrow(workers, self._environment)
        most = self._executor.invoker.workers
        self._room = workers if workers < most else None
        self._readers = 1 if is_local else _READERS
        same_files = is_local and "interpreter" in self._executor.compute_handler.describe()
        self._sharing = Sharing(max_nbytes, mmap_mode, same_files)
        self._initializer = Initializer(initializer, initargs) if initializer else self._own_initializer
        self.parallel = parallel
        return workers

    def _another(self) -> LithopsBackend:
        other = LithopsBackend(self.nesting_level, self.inner_max_num_threads)
        other._lender = self._lender
        other._own_initializer = self._own_initializer
        return other

    def start_call(self) -> None:
        """A call of `Parallel` begins: what its batches share is shared until it ends."""
        assert self._executor is not None
        number = next(_run_numbers)
        self._run = Run(
            self._executor, number, self._sharing, self._environment, room=self._room, readers=self._readers
        )  # fmt: skip

    def stop_call(self) -> None:
        """It has ended."""
        if self._run is not None:
            self._run.close()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: ARG002 - it is ready in any case
        """Cancel the calls under way. Workers that run none are not touched."""
        self.stop_call()

    def terminate(self) -> None:
        """`Parallel` needs the backend no more. The executor stays for the next one."""
        self.stop_call()
        self._run = self.parallel = None
        if self._executor is not None:
            self._lender.give_back(self._executor)
            self._executor = None
        self.reset_batch_stats()
        self._batch_size = 1

    # ------------------------------------------------------------ batches

    def submit(self, func: Callable[[], Any], callback: Callable[[BatchCall], None]) -> BatchCall:
        """Run a batch; `callback` is called with what this gives when the batch has ended."""
        assert self._run is not None
        if self._initializer is not None:
            func = partial(initialized, self._initializer, func)
        return self._run.submit(func, callback)

    apply_async = submit
    """Its name before joblib 1.5."""

    def compute_batch_size(self) -> int:
        """How many of its calls joblib shall put into the next batch."""
        size: int = super().compute_batch_size()
        if size > self._batch_size:
            for _ in range(_DOUBLINGS - 1):
                super().batch_completed(size, size * self._call_s)  # as far as can be foreseen
                size = super().compute_batch_size()
        self._batch_size = size
        return size

    def batch_completed(self, batch_size: int, duration: float) -> None:
        """A batch has taken so many seconds, from when it was submitted."""
        self._call_s = duration / batch_size
        super().batch_completed(batch_size, duration)

    def retrieve_result_callback(self, out: BatchCall) -> Any:
        """What a batch returned; raises what it raised."""
        return out.result()

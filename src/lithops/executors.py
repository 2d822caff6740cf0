"""Executors: what users hold. The story of a call in one page: prepare → invoke → monitor → futures.

::

    map(function, data) ─► Preparer ─► Job ─► JobMonitor.submit ─► Invoker ─► ComputeBackend
                                                   │
    get_result() ◄─ wait ◄─ ResponseFuture.settle ◄┘◄─ JobTracker ◄─ StatusSource
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

import lithops.wait as waiting
from lithops.assembly import assemble
from lithops.clock import Clock, SystemClock
from lithops.compute import registry as compute_registry
from lithops.compute.base import ComputeBackend
from lithops.config.loader import resolve
from lithops.config.model import Settings
from lithops.config.passing import nested_environment, set_up_logging, surroundings_of
from lithops.cost import Cost, cost_of
from lithops.estimate import Estimate, Inputs, draw, run_sample, split
from lithops.exceptions import InvalidCall
from lithops.future import ResponseFuture
from lithops.futures_list import FuturesList
from lithops.janitor import look_after
from lithops.job import Job
from lithops.monitor.chain import as_futures, follow, group_by_source
from lithops.prepare.bind import Binder, elements
from lithops.prepare.options import DataOptions, JobOptions, RetryOn
from lithops.storage import registry as storage_registry
from lithops.storage.base import StorageBackend
from lithops.streaming import windows
from lithops.summary import summarize
from lithops.wait import ALL_COMPLETED, ALWAYS, Futures, Split
from lithops.wire.ids import new_executor_id

logger = logging.getLogger(__name__)


class FunctionExecutor:
    """Runs functions on a compute backend, with a storage backend beside it.

    With no configuration at all, that is this machine. `config` (a dict) replaces the configuration file; named
    arguments, and keyword arguments that are keys of the compute backend's section, override it. `log_level` sets up
    the `lithops` logger: a level's name does, None leaves logging alone, False takes the configuration's level.

    A context manager: leaving it stops what it started. Raises `ConfigError` for a configuration that cannot be used.
    """

    def __init__(
        self, mode: str | None = None, config: Mapping[str, Any] | None = None, config_file: str | None = None,
        backend: str | None = None, storage: str | None = None, monitoring: str | None = None,
        log_level: str | bool | None = False, **kwargs: Any,
    ) -> None:  # fmt: skip
        settings = resolve(
            config, config_file=config_file, mode=mode, backend=backend, storage=storage, monitoring=monitoring,
            log_level=log_level, overrides=kwargs,
        )  # fmt: skip
        set_up_logging(settings, log_level)
        compute = compute_registry.create(settings.compute_name, settings.compute, surroundings_of(settings))
        store = storage_registry.create(settings.storage_name, settings.storage)
        explicit = config is not None or any((config_file, mode, backend, storage, monitoring, kwargs))
        env = nested_environment(settings) if explicit else {}
        self._assemble(settings, compute, store, SystemClock(), env=env)

    @classmethod
    def over(
        cls, compute: ComputeBackend, storage: StorageBackend, settings: Settings, *, clock: Clock, threaded: bool
    ) -> FunctionExecutor:  # fmt: skip
        """An executor over backends that exist already: for tests and simulations, which bring their own clock.

        Without a thread, whoever brings the clock must call `job_monitor.step` while somebody waits.
        """
        executor = cls.__new__(cls)
        executor._assemble(settings, compute, storage, clock, threaded=threaded, env={})
        return executor

    def _assemble(
        self, settings: Settings, compute: ComputeBackend, storage: StorageBackend, clock: Clock, *,
        env: Mapping[str, str], threaded: bool = True,
    ) -> None:  # fmt: skip
        self.config: dict[str, Any] = settings.raw
        self.executor_id = new_executor_id()
        self.backend = settings.compute_name
        self.mode = settings.lithops.mode
        self.futures: list[ResponseFuture] = []
        self._detaching = threading.Lock()
        core = assemble(self, settings, compute, storage, clock, env=env, threaded=threaded)
        self.compute_handler = compute
        self.storage = core.storage
        self.invoker = core.invoker
        self.job_monitor = core.monitor
        self._preparer = core.preparer
        self._cleaner = core.cleaner
        self._ledger = core.ledger
        self._shut_down = look_after(self, core.shut_down)
        logger.info("executor %s: %s compute, %s storage", self.executor_id, compute.name, storage.name)

    def __enter__(self) -> FunctionExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel what is running, stop what was started, and remove this executor's data from the storage."""
        self._shut_down()

    # ------------------------------------------------------------ verbs

    def call_async(
        self, func: Callable[..., Any], data: Any, extra_env: Mapping[str, str] | None = None,
        runtime_memory: int | None = None, timeout: float | None = None,
        include_modules: list[str] | None = [], exclude_modules: list[str] = [], *,  # noqa: B006 - the contract's
        retries: int | None = None, retry_on: RetryOn | None = None, backoff: float = 0.0,
        max_concurrency: int | None = None, speculative: bool = False,
    ) -> ResponseFuture:  # fmt: skip
        """Call `func` once. A tuple spreads over its parameters, a dict goes by name, anything else is one argument.

        `runtime_memory` is in MB, `timeout` in seconds. `retries` repeats a call that failed, after `backoff` seconds
        (doubling), if `retry_on` (exception classes, or a function of the exception) agrees. The rest is about many
        calls: see `map`. Raises `InvalidCall` or `NotSerializable` before anything is sent.
        """
        options = JobOptions(
            extra_env=extra_env, runtime_memory=runtime_memory, timeout=timeout, include_modules=include_modules,
            exclude_modules=exclude_modules, retries=retries, retry_on=retry_on, backoff=backoff,
            max_concurrency=max_concurrency, speculative=speculative,
        )  # fmt: skip
        self.job_monitor.check_open()
        return self._submit(self._preparer.call(Binder(func), data, options))[0]

    def map(
        self, map_function: Callable[..., Any], map_iterdata: Any, chunksize: int | None = None,
        extra_args: tuple[Any, ...] | dict[str, Any] | None = None, extra_env: Mapping[str, str] | None = None,
        runtime_memory: int | None = None, obj_chunk_size: int | None = None, obj_chunk_number: int | None = None,
        obj_newline: str | None = "\n", timeout: float | None = None,
        include_modules: list[str] | None = [], exclude_modules: list[str] = [], *,  # noqa: B006 - the contract's
        retries: int | None = None, retry_on: RetryOn | None = None, backoff: float = 0.0,
        max_concurrency: int | None = None, speculative: bool = False, obj_format: str | None = None,
    ) -> FuturesList:  # fmt: skip
        """Call `map_function` once for each element of `map_iterdata`.

        `chunksize` is the number of calls per task, `obj_chunk_size` in bytes; the rest as for `call_async`.
        `max_concurrency` bounds how many of these calls run at once. With `speculative`, the last calls are run a
        second time when they take much longer than the others did: the first result counts, so the function must bear
        being called twice. `obj_format` names a format of the data: csv, parquet, ... Over earlier futures, each call
        gets a result.
        """
        options = JobOptions(
            extra_env=extra_env, runtime_memory=runtime_memory, timeout=timeout, include_modules=include_modules,
            exclude_modules=exclude_modules, chunksize=chunksize, retries=retries, retry_on=retry_on,
            backoff=backoff, max_concurrency=max_concurrency, speculative=speculative,
        )  # fmt: skip
        data = DataOptions(
            obj_chunk_size=obj_chunk_size, obj_chunk_number=obj_chunk_number, obj_newline=obj_newline,
            obj_format=obj_format,
        )  # fmt: skip
        job, inputs, _ = self._prepare_map(map_function, map_iterdata, extra_args, data, options)
        return FuturesList(self._submit(job, inputs), executor=self)

    def map_reduce(
        self, map_function: Callable[..., Any], map_iterdata: Any, reduce_function: Callable[..., Any],
        chunksize: int | None = None, extra_args: tuple[Any, ...] | dict[str, Any] | None = None,
        extra_args_reduce: tuple[Any, ...] | dict[str, Any] | None = None,
        extra_env: Mapping[str, str] | None = None, map_runtime_memory: int | None = None,
        reduce_runtime_memory: int | None = None, timeout: float | None = None,
        obj_chunk_size: int | None = None, obj_chunk_number: int | None = None, obj_newline: str | None = "\n",
        obj_reduce_by_key: bool = False, spawn_reducer: int = 20,
        include_modules: list[str] | None = [], exclude_modules: list[str] = [], *,  # noqa: B006 - the contract's
        retries: int | None = None, retry_on: RetryOn | None = None, backoff: float = 0.0,
        max_concurrency: int | None = None, speculative: bool = False, obj_format: str | None = None,
    ) -> FuturesList:  # fmt: skip
        """`map`, and then `reduce_function` with the list of the results: once, or once for each object.

        A reducer starts when its inputs are complete, so that it never holds a worker while it waits, and not before
        `spawn_reducer` percent of all map calls have ended. Gives the map's futures followed by the reducers'.
        """
        if not ALWAYS <= spawn_reducer <= ALL_COMPLETED:
            raise InvalidCall(f"spawn_reducer is {spawn_reducer!r}: it must be a percentage from 0 to 100")
        options = JobOptions(
            extra_env=extra_env, runtime_memory=map_runtime_memory, timeout=timeout, include_modules=include_modules,
            exclude_modules=exclude_modules, chunksize=chunksize, retries=retries, retry_on=retry_on,
            backoff=backoff, max_concurrency=max_concurrency, speculative=speculative,
        )  # fmt: skip
        data = DataOptions(
            obj_chunk_size=obj_chunk_size, obj_chunk_number=obj_chunk_number, obj_newline=obj_newline,
            obj_format=obj_format,
        )  # fmt: skip
        reducer = Binder(reduce_function, extra_args=extra_args_reduce)
        self._preparer.check_reducer(reducer, extra_args_reduce)
        mapping, inputs, sources = self._prepare_map(
            map_function, map_iterdata, extra_args, data, options, of_objects=obj_reduce_by_key
        )
        mapping.info.intermediate = True
        groups = group_by_source(mapping.futures, sources) if obj_reduce_by_key else [mapping.futures]
        options = replace(options, runtime_memory=reduce_runtime_memory)
        reducing = self._preparer.collecting(mapping, reducer, extra_args_reduce, len(groups), options)
        reducing.info.single = not obj_reduce_by_key
        mapped = self._submit(mapping, inputs)
        reduced = self._submit(reducing, groups, not_before=spawn_reducer)
        return FuturesList([*mapped, *reduced], executor=self)

    def imap(
        self, func: Callable[..., Any], iterable: Iterable[Any], window: int = 1000, **options: Any
    ) -> Iterator[Any]:
        """Results in the order of the elements, while at most `window` calls are under way or unread.

        The iterable may be endless. `options` are those of `map`.
        """
        for futures in windows(lambda part: self.map_apart(func, part, options), iterable, window):
            for future in futures:
                yield future.result()

    def imap_unordered(
        self, func: Callable[..., Any], iterable: Iterable[Any], window: int = 1000, **options: Any
    ) -> Iterator[Any]:
        """As `imap`, but each result as soon as it and all of earlier windows are there."""
        for futures in windows(lambda part: self.map_apart(func, part, options), iterable, window):
            for future in waiting.as_completed(futures):
                yield future.result()

    # ------------------------------------------------------------ results

    def wait(
        self, fs: Futures | None = None, throw_except: bool = True, return_when: int = ALL_COMPLETED,
        download_results: bool = False, timeout: float | None = None, threadpool_size: int = 64,
        wait_dur_sec: float | None = None, show_progressbar: bool = True,
    ) -> Split:  # fmt: skip
        """As `lithops.wait`; with no `fs`, for all futures of this executor whose results have not been read."""
        return waiting.wait(
            self._unread() if fs is None else fs, throw_except, return_when, download_results, timeout,
            threadpool_size, wait_dur_sec, show_progressbar,
        )  # fmt: skip

    def get_result(
        self, fs: Futures | None = None, throw_except: bool = True, timeout: float | None = None,
        threadpool_size: int = 64, wait_dur_sec: float | None = None, show_progressbar: bool = True,
    ) -> Any:  # fmt: skip
        """Wait for results: one value for one `call_async` or one reducer, else a list in the order of the calls.

        With no `fs`, the results that have not been read yet. With `throw_except=False` a failed call gives None.
        Raises what the calls raised, or `TimeoutError` after `timeout` seconds.
        """
        futures = self._unread() if fs is None else waiting.flatten(fs)
        results = waiting.get_result(
            futures, throw_except, timeout, threadpool_size, wait_dur_sec, show_progressbar
        )
        wanted = [future for future in futures if not future.job.intermediate]
        return results[0] if len(wanted) == 1 and wanted[0].job.single else results

    def as_completed(self, fs: Futures | None = None, timeout: float | None = None) -> waiting.Arrivals:
        """As `lithops.as_completed`; with no `fs`, over all futures whose results have not been read."""
        return waiting.as_completed(self._unread() if fs is None else fs, timeout)

    def cancel(self, fs: Futures | None = None) -> None:
        """Stop calls, running or not; with no `fs`, all of this executor. Returns when they have ended."""
        waiting.cancel(self.futures if fs is None else fs)

    def interrupt(self) -> None:
        """Ctrl-C: cancel all calls and end all workers. The next call starts new ones."""
        self.cancel()
        self.job_monitor.stop_workers()

    def plot(
        self, fs: Futures | None = None, dst: str | None = None, figsize: tuple[float, float] = (10, 6)
    ) -> list[str]:
        """Draw the timeline and the histogram of calls as PNG files in `dst` (default: the folder ``plots``)."""
        from lithops import plots

        done = [future for future in (self.futures if fs is None else waiting.flatten(fs)) if future.done]
        return list(plots.draw(done, dst, figsize))

    def job_summary(self, cloud_objects_n: int = 0) -> list[dict[str, Any]]:
        """One row a job: its calls, how many failed, and how long they ran in seconds; logged as well."""
        return summarize(self.futures, cloud_objects_n)

    def cost(self, fs: Futures | None = None) -> Cost:
        """What this executor has cost up to now in US dollars, or what these of its futures did: a lower bound.

        `Cost` says what is counted. What cleaning costs is known when the executor has been closed.
        """
        return cost_of(self._ledger, None if fs is None else waiting.flatten(fs))

    def estimate(
        self, map_function: Callable[..., Any], map_iterdata: Any, sample: int = 5, *,
        extra_args: tuple[Any, ...] | dict[str, Any] | None = None, **options: Any,
    ) -> Estimate:  # fmt: skip
        """What `map` of these arguments would cost in US dollars, from `sample` of its calls, which are run.

        They are spread evenly over the data, and their results are dropped; what they cost is part of `cost`. A
        generator is used up. `options` are those of `map`. Raises what a call raises.
        """
        drawn = draw(
            lambda data: self._prepare_map(map_function, data, extra_args, *split(options)), map_iterdata, sample,
            in_parts=Binder(map_function, extra_args=extra_args).declares_obj,
        )  # fmt: skip
        return run_sample(drawn, self._send, self._ledger)

    def clean(
        self, fs: Futures | None = None, cs: Iterable[Any] | None = None, clean_cloudobjects: bool = True,
        clean_fn: bool = False, force: bool = False, on_exit: bool = False,
    ) -> None:  # fmt: skip
        """Remove what this executor's jobs have put into the storage, once their results have been read.

        `fs` bounds it to some futures' jobs, `cs` are cloud objects to delete; `clean_fn` removes functions too, and
        `force` or `on_exit` does not wait for results to be read.
        """
        if cs is not None:
            self.storage.delete_cloudobjects(list(cs))
            if fs is None:
                return
        futures = self.futures if fs is None else waiting.flatten(fs)
        self._cleaner.clean(futures, unread=force or on_exit, objects=clean_cloudobjects, functions=clean_fn)

    # ------------------------------------------------------------ how

    def _prepare_map(
        self, function: Callable[..., Any], iterdata: Any, extra_args: Any, data: DataOptions, options: JobOptions,
        *, of_objects: bool = False,
    ) -> tuple[Job, list[list[ResponseFuture]], list[int]]:  # fmt: skip
        """The job of a map, the futures that each of its calls waits for, and the number of each one's object."""
        self.job_monitor.check_open()
        binder = Binder(function, extra_args=extra_args)
        if of_objects and not binder.declares_obj:
            raise InvalidCall(
                "obj_reduce_by_key needs a map function with the parameter obj: one reducer for each object"
            )
        inputs = as_futures(iterdata)
        if inputs:
            job = self._preparer.following(binder, extra_args, len(inputs), options)
            return job, [[future] for future in inputs], []
        job, sources = self._preparer.calls(binder, elements(iterdata), data, options)
        return job, [], sources

    def _submit(self, job: Job, inputs: Inputs = (), *, not_before: int = ALWAYS) -> list[ResponseFuture]:
        self._send(job, inputs, not_before=not_before)
        self.futures.extend(job.futures)
        return job.futures

    def _send(self, job: Job, inputs: Inputs, *, not_before: int = ALWAYS) -> None:
        logger.info("%s: %s, %d call(s)", job.spec.job_key, job.info.function_name, len(job.futures))
        if job.futures:
            self.job_monitor.submit(job)
            follow(self.job_monitor, self._preparer.uploader, job.spec.job_key, inputs, not_before=not_before)

    def _unread(self) -> list[ResponseFuture]:
        return [future for future in self.futures if not future.was_read]

    def map_apart(
        self, func: Callable[..., Any], elements: list[Any], options: dict[str, Any]
    ) -> FuturesList:
        """A map whose futures are not among those that `get_result` waits for: somebody else reads them."""
        futures = self.map(func, elements, **options)
        if not futures:
            return futures
        with self._detaching:
            # Near the end, but perhaps not last: other threads make calls as well.
            start = next(at for at in reversed(range(len(self.futures))) if self.futures[at] is futures[0])
            del self.futures[start : start + len(futures)]
        return futures


class LocalhostExecutor(FunctionExecutor):
    """Runs functions in worker processes of this machine."""

    def __init__(
        self, config: Mapping[str, Any] | None = None, config_file: str | None = None, storage: str | None = None,
        monitoring: str | None = None, log_level: str | bool | None = False, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__("localhost", config, config_file, None, storage, monitoring, log_level, **kwargs)


class ServerlessExecutor(FunctionExecutor):
    """Runs functions on a serverless backend."""

    def __init__(
        self, config: Mapping[str, Any] | None = None, config_file: str | None = None, backend: str | None = None,
        storage: str | None = None, monitoring: str | None = None, log_level: str | bool | None = False, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__("serverless", config, config_file, backend, storage, monitoring, log_level, **kwargs)


class StandaloneExecutor(FunctionExecutor):
    """Runs functions on machines that stand alone."""

    def __init__(
        self, config: Mapping[str, Any] | None = None, config_file: str | None = None, backend: str | None = None,
        storage: str | None = None, monitoring: str | None = None, log_level: str | bool | None = False, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__("standalone", config, config_file, backend, storage, monitoring, log_level, **kwargs)

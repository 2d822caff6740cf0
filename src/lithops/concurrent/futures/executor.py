"""Executors as the standard library has them, around an executor of this library.

::

    submit ─► inbox ─► hand over: one native map for all that have come by then ─► workers
                                                                                             │
    result() ◄─ Future ◄─ settle: in the monitor's thread or, to read what is stored, a reader's ◄┘

Calls that are submitted while others are being handed over gather in the inbox, and go together.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from concurrent import futures
from dataclasses import dataclass
from functools import partial
from types import MethodType, TracebackType
from typing import Any, ClassVar, ParamSpec, TypeVar

from lithops import executors
from lithops.concurrent.futures.errors import as_broken
from lithops.concurrent.futures.future import Future, stop
from lithops.concurrent.futures.native import make_native
from lithops.concurrent.futures.work import Chunked, Runner, Setup, chunks
from lithops.exceptions import InvalidCall, NotSerializable
from lithops.future import ResponseFuture
from lithops.wire.messages import StoredBlob
from lithops.worker.initializer import INITIALIZER_FAILED

P = ParamSpec("P")
T = TypeVar("T")

_READERS = 16
"""So many stored results are read at once."""
_FUNCTIONS = 16
"""So many functions travel together."""


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """What was submitted."""

    future: Future[Any]
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class FunctionExecutor(futures.Executor):
    """A `concurrent.futures.Executor` whose calls run on a compute backend.

    `max_workers` is how many of them run at once (none: as many as the backend allows). `initializer` is called with
    `initargs` by each worker process before its first call; if it fails, so do all calls. `executor` is a native
    executor to use, which is left open; without one, it is made of `options`, the arguments of
    `lithops.FunctionExecutor`. `retries` is how often a call that failed is repeated (none: as configured).
    """

    _defaults: ClassVar[Mapping[str, Any]] = {}
    _broken_error: ClassVar[type[futures.BrokenExecutor]] = futures.BrokenExecutor

    def __init__(
        self, max_workers: int | None = None, initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (), *, executor: executors.FunctionExecutor | None = None,
        retries: int | None = None, **options: Any,
    ) -> None:  # fmt: skip
        self._open(max_workers, initializer, initargs, executor, retries, options)

    def _open(
        self, max_workers: int | None, initializer: Callable[..., object] | None, initargs: tuple[Any, ...],
        executor: executors.FunctionExecutor | None, retries: int | None, options: dict[str, Any], *,
        calls_per_worker: int | None = None, thread_name: str = "",
    ) -> None:  # fmt: skip
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if executor is None:
            self.executor = make_native(max_workers, calls_per_worker, {**self._defaults, **options})
            """The native executor."""
        elif max_workers is None and calls_per_worker is None and not options:
            self.executor = executor
        else:
            raise InvalidCall(
                "`executor` is as it was made: max_workers, max_tasks_per_child and options of the backend go there"
            )
        self._owned = executor is None
        self._max_workers = self.executor.invoker.workers
        self._setup = Setup(initializer, initargs, thread_name)
        self._options: dict[str, Any] = {"retries": retries, "retry_on": _is_worth_repeating}
        if calls_per_worker is not None:
            self._options["chunksize"] = 1  # a worker can be replaced after a task, and not in its midst
        self._inbox: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        """What was submitted, and None where nothing is left to wait for."""
        self._unfinished: dict[Future[Any], None] = {}
        self._lock = threading.Lock()
        self._serving = False
        self._closed = False
        self._broken = ""
        # The standard library ends its threads in order: when their executor is collected, and at the program's end.
        self._server = futures.ThreadPoolExecutor(1, thread_name_prefix="lithops-futures")
        self._readers = futures.ThreadPoolExecutor(_READERS, thread_name_prefix="lithops-reader")

    # ------------------------------------------------------------ verbs

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a worker call ``fn(*args, **kwargs)``."""
        future: Future[T] = Future()
        with self._lock:
            if self._broken:
                raise self._broken_error(self._broken)
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if not self._serving:
                self._start_serving()
            self._unfinished[future] = None
        self._inbox.put(_Call(future, fn, args, kwargs))
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """The results of ``map(fn, *iterables)``, in order; the calls go to the workers in chunks of `chunksize`.

        Raises `TimeoutError` if a result is not there `timeout` seconds after `map` was called.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout)
        parts = chunks(zip(*iterables, strict=False), chunksize)
        return _spread(super().map(Chunked(fn), parts, timeout=timeout))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. With `wait`, return when all have ended; with `cancel_futures`, cancel those that wait.

        A native executor that was made for this one is closed then.
        """
        with self._lock:
            first, self._closed = not self._closed, True
            left = list(self._unfinished) if cancel_futures else []
        for future in left:
            future.cancel()
        if first:
            try:
                self._server.submit(self._close)
            except RuntimeError:  # the program ends
                self._close()
        self._server.shutdown(wait)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            # Ctrl-C reaches the standard library's workers by itself.
            self.shutdown(wait=False, cancel_futures=True)
            with self._lock:
                left = list(self._unfinished)
            stop(future.response_future for future in left if future.response_future is not None)
        self.shutdown()

    # ------------------------------------------------------------ the server's thread

    def _start_serving(self) -> None:
        # Now, since Python 3.12 starts no thread any more once the program's last line has run.
        self.executor.job_monitor.start()
        self._server.submit(self._serve)
        self._serving = True

    def _serve(self) -> None:
        """Hand over what is submitted, until nothing is left to wait for."""
        while self._is_needed():
            self._take_in(_all_of(self._inbox))

    def _is_needed(self) -> bool:
        with self._lock:
            self._serving = bool(self._unfinished)
            return self._serving

    def _take_in(self, arrived: list[_Call | None]) -> None:
        calls = [each for each in arrived if each is not None]
        while calls:
            count = _count_together(calls)
            self._hand_over(calls[:count])
            del calls[:count]

    def _hand_over(self, calls: list[_Call]) -> None:
        waiting: list[_Call] = []
        for call in calls:
            if call.future.done():  # cancelled, or given up with all others
                self._finish(call.future)
            else:
                waiting.append(call)
        if waiting:
            try:
                natives = self._map(waiting)
            except Exception as error:  # noqa: BLE001 - whatever it is, the futures tell
                self._refuse(waiting, error)
            else:
                for call, native in zip(waiting, natives, strict=True):
                    self._follow(call.future, native)

    def _map(self, calls: list[_Call]) -> list[ResponseFuture]:
        """One job for all these calls. The order is kept, since some may wait for what earlier ones do."""
        functions = {_function_id(call): call.function for call in calls}
        numbers = {identity: number for number, identity in enumerate(functions)}
        elements = [(numbers[_function_id(call)], call.args, call.kwargs) for call in calls]
        return self.executor.map_apart(Runner(list(functions.values()), self._setup), elements, self._options)

    def _refuse(self, calls: list[_Call], error: Exception) -> None:
        """These calls cannot be sent together; each that cannot be sent alone has failed."""
        if len(calls) > 1:
            half = len(calls) // 2
            self._hand_over(calls[:half])
            self._hand_over(calls[half:])
            return
        if isinstance(error, NotSerializable):
            error = error.as_pickle_raised()
        future = calls[0].future
        if future.claim():
            future.set_exception(error)
        self._finish(future)

    def _follow(self, future: Future[Any], native: ResponseFuture) -> None:
        future.response_future = native
        native.add_done_callback(partial(self._settle, future))
        if future.done() and not native.done:  # it was cancelled just now
            stop([native])

    def _close(self) -> None:
        self._readers.shutdown()
        if self._owned:
            self.executor.close()

    # ------------------------------------------------------------ the monitor's thread, and readers

    def _settle(self, future: Future[Any], native: ResponseFuture) -> None:
        """The call has ended."""
        if _is_at_hand(native):
            self._complete(future, native)
            return
        try:
            self._readers.submit(self._complete, future, native)
        except RuntimeError:  # the program ends, and no thread can be started for it
            self._complete(future, native)

    def _complete(self, future: Future[Any], native: ResponseFuture) -> None:
        try:
            if native.error:
                self._fail(future, native)
            elif future.claim():
                _set_result(future, native)
        finally:
            self._finish(future)

    def _fail(self, future: Future[Any], native: ResponseFuture) -> None:
        if native.cancelled() and future.cancel():
            return
        error = _error_of(native)
        if hasattr(error, INITIALIZER_FAILED):
            self._give_up(error)
        elif future.claim():
            future.set_exception(as_broken(error))

    def _give_up(self, error: BaseException) -> None:
        """The initializer has failed: so have all calls that have not ended, and those to come."""
        with self._lock:
            reason = getattr(error, INITIALIZER_FAILED)
            self._broken = (
                f"the initializer failed in a worker, and this executor is not usable anymore: {reason}"
            )
            left = list(self._unfinished)
        natives = []
        for future in left:
            if future.claim():
                broken = self._broken_error(self._broken)
                broken.__cause__ = error.__cause__
                native = future.response_future
                if native is not None and not native.done:
                    natives.append(native)
                future.set_exception(broken)
        stop(natives)

    def _finish(self, future: Future[Any]) -> None:
        """Nothing more is expected of this future's call."""
        with self._lock:
            self._unfinished.pop(future, None)
            if self._unfinished:
                return
        self._inbox.put(None)


def _all_of(inbox: queue.SimpleQueue[T]) -> list[T]:
    """What is in the inbox, at least one thing: waits for it."""
    arrived = [inbox.get()]
    # Nobody else takes anything out.
    while not inbox.empty():
        arrived.append(inbox.get())
    return arrived


def _count_together(calls: list[_Call]) -> int:
    """How many of these calls, from the first on, share a job: as many as its functions are not too many."""
    functions: set[Hashable] = set()
    for count, call in enumerate(calls):
        functions.add(_function_id(call))
        if len(functions) > _FUNCTIONS:
            return count
    return len(calls)


def _function_id(call: _Call) -> Hashable:
    """The same for calls of the same function, while these are held."""
    function = call.function
    if isinstance(function, MethodType):
        return id(function.__self__), id(function.__func__)
    return id(function)


def _is_at_hand(native: ResponseFuture) -> bool:
    """Whether the outcome came with the status, so that nothing has to be read or waited for."""
    status = native.settled_status()
    assert status is not None
    blob = status.failure.exception if status.failure else status.result
    return not status.follow and not isinstance(blob, StoredBlob)


def _set_result(future: Future[Any], native: ResponseFuture) -> None:
    try:
        value = native.result()
    except BaseException as error:  # noqa: BLE001 - of futures that were returned, it is what their calls raised
        future.set_exception(as_broken(error))
    else:
        future.set_result(value)


def _error_of(native: ResponseFuture) -> BaseException:
    try:
        error = native.exception()
    except Exception as reason:  # noqa: BLE001 - cancelled while it ran, or its error cannot be read
        return reason
    assert error is not None
    return error


def _is_worth_repeating(error: BaseException) -> bool:
    return not hasattr(error, INITIALIZER_FAILED)


def _spread(parts: Iterator[list[T]]) -> Iterator[T]:
    for part in parts:
        yield from part


class LocalhostExecutor(FunctionExecutor):
    """Calls run in worker processes of this machine."""

    _defaults: ClassVar = {"mode": "localhost"}


class ServerlessExecutor(FunctionExecutor):
    """Calls run on a serverless backend."""

    _defaults: ClassVar = {"mode": "serverless"}


class StandaloneExecutor(FunctionExecutor):
    """Calls run on machines that stand alone."""

    _defaults: ClassVar = {"mode": "standalone"}

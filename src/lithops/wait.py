"""Waiting for futures, of one executor or of several at once.

``lithops.wait`` is this module and the function `wait` at once: programs use both names.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

from lithops.exceptions import InvalidCall
from lithops.future import ResponseFuture
from lithops.job import FutureOwner
from lithops.progress import Progress
from lithops.wire.messages import StoredBlob

ALWAYS = 0
"""Do not wait at all."""
ANY_COMPLETED = -1
"""Wait for one."""
ALL_COMPLETED = 100
"""Wait for all. Numbers between are percentages."""

Futures = ResponseFuture | Iterable[Any]
"""A future, or any nesting of iterables of futures."""
Split = tuple[list[ResponseFuture], list[ResponseFuture]]


def wait(
    fs: Futures,
    throw_except: bool = True,
    return_when: int = ALL_COMPLETED,
    download_results: bool = False,
    timeout: float | None = None,
    threadpool_size: int = 64,
    wait_dur_sec: float | None = None,  # noqa: ARG001 - kept for programs of 3.x: completion comes by event
    show_progressbar: bool = True,
) -> Split:
    """Wait for calls to end, and give those that have ended and those that have not.

    With `throw_except`, the first failure is raised as soon as it is known. Futures that functions returned are waited
    for as well. `download_results` reads the results, with up to `threadpool_size` threads.
    Raises `TimeoutError` after `timeout` seconds.
    """
    futures = flatten(fs)
    until = None if timeout is None else time.monotonic() + timeout
    target = _target(return_when, len(futures))
    try:
        failed = _wait_for(futures, target, timeout, throw_except, show_progressbar)
        waited = futures
        while failed is None and return_when == ALL_COMPLETED and (waited := _returned_futures(waited)):
            left = None if until is None else max(0.0, until - time.monotonic())
            failed = _wait_for(waited, len(waited), left, throw_except, show_progressbar)
    except KeyboardInterrupt:
        _interrupt(futures)
        raise
    if failed is not None:
        failed.result()  # which may be a KeyboardInterrupt too, but that of a call
    split = [future for future in futures if future.done], [future for future in futures if not future.done]
    if download_results:
        download(split[0], threadpool_size)
    return split


def get_result(
    fs: Futures,
    throw_except: bool = True,
    timeout: float | None = None,
    threadpool_size: int = 64,
    wait_dur_sec: float | None = None,
    show_progressbar: bool = True,
) -> list[Any]:
    """Wait for calls to end, and give their results in the order of the futures, always as a list.

    Inputs of a reducer are left out. With `throw_except=False` a failed call gives None.
    """
    futures = flatten(fs)
    wait(
        futures,
        throw_except,
        download_results=True,
        timeout=timeout,
        threadpool_size=threadpool_size,
        wait_dur_sec=wait_dur_sec,
        show_progressbar=show_progressbar,
    )
    return [future.result(throw_except) for future in futures if not future.job.intermediate]


def as_completed(fs: Futures, timeout: float | None = None) -> Arrivals:
    """Give the futures one by one as their calls end, in whatever order: for `for`, and for `async for`.

    Raises `TimeoutError` when they have not all ended after `timeout` seconds.
    """
    return Arrivals(flatten(fs), timeout)


class Arrivals(Iterator[ResponseFuture], AsyncIterator[ResponseFuture]):
    """Futures in the order in which their calls end. One thread, or one task of an event loop, takes them."""

    def __init__(self, futures: list[ResponseFuture], timeout: float | None) -> None:
        self._futures = futures
        self._timeout = timeout
        self._until = math.inf if timeout is None else time.monotonic() + timeout
        self._missing = len(futures)
        self._ended = _Ended()
        for future in futures:
            future.add_done_callback(self._ended.note)

    def __next__(self) -> ResponseFuture:
        while self._missing and not self._ended.futures:
            arrived = threading.Event()
            self._ended.wake = arrived.set
            left_s = self._left_s()
            if not self._ended.futures and not self._futures[0].job.owner.wait(arrived, left_s):
                raise _late(self._missing, len(self._futures), self._timeout)
        if not self._missing:
            raise StopIteration
        return self._take()

    async def __anext__(self) -> ResponseFuture:
        while self._missing and not self._ended.futures:
            left_s = self._left_s()
            if left_s == 0:
                raise _late(self._missing, len(self._futures), self._timeout)
            await self._ended.arrival(left_s)
        if not self._missing:
            raise StopAsyncIteration
        return self._take()

    def __del__(self) -> None:
        for future in self._futures:
            if not future.done:
                future.remove_done_callback(self._ended.note)

    def _take(self) -> ResponseFuture:
        self._missing -= 1
        return self._ended.futures.popleft()

    def _left_s(self) -> float | None:
        return None if self._timeout is None else max(0.0, self._until - time.monotonic())


class _Ended:
    """Futures whose calls have ended, and who is to be told of the next."""

    def __init__(self) -> None:
        self.futures: deque[ResponseFuture] = deque()
        self.wake: Callable[[], object] = _nobody

    def note(self, future: ResponseFuture) -> None:
        """A call has ended."""
        self.futures.append(future)
        self.wake()

    async def arrival(self, timeout_s: float | None) -> None:
        """Until a call has ended, or the time is up. No thread waits."""
        import asyncio  # only where it is in use already: it takes as long to import as all the rest

        loop = asyncio.get_running_loop()
        arrived = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed, so nobody waits
                loop.call_soon_threadsafe(arrived.set)

        timer = None if timeout_s is None else loop.call_later(timeout_s, arrived.set)
        self.wake = wake
        try:
            if not self.futures:
                await arrived.wait()
        finally:
            self.wake = _nobody
            if timer is not None:
                timer.cancel()


def _nobody() -> None:
    """Nobody waits."""


def cancel(fs: Futures) -> None:
    """Stop the calls that have not ended, running or not. Returns when they have."""
    futures = [future for future in flatten(fs) if not future.done]
    jobs: dict[str, tuple[FutureOwner, list[int]]] = {}
    for future in futures:
        jobs.setdefault(future.job_key, (future.job.owner, []))[1].append(future.index)
    for job_key, (owner, indexes) in jobs.items():
        owner.cancel(job_key, indexes)
    if futures:
        wait(futures, throw_except=False, show_progressbar=False)


def flatten(fs: Futures) -> list[ResponseFuture]:
    """All futures in `fs`, in order."""
    if isinstance(fs, ResponseFuture):
        return [fs]
    if isinstance(fs, str | bytes) or not isinstance(fs, Iterable):
        raise InvalidCall(
            f"expected a future or a list of futures, not {fs!r}; pass what call_async or map gave"
        )
    flat: list[ResponseFuture] = []
    for item in fs:
        if isinstance(item, ResponseFuture):
            flat.append(item)
        else:
            flat.extend(flatten(item))
    return flat


class _Latch:
    """Opens when enough futures have ended, or when one has failed."""

    def __init__(self, target: int, *, on_failure: bool) -> None:
        self.opened = threading.Event()
        self.ended = 0
        self.failed: ResponseFuture | None = None
        self._target = target
        self._on_failure = on_failure
        self._lock = threading.Lock()

    def __call__(self, future: ResponseFuture) -> None:
        with self._lock:
            self.ended += 1
            if self._on_failure and self.failed is None and future.error:
                self.failed = future
            if self.ended >= self._target or self.failed is not None:
                self.opened.set()


def _wait_for(
    futures: list[ResponseFuture],
    target: int,
    timeout: float | None,
    throw_except: bool,
    show_progressbar: bool,
) -> ResponseFuture | None:
    """Wait until `target` futures have ended. With `throw_except`, the first that failed ends it, and is given."""
    latch = _Latch(target, on_failure=throw_except)
    for future in futures:
        future.add_done_callback(latch)
    try:
        if target and not _watch(latch, futures, timeout, show_progressbar):
            raise _late(target - latch.ended, len(futures), timeout)
    finally:
        for future in futures:
            if not future.done:
                future.remove_done_callback(latch)
    return latch.failed


def _watch(
    latch: _Latch, futures: list[ResponseFuture], timeout: float | None, show_progressbar: bool
) -> bool:
    """Show progress until the latch opens, True, or the time is up, False."""
    until = math.inf if timeout is None else time.monotonic() + timeout
    waiting = next((future for future in futures if not future.done), None)
    with Progress(len(futures), shown=show_progressbar) as progress:
        while waiting is not None and not latch.opened.is_set():
            left = until - time.monotonic()
            if left <= 0:
                return False
            waiting.job.owner.wait(latch.opened, min(left, progress.pause_s))
            progress.show(latch.ended)
    return True


def _target(return_when: int, total: int) -> int:
    if return_when == ANY_COMPLETED:
        return min(1, total)
    if not ALWAYS <= return_when <= ALL_COMPLETED:
        raise InvalidCall(
            f"return_when is {return_when!r}: use ALWAYS, ANY_COMPLETED, ALL_COMPLETED, or a percentage from 0 to 100"
        )
    return math.ceil(total * return_when / 100)


def _returned_futures(futures: list[ResponseFuture]) -> list[ResponseFuture]:
    return [inner for future in futures if future.futures for inner in flatten(future.value())]


def download(futures: list[ResponseFuture], threadpool_size: int) -> None:
    """Read the results that lie in the storage, several at a time."""
    stored = [future for future in futures if future.success and _is_stored(future)]
    if len(stored) > 1:
        with ThreadPoolExecutor(min(threadpool_size, len(stored))) as pool:
            for future in stored:
                pool.submit(future.value)  # what cannot be read is for `result` to say


def _is_stored(future: ResponseFuture) -> bool:
    status = future.settled_status()
    return status is not None and isinstance(status.result, StoredBlob)


def _interrupt(futures: list[ResponseFuture]) -> None:
    """Ctrl-C: stop what these futures' executors are running."""
    executors = {id(future.job.executor): future.job.executor for future in futures}
    for executor in executors.values():
        if executor is not None:
            executor.interrupt()


def _late(missing: int, total: int, timeout: float | None) -> TimeoutError:
    after = "in time" if timeout is None else f"after {timeout:g} s"
    return TimeoutError(
        f"{missing} of {total} calls have not ended {after}; they go on: wait again, or cancel them"
    )


class _CallableModule(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Split:
        return wait(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule

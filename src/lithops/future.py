"""Futures: what a user holds of a call, from the moment it is made until its result is read.

A future is settled by an event, the arrival of its call's last status; nothing polls it. Futures come by the hundred
thousand, so each is a few slots, and everything that the calls of a job have in common is in their `JobInfo`.
"""

from __future__ import annotations

import importlib
import logging
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

from lithops.callbacks import WhenStarted, await_result
from lithops.exceptions import CallCancelled, NotSerializable
from lithops.job import READ_RETRIES, JobInfo, read_patiently
from lithops.wire.failures import error_of
from lithops.wire.ids import call_id
from lithops.wire.messages import CallStatus, Failure, Phase, unpack_stats
from lithops.wire.pickles import load

logger = logging.getLogger(__name__)
_UNREAD: Any = object()


class ResponseFuture:
    """One call's result to be.

    Of `concurrent.futures.Future` it has `result`, `exception`, `add_done_callback`, `cancel` and `cancelled`; `done`
    and `running` are properties here. It can be awaited, pickled, and waited on by another process that has the
    storage.
    """

    __slots__ = (
        "__weakref__",
        "_activation_id",
        "_phase",
        "_read",
        "_sent_at",
        "_settled_at",
        "_status",
        "_value",
        "_watchers",
        "index",
        "job",
    )

    def __init__(self, job: JobInfo, index: int) -> None:
        self.job = job
        self.index = index
        self._phase: Phase | None = None
        self._activation_id = ""
        self._status: CallStatus | None = None
        self._value: Any = _UNREAD
        self._watchers: list[Callable[[ResponseFuture], None]] | None = None
        self._sent_at = 0.0
        self._settled_at = 0.0
        self._read = False

    # ------------------------------------------------------------ names

    @property
    def executor_id(self) -> str:
        """The executor that made the call."""
        return self.job.executor_id

    @property
    def job_id(self) -> str:
        """``M000`` for a map, ``A000`` for call_async, ``R000`` for a reducer."""
        return self.job.job_id

    @property
    def job_key(self) -> str:
        """Executor and job in one name, unique over all clients."""
        return self.job.job_key

    @property
    def call_id(self) -> str:
        """The call's index in its job, as five digits."""
        return call_id(self.index)

    @property
    def function_name(self) -> str:
        """As the function names itself."""
        return self.job.function_name

    @property
    def runtime_memory(self) -> int:
        """MB; 0 where the backend sets no limit."""
        return self.job.runtime_memory

    @property
    def activation_id(self) -> str:
        """What the backend calls the activation that runs the call; empty until that is known."""
        return self._status.activation_id if self._status else self._activation_id

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ResponseFuture):
            return NotImplemented
        return self.index == other.index and self.job.job_key == other.job.job_key

    def __hash__(self) -> int:
        return hash((self.job.job_key, self.index))

    def __repr__(self) -> str:
        return f"<ResponseFuture {self.job_key}-{self.call_id} {self.function_name} {self._state}>"

    # ------------------------------------------------------------ state

    @property
    def _state(self) -> str:
        if self._status is not None:
            return self._status.phase.value
        if self._phase is not None:
            return self._phase.value
        return "invoked" if self._sent_at else "new"

    @property
    def new(self) -> bool:
        """The call has not been sent yet."""
        return self._status is None and not self._sent_at

    @property
    def invoked(self) -> bool:
        """The call has been sent, and has not returned."""
        return self._status is None and self._sent_at > 0

    @property
    def running(self) -> bool:
        """The call is known to have started, and has not returned."""
        return self._status is None and self._phase is Phase.STARTED

    @property
    def ready(self) -> bool:
        """The call has ended, well or badly."""
        return self._status is not None

    done = ready

    @property
    def success(self) -> bool:
        """The call has returned."""
        return self._status is not None and self._status.phase is Phase.RETURNED

    @property
    def error(self) -> bool:
        """The call has ended without returning."""
        return self._status is not None and self._status.phase is not Phase.RETURNED

    @property
    def futures(self) -> bool:
        """The function returned futures, which `result` follows."""
        return self._status is not None and self._status.follow

    def cancelled(self) -> bool:
        """Whether the call was cancelled."""
        return self._status is not None and self._status.phase is Phase.CANCELLED

    @property
    def was_read(self) -> bool:
        """Whether the result has been handed out by `get_result` or `result`."""
        return self._read

    @property
    def logs(self) -> str:
        """What the call printed and logged; empty until it has ended."""
        return self._status.logs if self._status else ""

    @property
    def stats(self) -> dict[str, Any]:
        """Measurements of the job, the call and its worker: seconds, bytes, time stamps of the Unix epoch.

        Memory and network figures are sampled: calls shorter than 0.2 s share a sample.
        """
        stats: dict[str, Any] = dict(self.job.stats)
        if self._sent_at:
            stats["host_submit_tstamp"] = self._sent_at
        if self._status is not None:
            stats.update(unpack_stats(self._status.stats))
            stats["host_status_done_tstamp"] = self._settled_at
            stats["host_status_query_count"] = 1
            stats["worker_cold_start"] = bool(stats.get("worker_cold_start", False))
        if self._value is not _UNREAD:
            stats["host_result_done_tstamp"] = self._settled_at
            stats["host_result_query_count"] = 1
        return stats

    # ------------------------------------------------------------ what its owner tells

    def mark_sent(self, now: float) -> None:
        """The call has been handed to the backend, at this time of the Unix epoch."""
        self._sent_at = now

    def mark_started(self, activation_id: str) -> None:
        """The function is known to run."""
        with self.job.lock:
            self._phase = Phase.STARTED
            self._activation_id = activation_id
            watchers = [each for each in self._watchers or () if isinstance(each, WhenStarted)]
        for watcher in watchers:
            self.remove_done_callback(watcher)
            self._tell(watcher)

    def settle(self, status: CallStatus, now: float) -> None:
        """The call has ended: wake whoever waits. A second time is ignored."""
        with self.job.lock:
            if self._status is not None:
                return
            self._settled_at = now
            self._status = status
            watchers, self._watchers = self._watchers, None
        if watchers:
            for watcher in watchers:
                self._tell(watcher)

    def _tell(self, watcher: Callable[[ResponseFuture], None]) -> None:
        try:
            watcher(self)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise
            # As in the standard library: a callback's error is its own, and must not stop the others. That goes for
            # SystemExit too, which `result` raises in a callback if the call has: it would end the monitor's thread.
            logger.exception("a callback of %r failed", self)

    # ------------------------------------------------------------ what its holder asks

    def add_done_callback(self, callback: Callable[[ResponseFuture], None]) -> None:
        """Call `callback(future)` when the call has ended; at once if it has. It runs in the monitor's thread."""
        with self.job.lock:
            if self._status is None:
                if self._watchers is None:
                    self._watchers = []
                self._watchers.append(callback)
                return
        self._tell(callback)

    def add_start_callback(self, callback: Callable[[ResponseFuture], None]) -> None:
        """Call `callback(future)` when the call is known to run, or has ended; at once if it is. Calls that end within
        a moment are never known to run."""
        watcher = WhenStarted(callback)
        with self.job.lock:
            waits = self._status is None and self._phase is not Phase.STARTED
            if waits:
                self._watchers = [*(self._watchers or ()), watcher]
        if not waits:
            self._tell(watcher)

    def remove_done_callback(self, callback: Callable[[ResponseFuture], None]) -> None:
        """Undo `add_done_callback`, if it has not been called yet."""
        with self.job.lock:
            if self._watchers and callback in self._watchers:
                self._watchers.remove(callback)

    def cancel(self) -> bool:
        """Stop the call; True if it ends as cancelled, False if it had ended before. Callbacks get True at once."""
        if self._status is None:
            self.job.owner.cancel(self.job.job_key, [self.index])
            if self.job.owner.settles_here():
                return True
            self._await_status(None)
        return self.cancelled()

    def settled_status(self) -> CallStatus | None:
        """The call's last status; None while there is none."""
        return self._status

    def status(
        self,
        throw_except: bool = True,
        internal_storage: Any = None,  # noqa: ARG002 - kept for programs of 3.x
        check_only: bool = False,
        wait_dur_sec: float = 1,  # noqa: ARG002 - kept for programs of 3.x: completion comes by event
    ) -> dict[str, Any] | None:
        """Wait for the call to end and give its `stats`; with `check_only`, None instead of waiting."""
        if check_only and self._status is None:
            return None
        self._await_status(None)
        if throw_except and self.error:
            raise self._failure_error()
        return self.stats

    def result(
        self,
        throw_except: bool = True,
        internal_storage: Any = None,  # noqa: ARG002 - kept for programs of 3.x
        retries: int = READ_RETRIES,
        wait_dur_sec: float = 1,  # noqa: ARG002 - kept for programs of 3.x
        timeout: float | None = None,
    ) -> Any:
        """Wait for the call to end and give what it returned; futures that it returned are followed.

        Raises what the function raised, a `CallError` that says why it did not return, or `NotSerializable` if what it
        returned cannot be unpickled here; with `throw_except=False` gives None instead. Raises `TimeoutError` after
        `timeout` seconds.
        """
        until = None if timeout is None else time.monotonic() + timeout
        self._await_status(timeout)
        self._read = True
        if self.error:
            if throw_except:
                raise self._failure_error()
            return None
        try:
            value = self.value(retries)
        except NotSerializable:
            if throw_except:
                raise
            return None
        if not self.futures:
            return value

        def follow(future: ResponseFuture) -> Any:
            left = None if until is None else max(0.0, until - time.monotonic())
            return future.result(throw_except, timeout=left)

        return [follow(future) for future in value] if isinstance(value, list) else follow(value)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the call to end and give what it raised, None if it returned."""
        self._await_status(timeout)
        if self.cancelled():
            raise CallCancelled(f"{self!r} was cancelled")
        return self._failure_error() if self.error else None

    def value(self, retries: int = READ_RETRIES) -> Any:
        """What the function returned, futures as they are. Only for calls that returned.

        While the storage is unavailable, reading is tried again `retries` times.
        """
        if self._value is _UNREAD:
            assert self._status is not None
            assert self._status.result is not None
            body = read_patiently(self.job.owner, self._status.result, retries)
            try:
                self._value = load(body)
            except (Exception, SystemExit) as reason:
                raise NotSerializable(
                    f"call {self.call_id} of job {self.job_key} ({self.function_name}) returned what cannot be "
                    f"unpickled here: {type(reason).__name__}: {reason}; return plain data instead"
                ) from reason
        return self._value

    def __await__(self) -> Generator[Any, None, Any]:
        return await_result(self)

    def _await_status(self, timeout: float | None) -> None:
        if self._status is not None:
            return
        event = threading.Event()

        def tell(_: ResponseFuture) -> None:
            event.set()

        self.add_done_callback(tell)
        if not self.job.owner.wait(event, timeout):
            self.remove_done_callback(tell)
            raise TimeoutError(f"{self!r} has not ended after {timeout} s; it goes on")

    def _failure_error(self) -> BaseException:
        assert self._status is not None
        failure = self._status.failure
        assert failure is not None
        return self._error(failure)

    def _error(self, failure: Failure) -> BaseException:
        body = None if failure.exception is None else bytes(self.job.owner.read(failure.exception))
        return error_of(failure, body)

    # ------------------------------------------------------------ elsewhere

    def __reduce__(self) -> tuple[Any, ...]:
        self.job.owner.share(self)
        job = self.job
        return _restore, (
            {
                "executor_id": job.executor_id,
                "job_id": job.job_id,
                "job_key": job.job_key,
                "function_name": job.function_name,
                "runtime_memory": job.runtime_memory,
                "storage": job.storage,
                "last_attempt": job.last_attempt,
                "give_up_s": job.give_up_s,
                "single": job.single,
                "intermediate": job.intermediate,
                "stats": job.stats,
            },
            self.index,
        )


def _restore(job: dict[str, Any], index: int) -> ResponseFuture:
    # By name, since what waits on a storage lies above this layer.
    remote = importlib.import_module("lithops.monitor.remote")
    future: ResponseFuture = remote.adopt(job, index)
    return future

"""Calls whose inputs are results of other calls: each is sent as soon as all its inputs are there.

The results do not pass through the user's program: the worker gets them as they were reported, inline or by key.
"""

from __future__ import annotations

import math
import pickle
import threading
from collections.abc import Sequence
from typing import Any

import cloudpickle

from lithops.exceptions import InvalidCall, LithopsError
from lithops.future import ResponseFuture
from lithops.monitor.monitor import JobMonitor
from lithops.prepare.upload import Uploader
from lithops.wait import flatten
from lithops.wire.failures import failure_of
from lithops.wire.messages import Blob, Call, Failure, FailureKind, InlineBlob, StoredBlob
from lithops.wire.pickles import dump, join


def follow(
    monitor: JobMonitor,
    uploader: Uploader,
    job_key: str,
    inputs: Sequence[Sequence[ResponseFuture]],
    *,
    not_before: int = 0,
) -> None:
    """Send call `i` of the job once all futures of `inputs[i]` have returned; if one fails, the call fails so too.

    No call is sent before `not_before` percent of all these futures have ended.
    """
    waiting = [_Waiting(monitor, uploader, job_key, index, futures) for index, futures in enumerate(inputs)]
    # One call alone needs all of them anyway.
    if not_before and len(waiting) > 1:
        _Threshold(waiting, not_before).start()
    for each in waiting:
        each.start()


def as_futures(iterdata: Any) -> list[ResponseFuture]:
    """The futures that `iterdata` consists of; none if it holds other data."""
    if not isinstance(iterdata, list) or not iterdata:
        return []
    futures = [item for item in iterdata if isinstance(item, ResponseFuture)]
    if futures and len(futures) < len(iterdata):
        raise InvalidCall(
            "the input data mixes futures and other data: use a list of futures alone, or their results"
        )
    # The futures of a map_reduce stand for its result, unless they are picked out of it.
    return [future for future in futures if not future.job.intermediate] or futures


def group_by_source(mapped: Sequence[ResponseFuture], sources: Sequence[int]) -> list[list[ResponseFuture]]:
    """The futures of each object's parts, for a reducer each."""
    groups: dict[int, list[ResponseFuture]] = {}
    for future, source in zip(mapped, sources, strict=True):
        groups.setdefault(source, []).append(future)
    return list(groups.values())


class _Waiting:
    """One call, until its inputs are there."""

    def __init__(
        self,
        monitor: JobMonitor,
        uploader: Uploader,
        job_key: str,
        index: int,
        futures: Sequence[ResponseFuture],
    ) -> None:
        self._monitor = monitor
        self._uploader = uploader
        self._job_key = job_key
        self._index = index
        self.futures = futures
        self._missing = len(futures)
        self._lock = threading.Lock()

    def start(self) -> None:
        if not self.futures:
            self._monitor.push(self._job_key, [Call(self._index, ())])
        for future in self.futures:
            future.add_done_callback(self._ended)

    def _ended(self, future: ResponseFuture) -> None:
        try:
            self._take_in(future)
        except LithopsError as error:
            self._give_up(error)

    def _give_up(self, error: LithopsError) -> None:
        # An input that cannot be read is this call's failure: it would wait for ever otherwise.
        self._monitor.fail(self._job_key, self._index, failure_of(error, pickle.dumps))

    def _take_in(self, future: ResponseFuture) -> None:
        status = future.settled_status()
        assert status is not None
        if status.failure is not None:
            self._monitor.fail(self._job_key, self._index, _inherited(status.failure, future, self._monitor))
            return
        returned = flatten(future.value(retries=0)) if future.futures else []
        for inner in returned:
            self.need()
            inner.add_done_callback(self._ended)
        self.got_one()

    def need(self) -> None:
        """There is one thing more to wait for."""
        with self._lock:
            self._missing += 1

    def got_one(self) -> None:
        """One of the things to wait for is there."""
        with self._lock:
            self._missing -= 1
            complete = self._missing == 0
        if complete:
            try:
                inputs = tuple([_result_of(future, self._monitor) for future in self.futures])
                call = self._uploader.fit(Call(self._index, inputs), self._job_key)
            except LithopsError as error:
                self._give_up(error)
            else:
                self._monitor.push(self._job_key, [call])


class _Threshold:
    """Holds calls back until a part of all their inputs has ended."""

    def __init__(self, waiting: Sequence[_Waiting], percent: int) -> None:
        self._waiting = waiting
        self._missing = math.ceil(sum(len(each.futures) for each in waiting) * percent / 100)
        self._lock = threading.Lock()

    def start(self) -> None:
        for each in self._waiting:
            each.need()
        for each in self._waiting:
            for future in each.futures:
                future.add_done_callback(self._ended)

    def _ended(self, future: ResponseFuture) -> None:  # noqa: ARG002 - which one makes no difference
        with self._lock:
            self._missing -= 1
            reached = self._missing == 0
        if reached:
            for each in self._waiting:
                each.got_one()


def _result_of(future: ResponseFuture, monitor: JobMonitor) -> Blob:
    """The result as a blob that the job's own workers can read; of futures that were returned, their results."""
    if future.futures:
        return InlineBlob(join(dump(future.result(retries=0), cloudpickle.dumps)))
    status = future.settled_status()
    assert status is not None
    assert status.result is not None
    if isinstance(status.result, StoredBlob) and future.job.owner is not monitor:
        return InlineBlob(bytes(future.job.owner.read(status.result)))
    return status.result


def _inherited(failure: Failure, future: ResponseFuture, monitor: JobMonitor) -> Failure:
    """The failure of an input as that of the call which needs it."""
    if failure.kind is FailureKind.RAISED:
        exception = failure.exception
        if isinstance(exception, StoredBlob) and future.job.owner is not monitor:
            exception = InlineBlob(bytes(future.job.owner.read(exception)))
        return Failure(failure.kind, failure.type_name, failure.message, failure.traceback, exception)
    message = f"its input, call {future.call_id} of job {future.job_key}, failed: {failure.message}"
    return Failure(failure.kind, failure.type_name, message, failure.traceback)

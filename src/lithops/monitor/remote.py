"""Futures that came from another process: their statuses are found in the storage that both share.

One thread in each process watches them all, and ends when there are none left.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Iterable
from typing import Any

from lithops.exceptions import InvalidCall, LithopsError, StorageUnavailable
from lithops.future import ResponseFuture
from lithops.job import JobInfo
from lithops.monitor.pace import Pace
from lithops.monitor.sources.storage import read_statuses
from lithops.storage.base import StorageBackend
from lithops.storage.registry import from_reference
from lithops.wire.keys import status_prefix
from lithops.wire.messages import Blob, CallStatus, Failure, FailureKind, Phase, StorageRef
from lithops.wire.pickles import Buffer
from lithops.worker.fetch import read_blob

_INTERVAL_S = 0.5


def adopt(job: dict[str, Any], index: int) -> ResponseFuture:
    """The future of a call that another process made, watched from here."""
    reference: StorageRef = job["storage"]
    watcher = _watcher(reference.backend, reference.bucket, tuple(sorted(reference.options.items())))
    future = ResponseFuture(JobInfo(owner=watcher, **job), index)
    watcher.watch(future)
    return future


@functools.cache
def _watcher(backend: str, bucket: str, options: tuple[tuple[str, Any], ...]) -> RemoteWatcher:
    return RemoteWatcher(from_reference(StorageRef(backend, bucket, dict(options))), bucket)


class RemoteWatcher:
    """Settles futures of other processes from one storage."""

    def __init__(self, storage: StorageBackend, bucket: str) -> None:
        self._storage = storage
        self._bucket = bucket
        self._seen: dict[str, set[str]] = {}
        """For each job that is waited for, the keys of the statuses that have been read."""
        self._pace = Pace(_INTERVAL_S)
        self._awake = threading.Event()
        self._waiting: dict[tuple[str, int], list[tuple[ResponseFuture, float]]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, future: ResponseFuture) -> None:
        """Settle this future when its status is found, or as lost when it is not found in time."""
        until = time.monotonic() + future.job.give_up_s
        with self._lock:
            self._waiting.setdefault((future.job_key, future.index), []).append((future, until))
            # A status that was seen before this future came must be seen again.
            self._seen[future.job_key] = set()
            self._pace.start(time.monotonic())
            self._awake.set()
            # In a forked child the thread is there, but does not live.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, daemon=True, name="lithops-remote-futures")
                self._thread.start()

    def read(self, blob: Blob) -> Buffer:
        return read_blob(blob, self._storage, self._bucket)

    def cancel(self, job_key: str, indexes: Iterable[int]) -> None:
        raise InvalidCall(
            f"calls {sorted(indexes)} of job {job_key} belong to another process: cancel them there"
        )

    def share(self, future: ResponseFuture) -> None:
        """Nothing to do: its status is, or will be, where this process looks for it as well."""

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        if self.settles_here() and not event.is_set():
            raise InvalidCall(
                "a callback waits for a call that has not ended: let it hand over to another thread"
            )
        return event.wait(timeout_s)

    def settles_here(self) -> bool:
        return threading.current_thread() is self._thread

    def _run(self) -> None:
        while True:
            try:
                statuses = [*self._look(), *self._expired(time.monotonic())]
            except LithopsError as error:
                statuses = self._given_up(math.inf, FailureKind.LOST, f"its status cannot be read: {error}")
            stamp = time.time()
            for status in statuses:
                self._settle(status, stamp)
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                self._awake.clear()
            self._pace.looked(time.monotonic(), len(statuses))
            self._awake.wait(self._pace.due - time.monotonic())

    def _look(self) -> list[CallStatus]:
        statuses: list[CallStatus] = []
        with self._lock:
            jobs = list(self._seen.items())
        for job_key, seen in jobs:
            try:
                listed = self._storage.list(self._bucket, status_prefix(job_key))
                new = [info.key for info in listed if info.key not in seen]
            except StorageUnavailable:
                continue  # what was not found now is found later; every future has a time to give up
            for key, found in read_statuses(self._storage, self._bucket, new):
                seen.add(key)
                statuses += found
        return statuses

    def _settle(self, status: CallStatus, stamp: float) -> None:
        with self._lock:
            waiting = self._waiting.get((status.job_key, status.index), [])
            if not waiting or not _is_final(status, waiting[0][0].job.last_attempt):
                return
            del self._waiting[status.job_key, status.index]
            if not any(job_key == status.job_key for job_key, _ in self._waiting):
                self._seen.pop(status.job_key, None)
        for future, _ in waiting:
            future.settle(status, stamp)

    def _expired(self, now: float) -> list[CallStatus]:
        message = "nothing was heard of the call in time; the program that made it may have ended, or cleaned its data"
        return self._given_up(now, FailureKind.TIMEOUT, message)

    def _given_up(self, before: float, kind: FailureKind, message: str) -> list[CallStatus]:
        """The calls whose time is up before this one as lost."""
        with self._lock:
            late = [
                key for key, waiting in self._waiting.items() if all(until < before for _, until in waiting)
            ]
            attempts = {key: self._waiting[key][0][0].job.last_attempt for key in late}
        failure = Failure(kind, kind.value, message)
        return [CallStatus(*key, Phase.LOST, attempt=attempts[key], failure=failure) for key in late]


def _is_final(status: CallStatus, last_attempt: int) -> bool:
    """Whether no other attempt can follow this one."""
    return status.phase in (Phase.RETURNED, Phase.CANCELLED) or status.attempt >= last_attempt

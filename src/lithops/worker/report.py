"""From what a call did to what travels of it: its result or failure as blobs, and the status as an object."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lithops.exceptions import AlreadyExists, NotSerializable, StorageError
from lithops.storage.base import StorageBackend
from lithops.wire.codec import statuses_to_text
from lithops.wire.failures import failure_of
from lithops.wire.keys import result_key, status_key
from lithops.wire.messages import Blob, Call, CallStatus, Failure, InlineBlob, JobSpec, StoredBlob, Task
from lithops.wire.pickles import Buffer, dump, join, size

logger = logging.getLogger(__name__)

_GATHER_S = 0.1
"""How long a status may wait for others of its task, so that they share a request."""
_REPLY_BYTES = 5_000_000
"""A response may have so many; the least that a cloud allows is 6 MB."""
_PLAIN_TYPES = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Types whose exact instances pickle needs no help with: it is ten times as fast as cloudpickle."""


def pack_result(value: Any) -> list[Buffer]:
    """The result as segments. Raises `NotSerializable` with the reason."""
    try:
        if type(value) in _PLAIN_TYPES:
            return [pickle.dumps(value, 5)]
        return dump(value, _dumps)
    except MemoryError:
        raise
    except Exception as reason:
        raise NotSerializable(
            f"the function returned {_described(value)}, which cannot be pickled: {reason}; "
            "return plain data instead, or put it in storage and return its name"
        ) from reason


def _dumps(value: Any, **options: Any) -> bytes:
    """cloudpickle's `dumps`: it takes a third of a worker's start to import, which plain results do without."""
    import cloudpickle

    pickled: bytes = cloudpickle.dumps(value, **options)
    return pickled


def holds_futures(value: Any) -> bool:
    """Whether a result is a future, or a list of nothing but futures, of an executor that the function made."""
    future = sys.modules.get("lithops.future")
    if future is None:
        return False
    items = value if isinstance(value, list) and value else [value]
    return all(isinstance(item, future.ResponseFuture) for item in items)


def ship_result(
    segments: list[Buffer], call: Call, job: JobSpec, storage: StorageBackend
) -> tuple[Blob, int, float]:
    """The result as a blob, its size in bytes, and the seconds that storing it took."""
    length = size(segments)
    if length <= job.inline_limit:
        return InlineBlob(join(segments)), length, 0.0
    started = time.time()
    key = result_key(job.job_key, call.index, _new_token())
    storage.put(job.storage.bucket, key, segments)
    return StoredBlob(key), length, time.time() - started


def ship_failure(
    error: BaseException, call: Call, job: JobSpec, storage: StorageBackend, *, skip: int
) -> Failure:
    """The failure; an exception too large for a message is stored, one that cannot be is left to its words."""
    failure = failure_of(error, _dumps, skip_frames=skip)
    blob = failure.exception
    if isinstance(blob, InlineBlob) and len(blob.data) > job.inline_limit:
        key = result_key(job.job_key, call.index, _new_token())
        try:
            storage.put(job.storage.bucket, key, blob.data)
            failure = replace(failure, exception=StoredBlob(key))
        except StorageError:
            failure = replace(failure, exception=None)
    return failure


class StoredReports:
    """Puts what a task's calls report into the storage: statuses of short calls together, each within a moment.

    For `reply_s` seconds somebody waits for the response to the request that brought the task: until then statuses
    are kept, and may go there.
    """

    def __init__(self, task: Task, storage: StorageBackend) -> None:
        self._bucket = task.job.storage.bucket
        self._storage = storage
        self._calls_left = len(task.calls)
        self._reply_until = time.monotonic() + task.reply_s if task.reply_s else 0.0
        self._waiting: list[CallStatus] = []
        self._part = 0
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()
        self._committing = threading.Lock()

    def report(self, status: CallStatus) -> None:
        with self._lock:
            self._waiting.append(status)
            self._calls_left -= 1
            if self._timer is None and self._calls_left:
                # The next call may take its time, and nobody shall wait for it.
                wait_s = max(_GATHER_S, self._reply_until - time.monotonic())
                self._timer = threading.Timer(wait_s, self._commit_early)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """The task has ended: everything is committed now. Raises `StorageError` where it cannot be."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
        self._commit()

    def reply(self) -> list[CallStatus]:
        """The task has ended: what is to go into the response. The rest is committed, all of it where it is too late
        or too much for a response."""
        with self._lock:
            fits = sum(map(_reply_bytes, self._waiting)) <= _REPLY_BYTES
            if fits and time.monotonic() < self._reply_until:
                statuses, self._waiting = self._waiting, []
            else:
                statuses = []
        self.close()
        return statuses

    def _commit_early(self) -> None:
        with self._lock:
            self._timer = None
        try:
            self._commit()
        except StorageError as error:
            logger.warning("a call's report has to wait: %s", error)

    def _commit(self) -> None:
        with self._committing:
            with self._lock:
                statuses, self._waiting = self._waiting, []
            if statuses:
                try:
                    self._part = commit(statuses, self._part, self._bucket, self._storage)
                except StorageError:
                    with self._lock:
                        self._waiting = statuses + self._waiting
                    raise


def commit(statuses: Sequence[CallStatus], part: int, bucket: str, storage: StorageBackend) -> int:
    """Store statuses of one task where the client looks for them, as its part `part` or later; gives the next one.

    Another activation of the same task may have taken that part. What it reported came first, and counts.
    """
    message = statuses_to_text(statuses)
    while True:
        key = status_key(statuses[0].job_key, statuses[0].task_id, part)
        part += 1
        try:
            storage.put(bucket, key, message, if_absent=True)
        except AlreadyExists:
            continue
        return part


def _reply_bytes(status: CallStatus) -> int:
    """The most that the status takes of a response: bytes are written as base64, and characters may take six."""
    blobs = (status.result, status.failure.exception if status.failure else None)
    inline = sum(len(blob.data) for blob in blobs if isinstance(blob, InlineBlob))
    words = len(status.logs) + (len(status.failure.traceback) if status.failure else 0)
    return 1000 + inline * 4 // 3 + words * 6


def _new_token() -> str:
    return os.urandom(6).hex()


def _described(value: Any) -> str:
    name = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return f"an object of type {name}"

"""From what a call did to what travels of it: its result or failure as blobs, and the status as an object."""

from __future__ import annotations

import pickle
import sys
import time
from dataclasses import replace
from typing import Any

from lithops.exceptions import AlreadyExists, NotSerializable, StorageError
from lithops.storage.base import StorageBackend
from lithops.wire.codec import statuses_to_text
from lithops.wire.failures import failure_of
from lithops.wire.keys import result_key, status_key
from lithops.wire.messages import Blob, Call, CallStatus, Failure, InlineBlob, JobSpec, StoredBlob
from lithops.wire.pickles import Buffer, dump, join, size

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
    key = result_key(job.job_key, call.index, call.attempt)
    storage.put(job.storage.bucket, key, segments)
    return StoredBlob(key), length, time.time() - started


def ship_failure(
    error: BaseException, call: Call, job: JobSpec, storage: StorageBackend, *, skip: int
) -> Failure:
    """The failure; an exception too large for a message is stored, one that cannot be is left to its words."""
    failure = failure_of(error, _dumps, skip_frames=skip)
    blob = failure.exception
    if isinstance(blob, InlineBlob) and len(blob.data) > job.inline_limit:
        key = result_key(job.job_key, call.index, call.attempt)
        try:
            storage.put(job.storage.bucket, key, blob.data)
            failure = replace(failure, exception=StoredBlob(key))
        except StorageError:
            failure = replace(failure, exception=None)
    return failure


def commit(status: CallStatus, bucket: str, storage: StorageBackend) -> bool:
    """Store the status where the client looks for it; False if another activation of the call was first."""
    key = status_key(status.job_key, status.index, status.attempt)
    try:
        storage.put(bucket, key, statuses_to_text([status]), if_absent=True)
    except AlreadyExists:
        return False
    return True


def _described(value: Any) -> str:
    name = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    return f"an object of type {name}"

"""Statuses of settled calls, for processes that have their futures."""

from __future__ import annotations

from dataclasses import replace

from lithops.future import ResponseFuture
from lithops.storage.base import StorageBackend
from lithops.wire.codec import statuses_to_text
from lithops.wire.keys import published_status_key


def publish(future: ResponseFuture, storage: StorageBackend, bucket: str) -> None:
    """Store the status as a worker would have, marked as the last attempt's: no other follows."""
    status = future.settled_status()
    assert status is not None
    final = replace(status, attempt=future.job.last_attempt)
    key = published_status_key(final.job_key, final.index)
    storage.put(bucket, key, statuses_to_text([final]))

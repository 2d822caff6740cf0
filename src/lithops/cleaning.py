"""Removing what executors have put into storage."""

from __future__ import annotations

from collections.abc import Iterable

from lithops.future import ResponseFuture
from lithops.storage.base import StorageBackend
from lithops.wire.keys import (
    FUNCTIONS_PREFIX,
    cloudobject_key,
    executor_prefix,
    job_prefix,
)


class Cleaner:
    """Removes one executor's objects from its bucket."""

    def __init__(self, storage: StorageBackend, bucket: str, executor_id: str) -> None:
        self._storage = storage
        self._bucket = bucket
        self._executor_id = executor_id

    def clean(self, job_keys: Iterable[str], *, cloudobjects: bool, functions: bool) -> None:
        """Remove the objects of these jobs; cloud objects, and functions of all the bucket's users, only if asked."""
        keys = sorted(job_keys)
        prefixes = [job_prefix(key) for key in keys]
        if cloudobjects:
            prefixes += [cloudobject_key(owner, "") for owner in (self._executor_id, *keys)]
        if functions:
            prefixes.append(FUNCTIONS_PREFIX)
        for prefix in prefixes:
            self._remove(prefix)

    def clean_all(self) -> None:
        """Remove everything of this executor's jobs."""
        if self._storage.bucket_exists(self._bucket):
            self._remove(executor_prefix(self._executor_id))

    def _remove(self, prefix: str) -> None:
        keys = [info.key for info in self._storage.list(self._bucket, prefix)]
        if keys:
            self._storage.delete(self._bucket, keys)


def unread_jobs(futures: Iterable[ResponseFuture]) -> set[str]:
    """The keys of jobs some of whose results somebody may still want to read."""
    return {
        future.job_key
        for future in futures
        if not (future.error or future.was_read or (future.done and future.job.intermediate))
    }

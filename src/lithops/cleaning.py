"""Removing what executors have put into storage."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from lithops.exceptions import NoSuchBucket
from lithops.future import ResponseFuture
from lithops.ledger import WHOLE_EXECUTOR, Ledger, pages
from lithops.storage.base import StorageBackend
from lithops.wire.keys import cloudobject_key, executor_prefix, functions_prefix, job_prefix


class Cleaner:
    """Removes one executor's objects from its bucket."""

    def __init__(self, storage: StorageBackend, bucket: str, executor_id: str, ledger: Ledger) -> None:
        self._storage = storage
        self._bucket = bucket
        self._executor_id = executor_id
        self._ledger = ledger

    def clean(
        self, futures: Iterable[ResponseFuture], *, unread: bool, objects: bool, functions: bool
    ) -> None:
        """Remove the objects of these futures' jobs; only if asked those of jobs whose results nobody has read yet,
        cloud objects, and the executor's functions."""
        futures = list(futures)
        jobs = {future.job_key for future in futures}
        keys = sorted(jobs if unread else jobs - _unread_jobs(futures))
        prefixes = [job_prefix(key) for key in keys]
        if objects:
            prefixes += [cloudobject_key(owner, "") for owner in (self._executor_id, *keys)]
        if functions:
            prefixes.append(functions_prefix(self._executor_id))
        for prefix in prefixes:
            self._remove(prefix)

    def clean_all(self) -> None:
        """Remove everything of this executor, but the cloud objects, which are the user's."""
        with contextlib.suppress(NoSuchBucket):  # it has stored nothing
            self._remove(executor_prefix(self._executor_id))

    def _remove(self, prefix: str) -> None:
        keys = [info.key for info in self._storage.list(self._bucket, prefix)]
        self._ledger.count(WHOLE_EXECUTOR, list=pages(len(keys)))
        if keys:
            self._storage.delete(self._bucket, keys)
            self._ledger.count(WHOLE_EXECUTOR, delete=pages(len(keys)))


def _unread_jobs(futures: Iterable[ResponseFuture]) -> set[str]:
    """The keys of jobs some of whose results somebody may still want to read."""
    return {
        future.job_key
        for future in futures
        if not (future.error or future.was_read or (future.done and future.job.intermediate))
    }

"""Statuses from object storage: a listing of what is new in each job, then a read of each new object."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from lithops.clock import Clock
from lithops.exceptions import StorageNoSuchKeyError, StorageUnavailable
from lithops.storage.base import StorageBackend
from lithops.wire.codec import statuses_from_text
from lithops.wire.keys import status_prefix
from lithops.wire.messages import CallStatus

_SHORTEST_S = 0.02


class StorageSource:
    """Polls the status objects of the jobs that it watches, quickly while they come and less often while not."""

    def __init__(self, storage: StorageBackend, bucket: str, *, interval_s: float, clock: Clock) -> None:
        self._storage = storage
        self._bucket = bucket
        self._longest_s = interval_s
        self._clock = clock
        self._seen: dict[str, set[str]] = {}
        self._awake = threading.Event()
        self._pause_s = _SHORTEST_S

    def receive(self, timeout_s: float) -> Sequence[CallStatus]:
        statuses = self._poll()
        if not statuses and timeout_s > 0:
            self._clock.wait(self._awake, min(timeout_s, self._pause_s) if self._seen else timeout_s)
            self._awake.clear()
            self._pause_s = min(2 * self._pause_s, self._longest_s)
            statuses = self._poll()
        if statuses:
            self._pause_s = _SHORTEST_S
        return statuses

    def wake(self) -> None:
        self._awake.set()

    def watch(self, job_key: str) -> None:
        self._seen.setdefault(job_key, set())
        self._pause_s = _SHORTEST_S

    def forget(self, job_key: str) -> None:
        self._seen.pop(job_key, None)

    def _poll(self) -> list[CallStatus]:
        statuses: list[CallStatus] = []
        for job_key, seen in list(self._seen.items()):
            try:
                for info in self._storage.list(self._bucket, status_prefix(job_key)):
                    if info.key not in seen:
                        statuses += statuses_from_text(self._storage.get(self._bucket, info.key))
                        seen.add(info.key)
            except (StorageUnavailable, StorageNoSuchKeyError):
                # What was not read now is read in a later round; every call has a deadline besides.
                continue
        return statuses

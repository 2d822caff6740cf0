"""Statuses from object storage: listings of what is new, then reads of all that they found at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from itertools import groupby

from lithops.clock import Clock
from lithops.exceptions import StorageNoSuchKeyError, StorageUnavailable
from lithops.ledger import Ledger, pages
from lithops.monitor.pace import Pace
from lithops.storage.base import StorageBackend
from lithops.storage.bulk import read_many
from lithops.wire.codec import statuses_from_text
from lithops.wire.keys import status_prefix, task_of, task_status_prefix
from lithops.wire.messages import CallStatus

logger = logging.getLogger(__name__)

_OUTAGE_S = 300.0
"""How long the storage may be unavailable before the calls are given up."""
_PAGE = 1000
"""How many objects one request lists."""


class StorageSource:
    """Implements `StatusSource`. A look lists only from the earliest task in flight on, and leaves out long stretches
    of tasks that have ended: what a job costs does not grow with what it has behind it."""

    def __init__(
        self,
        storage: StorageBackend,
        bucket: str,
        *,
        interval_s: float,
        clock: Clock,
        ledger: Ledger | None = None,
    ) -> None:
        self._storage = storage
        self._bucket = bucket
        self._ledger = ledger
        self._clock = clock
        self._pace = Pace(interval_s)
        self._expected: dict[str, dict[int, set[str]]] = {}
        """For each job its tasks in flight, with the keys that were read of each."""
        self._later: dict[int, tuple[float, str]] = {}
        """Tasks whose statuses may come otherwise until a time, in the order of these times, with their jobs."""
        self._awake = threading.Event()
        self._out_since: float | None = None
        """Since when the storage has been unavailable."""

    def receive(self, timeout_s: float) -> Sequence[CallStatus]:
        now = self._clock.now()
        self._expect_what_is_late(now)
        rest_s = self._pace.due - now if self._expected else timeout_s
        if self._later:
            rest_s = min(rest_s, next(iter(self._later.values()))[0] - now)
        if rest_s > 0:
            self._clock.wait(self._awake, min(timeout_s, rest_s))
            self._awake.clear()
            now = self._clock.now()
        if not self._expected or now < self._pace.due:
            return []
        statuses = self._look()
        self._pace.looked(now, len(statuses))
        return statuses

    def wake(self) -> None:
        self._awake.set()

    def hurry(self) -> None:
        self._pace.due = self._clock.now()

    def sent(self, job_key: str, task_id: int, after_s: float = 0.0) -> None:
        if after_s:
            self._later[task_id] = self._clock.now() + after_s, job_key
        else:
            self._later.pop(task_id, None)
            self._expect(job_key, task_id)

    def _expect_what_is_late(self, now: float) -> None:
        while self._later:
            task_id, (due, job_key) = next(iter(self._later.items()))
            if due > now:
                break
            del self._later[task_id]
            self._expect(job_key, task_id)

    def _expect(self, job_key: str, task_id: int) -> None:
        if not self._expected:
            self._pace.start(self._clock.now())
        self._expected.setdefault(job_key, {}).setdefault(task_id, set())

    def finished(self, job_key: str, task_id: int) -> None:
        self._later.pop(task_id, None)
        tasks = self._expected.get(job_key, {})
        tasks.pop(task_id, None)
        if not tasks:
            self._expected.pop(job_key, None)

    def _look(self) -> list[CallStatus]:
        statuses: list[CallStatus] = []
        for job_key, tasks in self._expected.items():
            try:
                new = self._new_keys(job_key, tasks)
            except StorageUnavailable as error:
                self._note_outage(error)
                continue
            self._out_since = None
            # A worker has put each of them.
            self._count(job_key, get=len(new), put=len(new))
            for key, found in read_statuses(self._storage, self._bucket, new):
                tasks[task_of(key)].add(key)
                statuses += found
        return statuses

    def _note_outage(self, error: StorageUnavailable) -> None:
        """What was not found now is found later, unless it takes too long."""
        now = self._clock.now()
        if self._out_since is None:
            self._out_since = now
            logger.warning("reports of calls cannot be read for now: %s", error)
        elif now - self._out_since > _OUTAGE_S:
            raise error

    def _new_keys(self, job_key: str, tasks: dict[int, set[str]]) -> list[str]:
        new: list[str] = []
        for first, last in spans(tasks):
            start_after = task_status_prefix(job_key, first)
            listed = 0
            for info in self._storage.list(self._bucket, status_prefix(job_key), start_after):
                listed += 1
                task_id = task_of(info.key)
                if not 0 <= task_id <= last:
                    break
                if task_id in tasks and info.key not in tasks[task_id]:
                    new.append(info.key)
            self._count(job_key, list=pages(listed))
        return new

    def _count(self, job_key: str, **requests: int) -> None:
        if self._ledger is not None:
            self._ledger.count(job_key, **requests)


def read_statuses(
    storage: StorageBackend, bucket: str, keys: Sequence[str]
) -> Iterable[tuple[str, list[CallStatus]]]:
    """The statuses of these objects, as far as they can be read now. `keys` are in order.

    Of a task's parts none is given before an earlier one: all readers see the same report of a call first.
    """
    bodies = dict(zip(keys, read_many(storage, bucket, keys), strict=True))
    for _, parts in groupby(keys, task_of):
        for key in parts:
            body = bodies[key]
            if isinstance(body, StorageUnavailable | StorageNoSuchKeyError):
                break
            if isinstance(body, Exception):
                raise body
            yield key, statuses_from_text(body)


def spans(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The ranges, both ends included, that hold all these numbers and no stretch of a page without any."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and number - found[-1][1] <= _PAGE:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return found

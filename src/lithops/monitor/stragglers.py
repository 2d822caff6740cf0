"""Which tasks take much longer than their job's other calls took, and deserve a second runner. Pure.

A task counts as late when nothing has been heard of it for several times as long as a call of its job usually takes.
That is judged towards the end of a job, when most of its calls have ended and others of its size can be compared.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field

from lithops.wire.messages import CallStatus

_FROM = 0.75
"""The part of a job's calls that must have ended before others are called late."""
_TIMES_THE_MEDIAN = 3.0
_LEAST_S = 0.5
"""Nothing is late before: a second runner is not worth its cost."""


@dataclass(slots=True)
class _Watched:
    """A job whose late calls get a second runner."""

    calls: int
    tasks: dict[int, float] = field(default_factory=dict)
    """When each task in flight was last heard of."""
    took_s: list[float] = field(default_factory=list)
    """How long calls took to be heard of, in ascending order."""

    @property
    def patience_s(self) -> float | None:
        """How long a task may be silent; None while there is too little to compare with."""
        if len(self.took_s) < _FROM * self.calls:
            return None
        return max(_LEAST_S, _TIMES_THE_MEDIAN * self.took_s[len(self.took_s) // 2])


class Stragglers:
    """Told what the tracker is told of the jobs that ask for it; names each late task once."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Watched] = {}

    def add_job(self, job_key: str, calls: int) -> None:
        self._jobs[job_key] = _Watched(calls)

    def drop_job(self, job_key: str) -> None:
        self._jobs.pop(job_key, None)

    def sent(self, task_id: int, job_key: str, now: float) -> None:
        """A task is on its way."""
        if job_key in self._jobs:
            self._jobs[job_key].tasks[task_id] = now

    def heard(self, settled: Sequence[CallStatus], finished_tasks: Sequence[int], now: float) -> None:
        """These calls have ended, and these tasks."""
        if not self._jobs:
            return
        for status in settled:
            job = self._jobs.get(status.job_key)
            since = None if job is None else job.tasks.get(status.task_id)
            if job is not None and since is not None:
                bisect.insort(job.took_s, now - since)
                job.tasks[status.task_id] = now
        for job in self._jobs.values():
            for task_id in finished_tasks:
                job.tasks.pop(task_id, None)

    def late(self, now: float) -> list[int]:
        """The tasks that have become late."""
        found: list[int] = []
        for job in self._jobs.values():
            patience_s = job.patience_s
            if patience_s is not None:
                late = [task_id for task_id, since in job.tasks.items() if since + patience_s <= now]
                for task_id in late:
                    del job.tasks[task_id]
                found += late
        return found

    def next_due(self) -> float | None:
        """When a task becomes late, if nothing is heard of it before."""
        times = [
            min(job.tasks.values()) + patience_s
            for job in self._jobs.values()
            if job.tasks and (patience_s := job.patience_s) is not None
        ]
        return min(times, default=None)

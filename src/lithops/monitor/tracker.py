"""What became of every call that was sent: a state machine without clock, thread or I/O.

It takes what was sent, statuses as they arrive (in any order, more than once, or never), times and reports of dead
activations. It gives an `Outcome`: calls that are settled, calls to send again, and tasks that need no slot any more.

::

                 sent                 returned · last failure · deadline · dead · cancelled
    (pending) ─────────► in flight ────────────────────────────────────────────────────────► settled
        ▲                    │
        └────────────────────┘ declined, a failure that is retried, or a twin beside a late attempt
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from lithops.job import RetryPolicy
from lithops.wire.messages import CallStatus, Failure, FailureKind, Phase

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resend:
    """A call that is pending again."""

    job_key: str
    index: int
    attempt: int
    failed: bool
    """After a failure it waits for a while; one that was declined goes at once."""
    alone: bool = False
    """It shared an activation that died: the next is for this call only, so that it is known which one is to blame."""


@dataclass(slots=True)
class Outcome:
    """What followed from what the tracker was told."""

    started: list[CallStatus] = field(default_factory=list)
    settled: list[CallStatus] = field(default_factory=list)
    resend: list[Resend] = field(default_factory=list)
    finished_tasks: list[int] = field(default_factory=list)
    outrun: list[CallStatus] = field(default_factory=list)
    """Those of the settled calls of which another attempt is still under way, for nothing."""


@dataclass(slots=True)
class _Job:
    policy: RetryPolicy
    settled: set[int] = field(default_factory=set)
    attempts: dict[int, int] = field(default_factory=dict)
    """The current attempt of calls that are past their first."""
    racing: dict[int, set[int]] = field(default_factory=dict)
    """The attempts still under way of calls that were given a twin; empty once all of them have failed."""


@dataclass(slots=True)
class _SentTask:
    job_key: str
    activation_id: str
    waiting: dict[int, int]
    """Calls of which nothing final was heard, with their attempts."""


class JobTracker:
    """Knows every call in flight, and settles each exactly once."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Job] = {}
        self._tasks: dict[int, _SentTask] = {}
        self._deadlines: list[tuple[float, int]] = []

    # ------------------------------------------------------------ what is told

    def add_job(self, job_key: str, policy: RetryPolicy) -> None:
        self._jobs[job_key] = _Job(policy)

    def drop_job(self, job_key: str) -> None:
        """All calls of the job are settled: what still arrives of them is ignored."""
        self._jobs.pop(job_key, None)

    def sent(
        self,
        task_id: int,
        job_key: str,
        calls: Iterable[tuple[int, int]],
        *,
        activation_id: str = "",
        deadline: float,
    ) -> None:
        """A task with these calls (index, attempt) is on its way; its time is up at `deadline`."""
        self._tasks[task_id] = _SentTask(job_key, activation_id, dict(calls))
        heapq.heappush(self._deadlines, (deadline, task_id))

    def unsent(self, task_id: int) -> Outcome:
        """The backend did not take the task: its calls are pending again."""
        outcome = Outcome()
        task = self._tasks.get(task_id)
        if task is not None:
            for index, attempt in list(task.waiting.items()):
                self._hear(CallStatus(task.job_key, index, Phase.DECLINED, task_id, attempt), outcome)
        return outcome

    def name(self, task_id: int, activation_id: str) -> None:
        """The backend has taken the task, and calls its activation so."""
        task = self._tasks.get(task_id)
        if task is not None:
            task.activation_id = activation_id

    def hear(self, statuses: Sequence[CallStatus]) -> Outcome:
        """Statuses have arrived."""
        outcome = Outcome()
        for status in statuses:
            self._hear(status, outcome)
        # One status may ask for a call again and a later one settle it, where an activation was delivered twice.
        outcome.resend = [
            again for again in outcome.resend if not self.is_settled(again.job_key, again.index)
        ]
        return outcome

    def expire(self, now: float) -> Outcome:
        """Take calls whose deadline has passed for lost."""
        outcome = Outcome()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, task_id = heapq.heappop(self._deadlines)
            message = "nothing was heard of the call before its deadline; the time allowed is timeout= plus the start"
            self._fail(task_id, Phase.LOST, Failure(FailureKind.TIMEOUT, "timeout", message), outcome)
        return outcome

    def fail(self, task_id: int, failure: Failure) -> Outcome:
        """No activation will take this task: its calls have failed."""
        outcome = Outcome()
        self._fail(task_id, Phase.LOST, failure, outcome)
        return outcome

    def bury(self, task_id: int, failure: Failure) -> Outcome:
        """The activation of this task is dead. The one call that has not reported is lost; several are sent again,
        each alone: the death of an activation costs no other call than the one that caused it."""
        task = self._tasks.get(task_id)
        if task is None or len(task.waiting) == 1:
            return self.fail(task_id, failure)
        outcome = self.unsent(task_id)
        outcome.resend = [replace(again, alone=True) for again in outcome.resend]
        return outcome

    def twin(self, task_id: int) -> Outcome:
        """The task is late: send each of its calls once more, beside it. The first to return counts."""
        outcome = Outcome()
        task = self._tasks.get(task_id)
        job = None if task is None else self._jobs.get(task.job_key)
        if task is not None and job is not None:
            for index, attempt in task.waiting.items():
                if index not in job.settled and index not in job.racing:
                    job.racing[index] = {attempt, attempt + 1}
                    job.attempts[index] = attempt + 1
                    outcome.resend.append(Resend(task.job_key, index, attempt + 1, failed=False))
        return outcome

    def cancel(self, job_key: str, indexes: Iterable[int]) -> Outcome:
        """Settle these calls as cancelled, unless they are settled already. Their tasks keep their slots."""
        failure = Failure(FailureKind.CANCELLED, "cancelled", "the call was cancelled before it returned")
        return self.give_up(CallStatus(job_key, index, Phase.CANCELLED, failure=failure) for index in indexes)

    def give_up(self, statuses: Iterable[CallStatus]) -> Outcome:
        """Settle calls that will never be sent."""
        outcome = Outcome()
        for status in statuses:
            self._settle(status, outcome)
        return outcome

    # ------------------------------------------------------------ what is asked

    def next_deadline(self) -> float | None:
        """When `expire` has something to do, at the latest."""
        while self._deadlines and self._deadlines[0][1] not in self._tasks:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def activations(self) -> dict[str, int]:
        """The tasks in flight, by the names of their activations."""
        return {task.activation_id: task_id for task_id, task in self._tasks.items() if task.activation_id}

    def tasks(self) -> list[int]:
        """The tasks in flight."""
        return list(self._tasks)

    def is_under_way(self, task_id: int) -> bool:
        """Whether something is still expected of the task."""
        return task_id in self._tasks

    def tasks_of(self, job_key: str, indexes: Iterable[int]) -> dict[int, list[int]]:
        """The tasks that hold these calls, with those of the calls that each holds."""
        wanted = set(indexes)
        found = {
            task_id: sorted(wanted & task.waiting.keys())
            for task_id, task in self._tasks.items()
            if task.job_key == job_key
        }
        return {task_id: held for task_id, held in found.items() if held}

    def is_settled(self, job_key: str, index: int) -> bool:
        job = self._jobs.get(job_key)
        return job is None or index in job.settled

    # ------------------------------------------------------------ the rules

    def _hear(self, status: CallStatus, outcome: Outcome) -> None:
        if status.phase is Phase.STARTED:
            if not self.is_settled(status.job_key, status.index):
                outcome.started.append(status)
            return
        held = self._release(status, outcome)
        job = self._jobs.get(status.job_key)
        if job is None or status.index in job.settled:
            return
        current = job.attempts.get(status.index, 0)
        if status.phase is Phase.RETURNED or status.phase is Phase.CANCELLED:
            self._settle(status, outcome)
        elif _is_followed(job, status, current):
            return
        elif status.phase is Phase.DECLINED:
            if not held:
                return  # told twice: it has been sent again already
            outcome.resend.append(Resend(status.job_key, status.index, status.attempt, failed=False))
        elif _is_retried(job, current, status):
            job.attempts[status.index] = current + 1
            outcome.resend.append(Resend(status.job_key, status.index, current + 1, failed=True))
        else:
            self._settle(status, outcome)

    def _release(self, status: CallStatus, outcome: Outcome) -> bool:
        """The task has nothing more to do with this call; False if it had nothing to do with it before."""
        task = self._tasks.get(status.task_id)
        if task is None or task.job_key != status.job_key or task.waiting.get(status.index) != status.attempt:
            return False
        del task.waiting[status.index]
        if not task.waiting:
            del self._tasks[status.task_id]
            outcome.finished_tasks.append(status.task_id)
        return True

    def _settle(self, status: CallStatus, outcome: Outcome) -> None:
        job = self._jobs.get(status.job_key)
        if job is not None and status.index not in job.settled:
            job.settled.add(status.index)
            job.attempts.pop(status.index, None)
            outcome.settled.append(status)
            if job.racing.get(status.index, set()) - {status.attempt}:
                outcome.outrun.append(status)

    def _fail(self, task_id: int, phase: Phase, failure: Failure, outcome: Outcome) -> None:
        task = self._tasks.get(task_id)
        if task is None:
            return
        for index, attempt in list(task.waiting.items()):
            status = CallStatus(
                task.job_key, index, phase, task_id, attempt, task.activation_id, failure=failure
            )
            self._hear(status, outcome)


def _is_followed(job: _Job, status: CallStatus, current: int) -> bool:
    """Whether another attempt has followed this one, or still runs beside it: its failure changes nothing then."""
    racing = job.racing.get(status.index)
    if not racing:
        return status.attempt < current
    if status.phase is Phase.DECLINED and (status.attempt == current or racing == {status.attempt}):
        return False  # it has not run, and stays in the race
    racing.discard(status.attempt)
    return bool(racing)


def _is_retried(job: _Job, attempt: int, status: CallStatus) -> bool:
    """Whether a failure of this attempt is followed by another."""
    # A twin was no retry.
    if attempt - (status.index in job.racing) >= job.policy.retries:
        return False
    try:
        return job.policy.applies(status)
    except Exception:
        # What a user's `retry_on` raises must not stop the calls of others.
        logger.exception(
            "call %d of job %s failed, and so did retry_on: it is not retried", status.index, status.job_key
        )
        return False

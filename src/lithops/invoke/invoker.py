"""From pending calls to tasks that are on their way. Driven by the monitor's thread, and by no other.

Jobs take turns in the order in which they came. A call waits here, at no cost, until there is a slot for it: only from
then on does its deadline run.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from lithops.compute.base import (
    ComputeBackend,
    ComputeError,
    Response,
    ResponseLost,
    RuntimeInfo,
    SupportsResponses,
    Throttled,
)
from lithops.invoke.batches import AdaptiveBatches, Batches, FixedBatches
from lithops.invoke.retry import Throttle, backoff_s
from lithops.invoke.runner import InlineRunner, Runner
from lithops.invoke.slots import Bound, Slot, Slots
from lithops.wire.messages import Call, JobSpec, Task

REPLY_S = 20.0
"""For so long the response to a request is relied on. Networks cut silent connections, after a minute and more."""


_LOOKED_AT = 100


@dataclass(slots=True)
class Sending:
    """A task that is about to be sent, or has just been."""

    task: Task
    runtime: RuntimeInfo
    activation_id: str = ""
    response: Response | None = None
    """What came back on the connection, where its end was waited for."""
    throttled: bool = False
    response_lost: bool = False
    error: str = ""


@dataclass(slots=True)
class _Queue:
    """The calls of one job that are not settled."""

    spec: JobSpec
    runtime: RuntimeInfo
    batches: Batches
    bound: Bound
    backoff_s: float
    pending: deque[Call] = field(default_factory=deque)
    unsettled: dict[int, Call] = field(default_factory=dict)
    alone: set[int] = field(default_factory=set)
    """Calls that share their next activation with no other."""


class Invoker:
    """Decides which calls go next, and hands them to the compute backend. No more than `max_concurrency` of them run at
    once, of whatever jobs; None: as many as the backend can take."""

    def __init__(self, compute: ComputeBackend, *, max_concurrency: int | None = None) -> None:
        self._compute = compute
        self.runner: Runner = InlineRunner()
        """Makes the requests."""
        self.randomness = random.Random()
        """Spreads what is tried again; a simulation seeds it."""
        self._throttle = Throttle(self.randomness, max(1, compute.limits.invoke_threads))
        self._connections = compute.limits.connections if isinstance(compute, SupportsResponses) else 0
        self._slots = Slots(compute.limits.max_activations)
        self._bound = Bound(max_concurrency)
        self._queues: dict[str, _Queue] = {}
        self._delayed: list[tuple[float, int, str, Call]] = []
        self._task_ids = itertools.count()
        self._order = itertools.count()

    @property
    def workers(self) -> int:
        """How many calls run at once at most, where each is a task of its own."""
        return int(min(self._slots.capacity, self._bound.most))

    # ------------------------------------------------------------ what is told

    def add_job(
        self,
        spec: JobSpec,
        runtime: RuntimeInfo,
        *,
        calls_per_task: int | None,
        max_concurrency: int | None,
        backoff_s: float,
    ) -> None:
        batches: Batches
        if calls_per_task is None and self._compute.limits.adaptive_batches:
            batches = AdaptiveBatches()
        else:
            batches = FixedBatches(calls_per_task or 1, dealt=self._compute.limits.adaptive_batches)
        self._queues[spec.job_key] = _Queue(spec, runtime, batches, Bound(max_concurrency), backoff_s)

    def push(self, job_key: str, calls: Iterable[Call]) -> None:
        """These calls of a job are ready to be sent."""
        queue = self._queues[job_key]
        for call in calls:
            queue.unsettled[call.index] = call
            queue.pending.append(call)

    def resend(
        self, job_key: str, index: int, attempt: int, *, failed: bool, now: float, alone: bool = False
    ) -> None:
        """A call is to be sent again: after a failure later, else before all others."""
        queue = self._queues[job_key]
        if alone:
            queue.alone.add(index)
        call = Call(index, queue.unsettled[index].inputs, attempt)
        queue.unsettled[index] = call
        if failed and queue.backoff_s:
            due = now + backoff_s(attempt, queue.backoff_s, self.randomness)
            heapq.heappush(self._delayed, (due, next(self._order), job_key, call))
        elif failed:
            queue.pending.append(call)
        else:
            queue.pending.insert(_place(queue.pending, call), call)

    def settled(self, job_key: str, index: int, task_id: int, busy_s: float) -> None:
        """A call has ended, and took its worker so many seconds."""
        self._slots.add_time(task_id, busy_s)
        queue = self._queues.get(job_key)
        if queue is not None:
            queue.unsettled.pop(index, None)

    def finished(self, task_id: int) -> str:
        """A task needs its slot no more. Gives the key of its job."""
        slot = self._slots.release(task_id)
        queue = self._queues.get(slot.job_key)
        if queue is not None:
            queue.batches.observe(slot.settled, slot.busy_s)
        return slot.job_key

    def drop_job(self, job_key: str) -> None:
        """All calls of the job are settled."""
        self._queues.pop(job_key, None)

    # ------------------------------------------------------------ what is done

    def pump(
        self, now: float, departing: Callable[[Sending], None], answered: Callable[[Sending], None]
    ) -> None:
        """Send what may be sent now. `departing` is told of each task before it goes, and `answered` when the backend
        has taken, refused or answered it: whoever is told calls `heard`."""
        self._return_delayed(now)
        while self._throttle.admits(now):
            sending = self._next()
            if sending is None:
                break
            departing(sending)
            self._throttle.sent(sending.task.task_id, now)
            self._send(sending, answered)

    def heard(self, sending: Sending, now: float) -> None:
        """The backend has taken, refused or answered this task."""
        if sending.task.reply_s:
            self._connections += 1
        if sending.throttled:
            self._throttle.refused(sending.task.task_id, now)
        elif sending.error:
            self._throttle.failed(sending.task.task_id)
        else:
            self._throttle.accepted(sending.task.task_id)

    def repeat(self, sending: Sending, answered: Callable[[Sending], None]) -> None:
        """Send a task once more whose response was lost: what it reports goes through the storage."""
        self._send(Sending(replace(sending.task, reply_s=0.0), sending.runtime), answered)

    def _send(self, sending: Sending, answered: Callable[[Sending], None]) -> None:
        self.runner.run(partial(_perform, self._compute, sending), answered)

    def next_due(self, now: float) -> float | None:
        """When `pump` may have something to do that nothing else will tell of."""
        times = [self._delayed[0][0]] if self._delayed else []
        due = self._throttle.next_due(now)
        if due is not None and any(queue.pending for queue in self._queues.values()):
            times.append(due)
        return min(times, default=None)

    def _return_delayed(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            _, _, job_key, call = heapq.heappop(self._delayed)
            if job_key in self._queues:
                self._queues[job_key].pending.append(call)

    def _next(self) -> Sending | None:
        if self._slots.free <= 0 or self._bound.room <= 0:
            return None
        for queue in self._queues.values():
            calls = self._take(queue)
            if calls:
                reply_s = 0.0
                if self._connections > 0:
                    self._connections -= 1
                    reply_s = REPLY_S
                task = Task(next(self._task_ids), queue.spec, tuple(calls), reply_s)
                running = min(len(calls), self._compute.limits.calls_at_once)
                slot = Slot(queue.spec.job_key, running, (self._bound, queue.bound))
                self._slots.take(task.task_id, slot)
                return Sending(task, queue.runtime)
        return None

    def _take(self, queue: _Queue) -> Sequence[Call]:
        pending = queue.pending
        size = queue.batches.size(len(pending), self._slots.capacity)
        may_run = min(self._bound.room, queue.bound.room)
        if may_run < self._compute.limits.calls_at_once:
            size = min(size, int(may_run))  # more of them would run at once
        room = self._compute.limits.payload_bytes
        calls: list[Call] = []
        at, stride = 0, queue.batches.stride(len(pending))
        while at < len(pending) and len(calls) < size:
            call = pending[at]
            if queue.unsettled.get(call.index) is not call:
                del pending[at]  # settled, or sent again, in the meantime
                continue
            if call.index in queue.alone:
                if not calls:
                    queue.alone.remove(call.index)
                    calls.append(call)
                    del pending[at]
                break
            room -= call.inline_bytes
            if room < 0 and calls:
                break
            calls.append(call)
            del pending[at]
            at += stride - 1
        return calls


def _place(pending: deque[Call], call: Call) -> int:
    """Behind those that come before it in the job, whose work it may wait for. Only the first ones are looked at, so
    that it takes no time where many are given back."""
    earlier = itertools.takewhile(
        lambda other: other.index < call.index, itertools.islice(pending, _LOOKED_AT)
    )
    return sum(1 for _ in earlier)


def _perform(compute: ComputeBackend, sending: Sending) -> Sending:
    try:
        waits = sending.task.reply_s > 0 or not compute.limits.takes_events
        if waits and isinstance(compute, SupportsResponses):
            sending.response = compute.request(sending.task, sending.runtime)
            sending.activation_id = sending.response.activation_id
        else:
            sending.activation_id = compute.invoke(sending.task, sending.runtime)
    except Throttled:
        sending.throttled = True
    except ResponseLost:
        sending.response_lost = True
    except ComputeError as error:
        sending.error = str(error)
    return sending

"""One activation in a simulated cloud: its phases on the clock, and the real worker in them.

::

    invoke ──start──► begin ──► for each call: started ──call_s──► function, report ──► ... ──► end
                        │                         └─ fate: killed before, during or after; vanished
                        └─ declined
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace
from typing import Protocol

from lithops.exceptions import StorageUnavailable
from lithops.testing.simulation.capture import InProcessCapture
from lithops.testing.simulation.clock import SimulatedClock
from lithops.testing.simulation.faults import Fate, Faults
from lithops.testing.simulation.history import Delivery, History
from lithops.wire.codec import task_from_text
from lithops.wire.messages import Call, CallStatus, Failure, FailureKind, Phase, Task
from lithops.worker.handler import Worker

_FINAL = frozenset({Phase.RETURNED, Phase.RAISED, Phase.LOST, Phase.CANCELLED, Phase.DECLINED})


class ReturnPath(Protocol):
    """How a status gets back to the client."""

    is_connection: bool
    """Whether more than results can be told: that a call has started, was declined or was cancelled."""

    def report(self, status: CallStatus) -> float:
        """Send the status; gives the time at which the client can read it. Raises `StorageUnavailable`."""
        ...


class Host(Protocol):
    """What an activation needs of its cloud."""

    clock: SimulatedClock
    history: History
    faults: Faults
    randomness: random.Random
    capture: InProcessCapture
    refusals: int
    """How often the storage has refused a worker something."""

    def take_worker(self, activation_id: str) -> Worker:
        """A warm worker, or a new one."""
        ...

    def give_back(self, worker: Worker) -> None:
        """This worker is warm, and has nothing to do."""
        ...


class Activation:
    """Runs one task."""

    def __init__(
        self, activation_id: str, message: bytes, host: Host, path: ReturnPath, deliveries: dict[int, Delivery], *,
        is_copy: bool, has_twin: bool,
    ) -> None:  # fmt: skip
        self.activation_id = activation_id
        self.told_dead_at: float | None = None
        """From when on the cloud tells that it is dead; None as long as that is not so, or never will be."""
        self._message = message
        self._host = host
        self._path = path
        self._deliveries = deliveries
        self._cancelled: set[int] = set()
        self._calls: deque[Call] = deque()
        self._task: Task
        self._worker: Worker
        self._is_copy = is_copy
        self._has_twin = has_twin

    # ------------------------------------------------------------ what is told

    def begin(self) -> None:
        """The activation has started."""
        self._task = task_from_text(self._message)
        self._worker = self._host.take_worker(self.activation_id)
        self._calls.extend(self._task.calls)
        declines = self._path.is_connection and self._host.randomness.random() < self._host.faults.declined
        # A task that was delivered twice is given back by nobody: the other activation has it.
        if declines and not self._has_twin:
            self._give_back_calls()
        else:
            self._next()

    def cancel(self, indexes: set[int]) -> None:
        """Do not start these calls; the one that runs is stopped."""
        self._cancelled |= indexes

    # ------------------------------------------------------------ phases

    def _next(self) -> None:
        host = self._host
        if not self._calls:
            self._end("ended")
            host.give_back(self._worker)
            return
        call = self._calls.popleft()
        delivery = self._deliveries[call.index]
        delivery.fate = host.faults.draw(host.randomness)
        if delivery.fate is Fate.KILLED_BEFORE:
            self._die(f"killed before call {call.index}")
            return
        if call.index not in self._cancelled:
            if self._path.is_connection:
                self._report(self._status(call, Phase.STARTED))
            host.clock.after(
                host.randomness.uniform(*host.faults.call_s), lambda: self._finish(call, delivery)
            )
        else:
            self._finish(call, delivery)

    def _finish(self, call: Call, delivery: Delivery) -> None:
        try:
            status = self._cancellation(call) if call.index in self._cancelled else self._run(call)
            if delivery.fate is Fate.KILLED_DURING:
                self._die(f"killed during call {call.index}")
            elif delivery.fate is Fate.VANISHED:
                self._end(f"vanished in call {call.index}")
            else:
                self._report(status)
                if delivery.fate is Fate.KILLED_AFTER:
                    self._die(f"killed after call {call.index}")
                else:
                    self._next()
        except StorageUnavailable:
            delivery.is_refused = True
            self._die(f"refused by the storage in call {call.index}")

    def _run(self, call: Call) -> CallStatus:
        host = self._host
        statuses: list[CallStatus] = []
        refusals = host.refusals
        try:
            self._worker.run(replace(self._task, calls=(call,)), statuses.append)
        finally:
            host.capture.restore()
            self._deliveries[call.index].is_refused = host.refusals > refusals
        (status,) = statuses
        return status

    def _report(self, status: CallStatus) -> None:
        host = self._host
        arrives_at = self._path.report(status)
        if status.phase in _FINAL:
            delivery = self._deliveries[status.index]
            delivery.phase, delivery.reported_at = status.phase, arrives_at
            host.history.reported(status.job_key, status.task_id, status.index)
        host.history.note(f"{self.activation_id} call {status.index}.{status.attempt} {status.phase.value}")

    def _give_back_calls(self) -> None:
        for call in self._calls:
            self._report(self._status(call, Phase.DECLINED))
        self._end("declined its task")
        self._host.give_back(self._worker)

    def _cancellation(self, call: Call) -> CallStatus:
        failure = Failure(FailureKind.CANCELLED, "cancelled", "the call was cancelled")
        return replace(self._status(call, Phase.CANCELLED), failure=failure)

    def _status(self, call: Call, phase: Phase) -> CallStatus:
        task = self._task
        return CallStatus(task.job.job_key, call.index, phase, task.task_id, call.attempt, self.activation_id)

    # ------------------------------------------------------------ ends

    def _die(self, how: str) -> None:
        """End without a report of the calls that are left. The cloud tells of it after a while."""
        host = self._host
        self._end(how)
        if self._is_copy:
            return  # the client does not know of this activation
        self.told_dead_at = host.clock.now() + host.randomness.uniform(*host.faults.notice_s)
        for delivery in self._deliveries.values():
            delivery.told_dead_at = self.told_dead_at
        host.history.ended(self._task.job.job_key, self._task.task_id)

    def _end(self, how: str) -> None:
        self._host.history.note(f"{self.activation_id} {how}")

"""The compute backends of a simulated cloud: one whose statuses come through the storage, one with a connection."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lithops.compute.base import ComputeError, Limits, RuntimeInfo, StatusSource, Throttled
from lithops.testing.simulation.activation import Activation, ReturnPath
from lithops.wire.codec import statuses_from_text, statuses_to_text, task_to_text
from lithops.wire.messages import CallStatus, Failure, FailureKind, Task
from lithops.worker.report import commit

if TYPE_CHECKING:
    from lithops.testing.simulation.cloud import SimulatedCloud


class SimulatedCompute:
    """Implements `ComputeBackend` and `SupportsHealth`. Its workers commit their statuses to the storage."""

    name = "simulated"

    def __init__(self, cloud: SimulatedCloud, limits: Limits) -> None:
        self.limits = limits
        self._cloud = cloud
        self._runtime = RuntimeInfo("simulated", 0, f"{sys.version_info[0]}.{sys.version_info[1]}")
        self._activations: dict[str, Activation] = {}
        """Those that the client knows of."""
        self._by_task: dict[int, list[Activation]] = {}

    def deploy(self, runtime: str, memory_mb: int, timeout_s: float) -> RuntimeInfo:  # noqa: ARG002
        return self._runtime

    def describe(self) -> Mapping[str, Any]:
        return {"simulated": True}

    def runtimes(self) -> Sequence[RuntimeInfo]:
        return [self._runtime]

    def remove(self, runtime: str) -> None:
        raise ComputeError(f"a simulated cloud deploys nothing, so there is no runtime '{runtime}' to remove")

    def invoke(self, task: Task, runtime: RuntimeInfo) -> str:  # noqa: ARG002 - there is one runtime
        cloud = self._cloud
        faults, chance, history = cloud.faults, cloud.randomness.random, cloud.history
        named = f"{history.name(task.job.job_key)} {[(call.index, call.attempt) for call in task.calls]}"
        if chance() < faults.throttled:
            history.note(f"throttled {named}")
            raise Throttled("the simulated cloud takes no activation just now")
        if chance() < faults.unsendable:
            history.note(f"not sent {named}")
            raise ComputeError("the simulated cloud refused this activation")
        message = task_to_text(task)
        deadline = cloud.clock.now() + (self.limits.startup_s + task.job.timeout_s * len(task.calls))
        history.sent(task)
        cloud.clock.at(deadline, lambda: history.ended(task.job.job_key, task.task_id))
        has_twin = chance() < faults.delivered_twice
        started = [self._start(task, message, deadline, is_copy=False, has_twin=has_twin)]
        if has_twin:
            started.append(self._start(task, message, deadline, is_copy=True, has_twin=True))
        first = started[0].activation_id
        history.note(f"sent {named} as {' and '.join(each.activation_id for each in started)}")
        self._activations[first] = started[0]
        self._by_task[task.task_id] = started
        return first

    def dead(self, activation_ids: Sequence[str]) -> Mapping[str, Failure]:
        """Those that were killed, after a while; those that vanished never."""
        now = self._cloud.clock.now()
        found: dict[str, Failure] = {}
        for activation_id in activation_ids:
            told_dead_at = self._activations[activation_id].told_dead_at
            if told_dead_at is not None and told_dead_at <= now:
                self._cloud.history.note(f"{activation_id} is told to be dead")
                found[activation_id] = Failure(FailureKind.LOST, "lost", f"{activation_id} was killed")
        return found

    def close(self) -> None:
        """What runs in a cloud runs on."""

    def _path(self) -> ReturnPath:
        return _Commits(self._cloud)

    def _start(
        self, task: Task, message: bytes, deadline: float, *, is_copy: bool, has_twin: bool
    ) -> Activation:
        cloud = self._cloud
        deliveries = cloud.history.record(task, deadline=deadline, is_copy=is_copy)
        activation = Activation(
            cloud.next_activation_id(),
            message,
            cloud,
            self._path(),
            deliveries,
            is_copy=is_copy,
            has_twin=has_twin,
        )
        cloud.clock.after(cloud.draw_start_s(), activation.begin)
        return activation


class ConnectedCompute(SimulatedCompute):
    """Implements `SupportsDirectResults` and `SupportsCancel` as well. Statuses may overtake each other."""

    def __init__(self, cloud: SimulatedCloud, limits: Limits) -> None:
        super().__init__(cloud, limits)
        self._connection = Connection(cloud)

    def status_source(self) -> StatusSource:
        return self._connection

    def cancel(self, task_id: int, job_key: str, indexes: Sequence[int]) -> None:
        self._cloud.history.note(
            f"cancel {self._cloud.history.name(job_key)} {list(indexes)} of task {task_id}"
        )
        for activation in self._by_task[task_id]:
            activation.cancel(set(indexes))

    def _path(self) -> ReturnPath:
        return self._connection


class _Commits:
    """Statuses go into the storage, as a log for each task, of which each activation writes parts of its own."""

    is_connection = False

    def __init__(self, cloud: SimulatedCloud) -> None:
        self._cloud = cloud
        self._parts: dict[str, int] = {}
        """How much of its task's log each activation has written or seen."""

    def report(self, status: CallStatus) -> float:
        storage = self._cloud.worker_storage
        part = self._parts.get(status.activation_id, 0)
        self._parts[status.activation_id] = written = commit(
            [status], part, storage.default_bucket(), storage
        )
        if written > part + 1:
            self._cloud.history.note(f"call {status.index}.{status.attempt} came second")
        return self._cloud.clock.now()


class Connection:
    """Implements `StatusSource`: statuses arrive by themselves, some twice."""

    is_connection = True

    def __init__(self, cloud: SimulatedCloud) -> None:
        self._cloud = cloud
        self._arrived: list[CallStatus] = []
        self._awake = threading.Event()

    def report(self, status: CallStatus) -> float:
        cloud = self._cloud
        message = statuses_to_text([status])
        count = 2 if cloud.randomness.random() < cloud.faults.told_twice else 1
        delays_s = [cloud.randomness.uniform(*cloud.faults.latency_s) for _ in range(count)]
        for delay_s in delays_s:
            cloud.clock.after(delay_s, lambda: self._arrive(message))
        return cloud.clock.now() + min(delays_s)

    def receive(self, timeout_s: float) -> Sequence[CallStatus]:
        cloud = self._cloud
        if not self._arrived and cloud.clock.wait(self._awake, timeout_s) and self._arrived:
            cloud.clock.sleep(cloud.randomness.uniform(*cloud.faults.gather_s))
        self._awake.clear()
        arrived, self._arrived = self._arrived, []
        return arrived

    def wake(self) -> None:
        self._awake.set()

    def hurry(self) -> None:
        """Nothing to do: statuses come by themselves."""

    def sent(self, job_key: str, task_id: int, after_s: float = 0.0) -> None:
        """Nothing to do, as above."""

    def finished(self, job_key: str, task_id: int) -> None:
        """Nothing to do: what still comes is ignored by the client."""

    def _arrive(self, message: bytes) -> None:
        self._arrived += statuses_from_text(message)
        self.wake()

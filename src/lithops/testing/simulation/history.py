"""What happened in a simulated cloud: what a test holds the client's view against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from lithops.testing.simulation.faults import Fate
from lithops.wire.messages import Phase, Task


@dataclass(slots=True)
class Delivery:
    """One call in one activation. Times are those of the simulated clock."""

    job_key: str
    index: int
    attempt: int
    task_id: int
    is_copy: bool
    """It is in the second activation of a task that was delivered twice."""
    sent_at: float
    deadline: float
    """When the client takes it for lost."""
    fate: Fate | None = None
    """None until it is the call's turn."""
    phase: Phase | None = None
    """What was reported of it."""
    reported_at: float | None = None
    """When that could be read by the client."""
    told_dead_at: float | None = None
    """From when on the cloud says that the activation is dead."""
    is_refused: bool = False
    """The storage refused its worker something."""


class History:
    """Everything that happened, in order."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._executors: dict[str, int] = {}
        self._running: dict[tuple[str, int], set[int]] = {}
        self.trace: list[str] = []
        """One line an event: two runs of one seed give the same lines."""
        self.deliveries: list[Delivery] = []
        self.peak_activations = 0
        """The most tasks that were running at once, as far as the client could know."""
        self.peak_calls: Counter[str] = Counter()
        """The most calls that were running at once, by the key of their job and by the name of their executor."""

    def note(self, text: str) -> None:
        """Add an event."""
        self.trace.append(f"{self._now():12.6f} {text}")

    def of(self, job_key: str, index: int) -> list[Delivery]:
        """All that became of one call."""
        return [each for each in self.deliveries if each.job_key == job_key and each.index == index]

    def name(self, job_key: str) -> str:
        """The job's name without what is random in it."""
        executor_id, _, job_id = job_key.rpartition("-")
        return f"{self._executors.setdefault(executor_id, len(self._executors))}:{job_id}"

    # A task counts as running until all its calls were reported, or it died, or its time was up: never longer than the
    # client holds a slot for it, which learns of these things later. Its calls run one after the other.

    def sent(self, task: Task) -> None:
        self._running[task.job.job_key, task.task_id] = {call.index for call in task.calls}
        self.peak_activations = max(self.peak_activations, len(self._running))
        running = Counter(job_key for job_key, _ in self._running)
        running.update(job_key.rpartition("-")[0] for job_key, _ in self._running)
        self.peak_calls |= running

    def reported(self, job_key: str, task_id: int, index: int) -> None:
        indexes = self._running.get((job_key, task_id), set())
        indexes.discard(index)
        if not indexes:
            self.ended(job_key, task_id)

    def ended(self, job_key: str, task_id: int) -> None:
        self._running.pop((job_key, task_id), None)

    def record(self, task: Task, *, deadline: float, is_copy: bool) -> dict[int, Delivery]:
        """The deliveries of an activation, by the index of the call."""
        now = self._now()
        made = [
            Delivery(task.job.job_key, call.index, call.attempt, task.task_id, is_copy, now, deadline)
            for call in task.calls
        ]
        self.deliveries.extend(made)
        return {delivery.index: delivery for delivery in made}

    def __str__(self) -> str:
        return "\n".join(self.trace)

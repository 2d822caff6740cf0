"""How many activations may be in flight, and what each holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Slot:
    """One task in flight."""

    job_key: str
    calls: int
    settled: int = 0
    busy_s: float = 0.0


class Slots:
    """The tasks in flight, at most `capacity` of them."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._taken: dict[int, Slot] = {}

    @property
    def free(self) -> int:
        return self.capacity - len(self._taken)

    def take(self, task_id: int, job_key: str, calls: int) -> None:
        self._taken[task_id] = Slot(job_key, calls)

    def add_time(self, task_id: int, busy_s: float) -> None:
        """A call of this task took so much of its worker's time."""
        slot = self._taken.get(task_id)
        if slot is not None:
            slot.settled += 1
            slot.busy_s += busy_s

    def release(self, task_id: int) -> Slot:
        """The task needs its slot no more."""
        return self._taken.pop(task_id)

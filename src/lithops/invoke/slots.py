"""How many activations may be in flight, how many calls may run in them, and what each holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


class Bound:
    """How many calls run at once, of one job or of all, and how many may at most; None: any number."""

    def __init__(self, most: int | None) -> None:
        self.most = math.inf if most is None else most
        self.running = 0

    @property
    def room(self) -> float:
        return self.most - self.running


@dataclass(slots=True)
class Slot:
    """One task in flight."""

    job_key: str
    running: int
    """So many of its calls run at once, and count against each of these bounds."""
    bounds: Sequence[Bound]
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

    def take(self, task_id: int, slot: Slot) -> None:
        self._taken[task_id] = slot
        for bound in slot.bounds:
            bound.running += slot.running

    def add_time(self, task_id: int, busy_s: float) -> None:
        """A call of this task took so much of its worker's time."""
        slot = self._taken.get(task_id)
        if slot is not None:
            slot.settled += 1
            slot.busy_s += busy_s

    def release(self, task_id: int) -> Slot:
        """The task needs its slot no more."""
        slot = self._taken.pop(task_id)
        for bound in slot.bounds:
            bound.running -= slot.running
        return slot

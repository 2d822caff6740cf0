"""What can go wrong in a simulated cloud, and how often."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Fate(str, Enum):
    """What an activation meets at one of its calls."""

    NONE = "none"
    """All goes well."""
    KILLED_BEFORE = "killed before"
    """It is killed before the function runs."""
    KILLED_DURING = "killed during"
    """The function ran, but nothing was reported."""
    KILLED_AFTER = "killed after"
    """The call was reported; the calls behind it are not run."""
    VANISHED = "vanished"
    """As killed during the call, and nobody ever tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Probabilities from 0 to 1, and ranges of seconds. As it stands, nothing goes wrong."""

    throttled: float = 0.0
    """That the cloud takes no activation just now."""
    unsendable: float = 0.0
    """That it refuses one for good."""
    delivered_twice: float = 0.0
    """That a second activation gets the same task, and the client does not know of it."""
    declined: float = 0.0
    """That an activation gives all its calls back; only where there is a connection to say so."""
    told_twice: float = 0.0
    """That a status comes again; only over a connection."""
    killed_before: float = 0.0
    killed_during: float = 0.0
    killed_after: float = 0.0
    vanished: float = 0.0
    """Of these four, `Fate` tells; each is for one call of an activation."""
    slow: float = 0.0
    """That an activation starts late, by some of `slow_s`."""
    refused: float = 0.0
    """That the storage refuses one operation of a worker, or one look of the client at statuses, beside the outages."""

    warm_start_s: tuple[float, float] = (0.005, 0.05)
    cold_start_s: tuple[float, float] = (0.1, 2.0)
    slow_s: tuple[float, float] = (1.0, 60.0)
    call_s: tuple[float, float] = (0.01, 2.0)
    """What a call takes."""
    notice_s: tuple[float, float] = (0.1, 10.0)
    """From the death of an activation until the cloud tells of it."""
    latency_s: tuple[float, float] = (0.001, 0.2)
    """What a status needs for its way over a connection."""
    gather_s: tuple[float, float] = (0.0, 0.0)
    """For how long the client gathers statuses from a connection before it looks at them."""

    def draw(self, randomness: random.Random) -> Fate:
        """What happens to a call."""
        chance = randomness.random()
        for fate, probability in (
            (Fate.KILLED_BEFORE, self.killed_before),
            (Fate.KILLED_DURING, self.killed_during),
            (Fate.KILLED_AFTER, self.killed_after),
            (Fate.VANISHED, self.vanished),
        ):
            chance -= probability
            if chance < 0:
                return fate
        return Fate.NONE


@dataclass(frozen=True, slots=True)
class Outages:
    """When a storage is out of reach: spans of simulated time, from the first second up to, but without, the second."""

    spans: Sequence[tuple[float, float]] = ()

    def covers(self, now: float) -> bool:
        return any(start <= now < stop for start, stop in self.spans)

    @property
    def end(self) -> float:
        """When the last one is over."""
        return max((stop for _, stop in self.spans), default=0.0)

    @property
    def total_s(self) -> float:
        """How long they are together, at most."""
        return sum(stop - start for start, stop in self.spans)

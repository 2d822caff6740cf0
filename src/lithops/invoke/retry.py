"""When to try again: how long to wait after a failure, and after the backend has said that it is too much."""

from __future__ import annotations

import random
from itertools import islice

_THROTTLE_FIRST_S = 0.05
_THROTTLE_LONGEST_S = 5.0
_REFUSED_WITHIN_S = 1.0
_MOST_DOUBLINGS = 30


def backoff_s(attempt: int, first_s: float, randomness: random.Random) -> float:
    """Seconds before the `attempt`-th repetition: doubling, and spread so that calls do not come back in step."""
    spread = 0.5 + randomness.random()
    return first_s * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS) * spread


class Throttle:
    """Finds out how many requests the backend takes at once, as TCP does with a line.

    The window halves when one is refused, and everything is held back for a while, longer each time until one is
    taken again. It grows by one with each that is taken.
    """

    def __init__(self, randomness: random.Random, most: int = 1) -> None:
        self._random = randomness
        self._most = most
        self._window = most
        self._refusals = 0
        self._refused_at = float("-inf")
        self._open: dict[int, float] = {}
        """Requests that may still be refused, by task, and when each was made."""
        self.until = 0.0
        """No task is sent before this time."""

    def admits(self, now: float) -> bool:
        """Whether a request may be made now."""
        return now >= self.until and self._in_window(now) < self._window

    def next_due(self, now: float) -> float | None:
        """When one may be made, if nothing is heard before; None: now."""
        too_many = self._in_window(now) - self._window
        if too_many < 0:
            return self.until if now < self.until else None
        sent_at = next(islice(self._open.values(), too_many, None))
        return max(self.until, sent_at + _REFUSED_WITHIN_S)

    def sent(self, task_id: int, now: float) -> None:
        self._open[task_id] = now

    def refused(self, task_id: int, now: float) -> None:
        sent_at = self._open.pop(task_id, self._refused_at)
        if sent_at < self._refused_at:
            return  # it was under way when another was refused, and says nothing new
        self._refused_at = now
        self._window = max(1, self._window // 2)
        self._refusals += 1
        wait_s = min(backoff_s(self._refusals, _THROTTLE_FIRST_S, self._random), _THROTTLE_LONGEST_S)
        self.until = now + wait_s

    def failed(self, task_id: int) -> None:
        """The request could not be made: that says nothing about how many can."""
        self._open.pop(task_id, None)

    def accepted(self, task_id: int) -> None:
        self._open.pop(task_id, None)
        self._window = min(self._most, self._window + 1)
        self._refusals = 0

    def _in_window(self, now: float) -> int:
        """How many requests may still be refused: clouds say no at once, and wait with everything else."""
        while self._open:
            task_id, sent_at = next(iter(self._open.items()))
            if now < sent_at + _REFUSED_WITHIN_S:
                break
            del self._open[task_id]
        return len(self._open)

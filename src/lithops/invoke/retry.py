"""When to try again: how long to wait after a failure, and after the backend has said that it is too much."""

from __future__ import annotations

import random

_THROTTLE_FIRST_S = 0.05
_THROTTLE_LONGEST_S = 5.0
_MOST_DOUBLINGS = 30


def backoff_s(attempt: int, first_s: float, randomness: random.Random) -> float:
    """Seconds before the `attempt`-th repetition: doubling, and spread so that calls do not come back in step."""
    spread = 0.5 + randomness.random()
    return first_s * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS) * spread


class Throttle:
    """Holds all tasks back for a while when the backend refuses one, longer each time until it takes one again."""

    def __init__(self, randomness: random.Random) -> None:
        self._random = randomness
        self._refusals = 0
        self.until = 0.0
        """No task is sent before this time."""

    def refused(self, now: float) -> None:
        self._refusals += 1
        wait_s = min(backoff_s(self._refusals, _THROTTLE_FIRST_S, self._random), _THROTTLE_LONGEST_S)
        self.until = now + wait_s

    def accepted(self) -> None:
        self._refusals = 0

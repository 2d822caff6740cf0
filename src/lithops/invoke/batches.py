"""How many calls go into a task: few enough to spread the work, enough to be worth the journey. Pure."""

from __future__ import annotations

_TARGET_S = 0.02
"""A task of short calls should keep its worker busy for about this long."""
_OVERHEAD_S = 1e-5
"""What a call costs its worker beside the function."""
_GROWTH = 8
_DEALT_UP_TO = 500
"""Of more calls the first ones have ended long before the last are looked at."""
_LARGEST = 2000
"""No task has more calls, whoever asks: each has a byte in a pipe of claims, which holds 4096 at the least."""


class FixedBatches:
    """Every task holds the same number of calls. `dealt`: tasks take turns in the last ones, so that calls start in
    their order, where workers give back what they do not get to."""

    def __init__(self, size: int, *, dealt: bool = False) -> None:
        self._size = min(size, _LARGEST)
        self._dealt = dealt

    def observe(self, calls: int, busy_s: float) -> None:
        """What the calls of a task took makes no difference."""

    def size(self, pending: int, workers: int) -> int:  # noqa: ARG002 - the number is given
        return self._size

    def stride(self, pending: int) -> int:
        """How far apart the calls of the next task lie among `pending`."""
        return -(-pending // self._size) if self._dealt and pending <= _DEALT_UP_TO else 1


class AdaptiveBatches:
    """Tasks grow while calls turn out to be short, and shrink towards the end so that all workers end together."""

    def __init__(self) -> None:
        self._size = 1
        self._mean_s: float | None = None

    def observe(self, calls: int, busy_s: float) -> None:
        """A task's calls took `busy_s` seconds of their worker together."""
        if not calls:
            return
        # A worker's clock may be set back in the middle of a call.
        latest = max(0.0, busy_s) / calls + _OVERHEAD_S
        self._mean_s = latest if self._mean_s is None else 0.5 * (self._mean_s + latest)
        fitting = int(_TARGET_S / self._mean_s)
        self._size = max(1, min(fitting, self._size * _GROWTH, _LARGEST))

    def size(self, pending: int, workers: int) -> int:
        """How many of `pending` calls the next task should hold."""
        return max(1, min(self._size, -(-pending // (2 * workers))))

    def stride(self, pending: int) -> int:  # noqa: ARG002 - as above
        """Neighbours: no task is so long that its calls would have to wait for others'."""
        return 1


Batches = FixedBatches | AdaptiveBatches

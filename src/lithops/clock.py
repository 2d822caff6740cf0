"""Time, as something that can be handed in: tests and the simulated cloud bring a clock of their own."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """What the core knows of time."""

    def now(self) -> float:
        """Seconds that only ever grow, from an arbitrary start."""
        ...

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        """Block until the event is set, True, or the time is up, False."""
        ...


_SLICE_S = 0.5


class Event(threading.Event):
    """An event for which the main thread may wait: Ctrl-C ends that in any case.

    A signal that comes in the moment before a thread blocks is not seen before it wakes. So it wakes now and then.
    """

    def wait(self, timeout: float | None = None) -> bool:
        return _wait_in_slices(super().wait, timeout)


class SystemClock:
    """The time of this machine."""

    def now(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        return _wait_in_slices(event.wait, timeout_s)


def _wait_in_slices(wait: Callable[[float], bool], timeout_s: float | None) -> bool:
    until = math.inf if timeout_s is None else time.monotonic() + timeout_s
    while True:
        left_s = until - time.monotonic()
        if left_s <= _SLICE_S:
            return wait(left_s)
        if wait(_SLICE_S):
            return True

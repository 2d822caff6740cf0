"""Time, as something that can be handed in: tests and the simulated cloud bring a clock of their own."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What the core knows of time."""

    def now(self) -> float:
        """Seconds that only ever grow, from an arbitrary start."""
        ...

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        """Block until the event is set, True, or the time is up, False."""
        ...


class SystemClock:
    """The time of this machine."""

    def now(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        return event.wait(timeout_s)

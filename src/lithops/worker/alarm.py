"""Ends a call when its time is up, from within its process: for workers that have no other process to watch them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SHORTEST_S = 1e-3


class TimeIsUp(BaseException):
    """Raised in the midst of a call. No function's `except Exception` catches it."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(limit_s)
        self.limit_s = limit_s


@contextmanager
def time_limit(limit_s: float) -> Iterator[None]:
    """Raise `TimeIsUp` in the body after so many seconds. Works in the main thread alone, as signals do.

    Compiled code that never returns to the interpreter is not interrupted: the cloud ends its activation.
    """

    def ring(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the form of a signal's handler
        raise TimeIsUp(limit_s)

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(limit_s, _SHORTEST_S))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

"""Time that passes only when everybody waits."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
from collections.abc import Callable

_TICK_S = 1e-6
"""The shortest wait: a sum of floats may fall short of the time that was meant, and time must not stand still."""
_TURN_S = 60.0
_SHARED_TURN_S = 0.25
"""How long one of several executors may keep the others waiting."""


class SimulatedClock:
    """Implements `Clock`. Who waits on it drives the executors that were given to it, and what is on the agenda.

    Raises `AssertionError` when more than `longest_s` simulated seconds or `most_rounds` rounds go by, or when a wait
    without timeout has nothing to wait for: then something waits for ever.
    """

    def __init__(self, *, longest_s: float = 1e5, most_rounds: int = 50_000) -> None:
        self._now = 0.0
        self._longest_s = longest_s
        self._rounds_left = most_rounds
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._steps: list[Callable[[float], None]] = []
        self._in_step = False
        self._awaited = threading.Event()
        """What the one waits for who drives the executors: once it is set, nobody else's wait keeps it up."""

    def now(self) -> float:
        return self._now

    def after(self, delay_s: float, action: Callable[[], object]) -> None:
        """Put an action on the agenda."""
        self.at(self._now + delay_s, action)

    def at(self, due: float, action: Callable[[], object]) -> None:
        """Put an action on the agenda, for a time that `now` will give."""
        heapq.heappush(self._agenda, (due, next(self._order), action))

    def drive(self, step: Callable[[float], None]) -> None:
        """Whoever waits calls `step(longest_s)`, one round of an executor's monitor, again and again."""
        self._steps.append(step)

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        until = math.inf if timeout_s is None else self._now + max(timeout_s, _TICK_S)
        if self._in_step or not self._steps:
            self._advance(event, until)
        else:
            self._run(event, until)
        return event.is_set()

    def sleep(self, duration_s: float) -> None:
        """Let so much time pass."""
        self.wait(threading.Event(), duration_s)

    @property
    def busy_until(self) -> float:
        """When the last thing that is on the agenda now happens."""
        return max((due for due, _, _ in self._agenda), default=self._now)

    def _run(self, event: threading.Event, until: float) -> None:
        turn_s = _TURN_S if len(self._steps) == 1 else _SHARED_TURN_S
        self._awaited = event
        while not event.is_set() and self._now < until:
            self._rounds_left -= 1
            assert self._rounds_left >= 0, (
                f"too many rounds, at {self._now:.3f} s: something goes round in circles"
            )
            for step in self._steps:
                self._in_step = True
                try:
                    step(min(turn_s, until - self._now))
                finally:
                    self._in_step = False

    def _advance(self, event: threading.Event, until: float) -> None:
        """Do what is due, in order, until the event is set or the time is up."""
        while not (event.is_set() or self._awaited.is_set()):
            due = self._agenda[0][0] if self._agenda else math.inf
            if due > until or due == math.inf:
                assert until < math.inf, f"at {self._now:.3f} s a wait without timeout waits for nothing"
                self._now = until
                break
            self._now, _, action = heapq.heappop(self._agenda)
            action()
        assert self._now <= self._longest_s, f"{self._now:.0f} s have gone by: something waits for ever"

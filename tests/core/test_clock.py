"""Waiting for an event, in slices: whoever waits in the main thread sees a signal in any case."""

from __future__ import annotations

import threading
import time

import pytest

from lithops import clock
from lithops.clock import Event, SystemClock


class _Slept(threading.Event):
    """Notes how long each wait was to be, and is set in the third one."""

    def __init__(self) -> None:
        super().__init__()
        self.slices: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.slices.append(timeout)
        return len(self.slices) == 3


def test_it_wakes_now_and_then() -> None:
    event = _Slept()
    assert SystemClock().wait(event, None)
    assert event.slices == [clock._SLICE_S] * 3


def test_it_waits_as_long_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_SLICE_S", 0.01)
    for timeout in (-1.0, 0.0, 0.005, 0.035):
        before = time.monotonic()
        assert not Event().wait(timeout)
        assert time.monotonic() - before >= timeout - 0.002


def test_it_ends_when_the_event_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_SLICE_S", 0.01)
    for timeout in (None, 30.0):
        event = Event()
        timer = threading.Timer(0.03, event.set)
        timer.start()
        assert event.wait(timeout)
        timer.join()
    assert event.wait(0)

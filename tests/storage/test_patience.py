"""Failures that may pass are waited for, and not for ever."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from lithops.exceptions import AccessDenied, StorageUnavailable
from lithops.storage import patience
from lithops.storage.patience import ATTEMPTS, pause_s, persistently


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, in no time."""
    made: list[float] = []
    monkeypatch.setattr(time, "sleep", made.append)
    return made


class Attempts:
    """Raises these errors, one after the other, and then gives what it is worth."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "there"


def test_pauses_grow_differ_and_end() -> None:
    longest = [max(pause_s(failures) for _ in range(300)) for failures in range(1, ATTEMPTS)]
    assert longest[0] <= 0.1
    assert all(later > earlier for earlier, later in pairwise(longest))
    assert sum(longest) < 15
    assert pause_s(100) <= patience._LONGEST_PAUSE_S


def test_what_passes_is_not_seen(pauses: list[float]) -> None:
    assert persistently(Attempts(*[StorageUnavailable("busy")] * (ATTEMPTS - 1))) == "there"
    assert len(pauses) == ATTEMPTS - 1


def test_what_stays_is_told_after_the_last_attempt(pauses: list[float]) -> None:
    errors = [StorageUnavailable(str(number)) for number in range(ATTEMPTS + 1)]
    with pytest.raises(StorageUnavailable) as caught:
        persistently(Attempts(*errors))
    assert caught.value is errors[ATTEMPTS - 1]
    assert len(pauses) == ATTEMPTS - 1


def test_what_cannot_pass_is_told_at_once(pauses: list[float]) -> None:
    with pytest.raises(AccessDenied):
        persistently(Attempts(AccessDenied("no")))
    assert pauses == []


def test_what_may_pass_can_be_said(pauses: list[float]) -> None:
    def may_pass(error: Exception) -> bool:
        return isinstance(error, ConnectionResetError)

    assert persistently(Attempts(ConnectionResetError()), may_pass) == "there"
    with pytest.raises(ConnectionRefusedError):
        persistently(Attempts(ConnectionResetError(), ConnectionRefusedError()), may_pass)
    assert len(pauses) == 2

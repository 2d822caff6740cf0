"""How many looks a job costs, and how late they come: on a clock of the test's own."""

from __future__ import annotations

import bisect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithops.monitor.pace import Pace

LONGEST_S = 2.0


def watch(commits: list[float]) -> tuple[int, list[float]]:
    """How many looks it takes to see all of them, and how late each is seen."""
    pace, looks, seen, late = Pace(LONGEST_S), 0, 0, list[float]()
    pace.start(0.0)
    while seen < len(commits):
        now = pace.due
        looks += 1
        there = bisect.bisect_right(commits, now)
        late += [now - commit for commit in commits[seen:there]]
        pace.looked(now, there - seen)
        seen = there
    return looks, late


@pytest.mark.parametrize("calls", [50, 400, 2000])
@pytest.mark.parametrize("per_second", [20, 60, 200, 1000, 5000])
def test_looks_are_within_the_budget_at_any_speed(calls: int, per_second: float) -> None:
    looks, late = watch([1.0 + number / per_second for number in range(calls)])
    assert looks <= 18 + 0.05 * calls, "a bucket and a clean-up are to be paid as well"
    assert max(late) <= LONGEST_S


@given(st.floats(0.001, 3.0), st.integers(1, 5))
def test_first_results_are_seen_soon(first_s: float, calls: int) -> None:
    _, late = watch([first_s] * calls)
    assert max(late) <= max(0.121, 0.09 * first_s)


def test_a_thousand_statuses_a_second_are_seen_at_once() -> None:
    _, late = watch([0.2 + number / 1000 for number in range(3000)])
    assert sorted(late)[len(late) // 2] <= 0.1


def test_nothing_moves() -> None:
    pace, looks = Pace(LONGEST_S), 0
    pace.start(0.0)
    while pace.due < 600.0:
        looks += 1
        pace.looked(pace.due, 0)
    assert looks <= 600 / LONGEST_S + 50


def test_something_new_is_looked_for_at_once() -> None:
    pace = Pace(LONGEST_S)
    pace.start(0.0)
    for _ in range(100):
        pace.looked(pace.due, 0)
    pace.start(1000.0)
    assert pace.due <= 1000.05

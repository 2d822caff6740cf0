"""Which tasks are late: judged by how long the other calls of their job took."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lithops.monitor.stragglers import Stragglers
from lithops.wire.messages import CallStatus, Phase


def returned(index: int, task_id: int) -> CallStatus:
    return CallStatus("j", index, Phase.RETURNED, task_id)


def one_left(took_s: list[float]) -> Stragglers:
    """A job whose calls, each a task, took so long; one more was sent at 0 and has not been heard of."""
    stragglers = Stragglers()
    stragglers.add_job("j", len(took_s) + 1)
    for task_id, seconds in enumerate(took_s):
        stragglers.sent(task_id, "j", 0.0)
        stragglers.heard([returned(task_id, task_id)], [task_id], seconds)
    stragglers.sent(len(took_s), "j", 0.0)
    return stragglers


def test_a_task_is_late_after_three_times_the_median() -> None:
    stragglers = one_left([1.0, 2.0, 9.0])
    assert stragglers.next_due() == 6.0
    assert stragglers.late(5.99) == []
    assert stragglers.late(6.0) == [3]


def test_each_is_named_once() -> None:
    stragglers = one_left([1.0, 1.0, 1.0])
    assert stragglers.late(100.0) == [3]
    assert stragglers.late(200.0) == []
    assert stragglers.next_due() is None


def test_half_a_second_is_never_late() -> None:
    assert one_left([0.001] * 20).next_due() == 0.5


def test_nothing_is_late_before_most_have_ended() -> None:
    stragglers = Stragglers()
    stragglers.add_job("j", 8)
    for task_id in range(8):
        stragglers.sent(task_id, "j", 0.0)
    for task_id in range(5):
        stragglers.heard([returned(task_id, task_id)], [task_id], 1.0)
    assert stragglers.late(1000.0) == []
    stragglers.heard([returned(5, 5)], [5], 1.0)
    assert stragglers.late(1000.0) == [6, 7]


def test_a_task_of_many_calls_is_judged_by_its_latest_news() -> None:
    stragglers = Stragglers()
    stragglers.add_job("j", 12)
    stragglers.sent(0, "j", 0.0)
    for index in range(11):
        stragglers.heard([returned(index, 0)], [], index + 1.0)
    assert stragglers.late(13.9) == []
    assert stragglers.late(14.0) == [0]


def test_jobs_that_did_not_ask_are_left_alone() -> None:
    stragglers = Stragglers()
    stragglers.sent(0, "other", 0.0)
    stragglers.heard([CallStatus("other", 0, Phase.RETURNED, 0)], [0], 1.0)
    assert (stragglers.late(1000.0), stragglers.next_due()) == ([], None)


@given(st.lists(st.floats(0.01, 100.0), min_size=3), st.floats(0.0, 1000.0))
def test_late_agrees_with_next_due(took_s: list[float], now: float) -> None:
    stragglers = one_left(took_s)
    due = stragglers.next_due()
    assert due is not None
    assert stragglers.late(now) == ([len(took_s)] if now >= due else [])

"""`Condition` and `Event`: what the standard library's do, and ours, between threads."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

Eventually = Callable[..., None]


def sleepers(pool: ThreadPoolExecutor, condition: Any, number: int, timeout: float = 60) -> list[Future[Any]]:
    """So many threads that wait in the condition."""
    ready = threading.Semaphore(0)

    def sleep() -> Any:
        with condition:
            ready.release()
            return condition.wait(timeout)

    started = [pool.submit(sleep) for _ in range(number)]
    for _ in range(number):
        assert ready.acquire(timeout=30)
    with condition:  # all have let go of it
        return started


def done(futures: list[Future[Any]]) -> int:
    return sum(each.done() for each in futures)


@pytest.fixture
def pool() -> Any:
    with ThreadPoolExecutor(6) as threads:
        yield threads


@pytest.fixture(params=["RLock", "Lock"])
def condition(mp: Any, request: pytest.FixtureRequest) -> Any:
    return mp.Condition(getattr(mp, request.param)())


def test_a_condition_is_a_lock(condition: Any) -> None:
    assert condition.acquire() is True
    assert condition.release() is None
    with condition as entered:
        assert entered is True
    assert condition.acquire(False) is True
    assert condition.acquire(timeout=0.01) in (True, False)  # it is recursive, or not
    condition.release()


def test_a_condition_has_a_recursive_lock_by_itself(mp: Any) -> None:
    condition = mp.Condition()
    with condition, condition:
        assert repr(condition) == "<Condition(<RLock(MainProcess, 2)>, 0)>"


def test_a_condition_needs_its_lock(condition: Any) -> None:
    with pytest.raises(AssertionError, match=r"must acquire\(\) condition before using wait\(\)"):
        condition.wait()
    with pytest.raises(AssertionError, match="lock is not owned"):
        condition.notify()
    with pytest.raises(AssertionError, match="lock is not owned"):
        condition.notify_all()
    with pytest.raises(AssertionError, match=r"must acquire\(\) condition before using wait\(\)"):
        condition.wait_for(lambda: False)


def test_each_notification_wakes_one(
    condition: Any, pool: ThreadPoolExecutor, eventually: Eventually
) -> None:
    waiting = sleepers(pool, condition, 3)
    for number in (1, 2, 3):
        with condition:
            assert condition.notify() is None
        eventually(lambda number=number: done(waiting) == number)
    assert [each.result() for each in waiting] == [True] * 3


def test_a_number_can_be_notified(condition: Any, pool: ThreadPoolExecutor, eventually: Eventually) -> None:
    waiting = sleepers(pool, condition, 4)
    with condition:
        condition.notify(n=3)
    eventually(lambda: done(waiting) == 3)
    with condition:
        condition.notify(0)
        condition.notify(-1)
        assert done(waiting) == 3
        condition.notify_all()
    assert [each.result(30) for each in waiting] == [True] * 4


def test_nobody_need_be_there_to_be_notified(condition: Any) -> None:
    with condition:
        condition.notify()
        condition.notify_all()
        assert condition.wait(0.01) is False  # nor is it remembered


@pytest.mark.parametrize("timeout", [0, -1, 0.05])
def test_waiting_ends_with_its_time(condition: Any, timeout: float) -> None:
    with condition:
        began = time.monotonic()
        assert condition.wait(timeout) is False
        assert timeout <= time.monotonic() - began < 5
        condition.notify()  # the lock is owned again
    with pytest.raises(AssertionError):
        condition.notify()


def test_the_lock_is_free_while_a_thread_waits(condition: Any, pool: ThreadPoolExecutor) -> None:
    waiting = sleepers(pool, condition, 1)
    with condition:
        condition.notify()
        assert not waiting[0].done()  # it needs the lock to come back
    assert waiting[0].result(30) is True


def test_all_levels_of_the_lock_are_released_and_restored(mp: Any, pool: ThreadPoolExecutor) -> None:
    condition = mp.Condition()

    def notify() -> None:
        with condition:
            condition.notify()

    with condition, condition, condition:
        notified = pool.submit(notify)
        assert condition.wait(60) is True
        assert repr(condition) == "<Condition(<RLock(MainProcess, 3)>, 0)>"
        assert condition.wait(0.01) is False
        assert repr(condition) == "<Condition(<RLock(MainProcess, 3)>, 0)>"
    notified.result()
    assert repr(condition) == "<Condition(<RLock(None, 0)>, 0)>"


def test_a_condition_shows_who_waits(condition: Any, pool: ThreadPoolExecutor) -> None:
    waiting = sleepers(pool, condition, 2)
    assert repr(condition).endswith(", 2)>")
    with condition:
        condition.notify_all()
    for each in waiting:
        each.result(30)
    assert repr(condition).endswith("=None)>, 0)>" if "owner" in repr(condition) else "(None, 0)>, 0)>")


def test_a_predicate_is_waited_for(condition: Any, pool: ThreadPoolExecutor) -> None:
    state: list[int] = []

    def add() -> None:
        for number in range(3):
            with condition:
                state.append(number)
                condition.notify()

    with condition:
        adding = pool.submit(add)
        assert condition.wait_for(lambda: len(state) == 3 and "all", 60) == "all"
        assert condition.wait_for(lambda: 7) == 7
        assert condition.wait_for(list, timeout=0.02) == []
    adding.result()


def test_one_lock_serves_several_conditions(mp: Any, pool: ThreadPoolExecutor) -> None:
    lock = mp.Lock()
    first, second = mp.Condition(lock), mp.Condition(lock)
    waiting = sleepers(pool, first, 1) + sleepers(pool, second, 1)
    with lock:
        second.notify_all()
    assert waiting[1].result(30) is True
    assert not waiting[0].done()
    with first:
        first.notify_all()
    assert waiting[0].result(30) is True


def test_an_event_is_set_and_cleared(mp: Any) -> None:
    event = mp.Event()
    assert event.is_set() is False
    assert event.wait(0) is False
    assert event.wait(-1) is False
    assert event.wait(timeout=0.01) is False
    event.set()
    event.set()
    assert event.is_set() is True
    assert event.wait() is True
    assert event.wait(0) is True
    event.clear()
    event.clear()
    assert event.is_set() is False


def test_an_event_wakes_all_who_wait(mp: Any, pool: ThreadPoolExecutor) -> None:
    event = mp.Event()
    waiting = [pool.submit(event.wait, 60) for _ in range(5)]
    assert not any(each.done() for each in waiting)
    event.set()
    assert [each.result(30) for each in waiting] == [True] * 5


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the standard library shows it since then")
def test_an_event_shows_its_state(mp: Any) -> None:
    event = mp.Event()
    assert repr(event) == f"<Event at {id(event):#x} unset>"
    event.set()
    assert repr(event) == f"<Event at {id(event):#x} set>"

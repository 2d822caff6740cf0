"""Locks and their relatives between processes: what the standard library's do, and ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import synchronize_functions as functions


@contextmanager
def processes(mp: Any, number: int, function: Callable[..., None], *arguments: object) -> Iterator[None]:
    """So many processes run the function while this is entered, and end well."""
    started = [mp.Process(target=function, args=arguments) for _ in range(number)]
    for process in started:
        process.start()
    yield
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0] * number


@pytest.mark.parametrize("kind", ["Lock", "RLock", "BoundedSemaphore"])
def test_processes_exclude_each_other(mp: Any, place: Any, kind: str) -> None:
    path = place / "count"
    path.write_text("0")
    with processes(mp, 3, functions.count_to, 50, path, getattr(mp, kind)()):
        pass
    assert path.read_text() == "150"


def test_a_recursive_lock_belongs_to_a_process(mp: Any, place: Any) -> None:
    lock = mp.RLock()
    with lock, processes(mp, 1, functions.look_at, lock, place / "seen"):
        pass
    assert json.loads((place / "seen").read_text()) == [
        "<RLock(SomeOtherProcess, nonzero)>", False, False,
        "attempt to release recursive lock not owned by thread",
    ]  # fmt: skip


def test_a_lock_is_released_by_any_process(mp: Any, place: Any) -> None:
    lock = mp.Lock()
    lock.acquire()
    with processes(mp, 1, functions.look_at, lock, place / "seen"):
        assert lock.acquire(timeout=60)
    assert json.loads((place / "seen").read_text()) == ["<Lock(owner=SomeOtherProcess)>", False, False]


def test_a_process_that_ends_does_not_release_what_it_holds(mp: Any) -> None:
    lock, recursive, bounded = mp.Lock(), mp.RLock(), mp.BoundedSemaphore(2)
    with processes(mp, 1, functions.acquire, lock, recursive, bounded):
        pass
    assert lock.acquire(timeout=0.3) is False
    assert recursive.acquire(timeout=0.3) is False
    assert bounded.get_value() == 1


def test_semaphores_are_signals_between_processes(mp: Any) -> None:
    ask, tell = mp.Semaphore(0), mp.Semaphore(0)
    with processes(mp, 1, functions.answer, ask, tell, 10):
        for _ in range(10):
            ask.release()
            assert tell.acquire(timeout=60)
    assert (ask.get_value(), tell.get_value()) == (0, 0)


def test_a_condition_wakes_processes(mp: Any) -> None:
    condition, ready, woken = mp.Condition(), mp.Semaphore(0), mp.Semaphore(0)
    with processes(mp, 3, functions.sleep_in, condition, ready, woken):
        for _ in range(3):
            assert ready.acquire(timeout=60)
        with condition:
            condition.notify()
        assert woken.acquire(timeout=60)
        assert not woken.acquire(timeout=0.1)
        with condition:
            condition.notify_all()
        assert woken.acquire(timeout=60)
        assert woken.acquire(timeout=60)


def test_an_event_is_seen_by_processes(mp: Any) -> None:
    asked, answered = mp.Event(), mp.Event()
    with processes(mp, 1, functions.echo, asked, answered):
        asked.set()
        assert answered.wait(60)
        assert not asked.is_set()


def test_a_barrier_holds_processes_together(mp: Any, place: Any) -> None:
    barrier = mp.Barrier(3)
    with processes(mp, 2, functions.meet, barrier, place):
        functions.meet(barrier, place)
    assert sorted(path.name for path in place.iterdir()) == [
        f"{number}-{index}" for number in range(3) for index in range(3)
    ]


def test_an_action_travels_with_its_barrier(mp: Any, place: Any) -> None:
    from functools import partial

    barrier = mp.Barrier(2, partial(functions.touch, place / "done"))
    with processes(mp, 1, functions.wait_in, barrier):
        barrier.wait(60)
        assert (place / "done").exists()


def test_an_aborted_barrier_is_broken_for_all_processes(mp: Any, place: Any) -> None:
    barrier = mp.Barrier(2)
    barrier.abort()
    with processes(mp, 1, functions.find_broken, barrier):
        pass

"""Locks and their relatives between processes: what the standard library's do, and ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


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


def count_to(number: int, path: Path, lock: Any) -> None:
    for _ in range(number):
        with lock:
            path.write_text(str(int(path.read_text()) + 1))


@pytest.mark.parametrize("kind", ["Lock", "RLock", "BoundedSemaphore"])
def test_processes_exclude_each_other(mp: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "count"
    path.write_text("0")
    with processes(mp, 3, count_to, 50, path, getattr(mp, kind)()):
        pass
    assert path.read_text() == "150"


def look_at(lock: Any, path: Path) -> None:
    shown = [repr(lock), lock.acquire(False), lock.acquire(timeout=0.01)]
    try:
        lock.release()
    except AssertionError as error:
        shown.append(str(error))
    path.write_text(json.dumps(shown))


def test_a_recursive_lock_belongs_to_a_process(mp: Any, tmp_path: Path) -> None:
    lock = mp.RLock()
    with lock, processes(mp, 1, look_at, lock, tmp_path / "seen"):
        pass
    assert json.loads((tmp_path / "seen").read_text()) == [
        "<RLock(SomeOtherProcess, nonzero)>", False, False,
        "attempt to release recursive lock not owned by thread",
    ]  # fmt: skip


def test_a_lock_is_released_by_any_process(mp: Any, tmp_path: Path) -> None:
    lock = mp.Lock()
    lock.acquire()
    with processes(mp, 1, look_at, lock, tmp_path / "seen"):
        assert lock.acquire(timeout=60)
    assert json.loads((tmp_path / "seen").read_text()) == ["<Lock(owner=SomeOtherProcess)>", False, False]


def acquire(*locks: Any) -> None:
    for lock in locks:
        lock.acquire()


def test_a_process_that_ends_does_not_release_what_it_holds(mp: Any) -> None:
    lock, recursive, bounded = mp.Lock(), mp.RLock(), mp.BoundedSemaphore(2)
    with processes(mp, 1, acquire, lock, recursive, bounded):
        pass
    assert lock.acquire(timeout=0.3) is False
    assert recursive.acquire(timeout=0.3) is False
    assert bounded.get_value() == 1


def answer(ask: Any, tell: Any, times: int) -> None:
    for _ in range(times):
        ask.acquire()
        tell.release()


def test_semaphores_are_signals_between_processes(mp: Any) -> None:
    ask, tell = mp.Semaphore(0), mp.Semaphore(0)
    with processes(mp, 1, answer, ask, tell, 10):
        for _ in range(10):
            ask.release()
            assert tell.acquire(timeout=60)
    assert (ask.get_value(), tell.get_value()) == (0, 0)


def sleep_in(condition: Any, ready: Any, woken: Any) -> None:
    with condition:
        ready.release()
        assert condition.wait(60)
        woken.release()


def test_a_condition_wakes_processes(mp: Any) -> None:
    condition, ready, woken = mp.Condition(), mp.Semaphore(0), mp.Semaphore(0)
    with processes(mp, 3, sleep_in, condition, ready, woken):
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


def echo(asked: Any, answered: Any) -> None:
    assert asked.wait(60)
    asked.clear()
    answered.set()


def test_an_event_is_seen_by_processes(mp: Any) -> None:
    asked, answered = mp.Event(), mp.Event()
    with processes(mp, 1, echo, asked, answered):
        asked.set()
        assert answered.wait(60)
        assert not asked.is_set()


def meet(barrier: Any, folder: Path) -> None:
    for number in range(3):
        index = barrier.wait(60)
        (folder / f"{number}-{index}").touch()


def test_a_barrier_holds_processes_together(mp: Any, tmp_path: Path) -> None:
    barrier = mp.Barrier(3)
    with processes(mp, 2, meet, barrier, tmp_path):
        meet(barrier, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{number}-{index}" for number in range(3) for index in range(3)
    ]


def touch(path: Path) -> None:
    path.touch()


def test_an_action_travels_with_its_barrier(mp: Any, tmp_path: Path) -> None:
    from functools import partial

    barrier = mp.Barrier(2, partial(touch, tmp_path / "done"))
    with processes(mp, 1, wait_in, barrier):
        barrier.wait(60)
        assert (tmp_path / "done").exists()


def wait_in(barrier: Any) -> None:
    barrier.wait(60)


def test_an_aborted_barrier_is_broken_for_all_processes(mp: Any, tmp_path: Path) -> None:
    barrier = mp.Barrier(2)
    barrier.abort()
    with processes(mp, 1, find_broken, barrier):
        pass


def find_broken(barrier: Any) -> None:
    from threading import BrokenBarrierError

    assert barrier.broken
    with pytest.raises(BrokenBarrierError):
        barrier.wait()

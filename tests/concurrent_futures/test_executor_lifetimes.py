"""How executors begin and end, over the standard library's executor as well."""

from __future__ import annotations

import gc
import os
import sys
import threading
import weakref
from concurrent.futures import BrokenExecutor, Executor, Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pytest
from futures_calls import (
    Door,
    Eventually,
    MakeExecutor,
    fail_to_start,
    pass_gate,
    recall,
    recall_otherwise,
    remember,
    square,
)


def start(executor: Executor, door: Door, eventually: Eventually) -> Future[Any]:
    """A call that runs until the door opens."""
    future = executor.submit(pass_gate, door.path, 0)
    eventually(lambda: door.arrived(0))
    return future


# ---------------------------------------------------------------- the end


def test_after_shutdown_nothing_can_be_submitted(make: MakeExecutor) -> None:
    executor = make()
    future = executor.submit(square, 2)
    executor.shutdown()
    assert future.done()
    assert future.result(0) == 4
    executor.shutdown()
    for submit in (lambda: executor.submit(square, 2), lambda: executor.map(square, [2])):
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            submit()


def test_leaving_the_context_waits_for_all_calls(make: MakeExecutor) -> None:
    with make() as executor:
        futures = [executor.submit(square, i) for i in range(20)]
    assert all(future.done() for future in futures)
    with make() as unused:
        assert isinstance(unused, Executor)


def test_shutdown_without_waiting(make: MakeExecutor, place: Any, eventually: Eventually) -> None:
    door = Door(place)
    executor = make(1)
    running = start(executor, door, eventually)
    waiting = [executor.submit(square, i) for i in range(5)]
    executor.shutdown(wait=False)
    assert not running.done()
    with pytest.raises(RuntimeError):
        executor.submit(square, 1)
    door.open()
    assert running.result(10) == 0
    assert [future.result(10) for future in waiting] == [0, 1, 4, 9, 16]


@pytest.mark.local_only("states")
def test_shutdown_that_cancels_what_waits(make: MakeExecutor, place: Any, eventually: Eventually) -> None:
    door = Door(place)
    executor = make(1)
    running = start(executor, door, eventually)
    eventually(running.running)
    # The standard library counts the first few that wait as running.
    waiting = [executor.submit(square, i) for i in range(10)][5:]
    executor.shutdown(wait=False, cancel_futures=True)
    eventually(lambda: all(future.cancelled() for future in waiting))
    door.open()
    assert running.result(10) == 0
    executor.shutdown()


def test_an_executor_that_is_dropped_ends_its_calls(
    make: MakeExecutor, place: Any, eventually: Eventually
) -> None:
    door = Door(place)
    executor = make(1)
    dropped = weakref.ref(executor)
    running = start(executor, door, eventually)
    waiting = executor.submit(square, 3)
    del executor
    door.open()
    assert (running.result(10), waiting.result(10)) == (0, 9)
    eventually(lambda: gc.collect() is not None and dropped() is None)


def test_no_threads_are_left(make: MakeExecutor, eventually: Eventually) -> None:
    before = set(threading.enumerate())
    with make() as executor:
        executor.submit(square, 2).result()
    eventually(lambda: {each for each in threading.enumerate() if "janitor" not in each.name} <= before)


# ---------------------------------------------------------------- how many


@pytest.mark.parametrize("max_workers", [0, -3])
def test_there_is_a_worker_or_more(make: MakeExecutor, max_workers: int) -> None:
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        make(max_workers)


def test_so_many_calls_run_at_once(make: MakeExecutor, place: Any, eventually: Eventually) -> None:
    door = Door(place)
    with make(3) as executor:
        futures = [executor.submit(pass_gate, door.path, i) for i in range(4)]
        eventually(lambda: all(door.arrived(i) for i in range(3)))
        assert not door.arrived(3)
        door.open()
        assert [future.result(10) for future in futures] == [0, 1, 2, 3]
        assert executor._max_workers == 3  # type: ignore[attr-defined] # other libraries look at it


# ---------------------------------------------------------------- initializers


def test_each_worker_is_initialized_once_before_its_first_call(make: MakeExecutor) -> None:
    with make(2, initializer=remember, initargs=(1, "two")) as executor:
        states = list(executor.map(recall, range(40)))
        assert {pid for pid, _ in states} - {os.getpid()}
        assert all(state == [1, "two"] for _, state in states)
        assert executor.submit(recall_otherwise).result() == [1, "two"]


def test_an_initializer_can_be_called(make: MakeExecutor) -> None:
    with pytest.raises(TypeError, match="initializer must be a callable"):
        make(2, initializer=5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_initializer_that_fails_breaks_the_executor(
    make: MakeExecutor, capfd: pytest.CaptureFixture[str]
) -> None:
    with make(2, initializer=fail_to_start, initargs=("no licence",)) as executor:
        futures = [executor.submit(square, i) for i in range(10)]
        for future in futures:
            with pytest.raises(BrokenProcessPool):
                future.result(20)
        for submit in (lambda: executor.submit(square, 2), lambda: executor.map(square, [2])):
            with pytest.raises(BrokenExecutor):
                submit()


needs_tasks_per_child = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="max_tasks_per_child is of Python 3.11"
)


@needs_tasks_per_child
@pytest.mark.parametrize(
    ("value", "error"),
    [(0, "max_tasks_per_child must be >= 1"), ("3", "max_tasks_per_child must be an integer")],
)
def test_tasks_per_child_are_a_number(make: MakeExecutor, value: Any, error: str) -> None:
    with pytest.raises((TypeError, ValueError), match=error):
        make(2, max_tasks_per_child=value)


@needs_tasks_per_child
@pytest.mark.local_only("workers")
def test_a_worker_is_replaced_after_so_many_calls(make: MakeExecutor) -> None:
    with make(1, max_tasks_per_child=2) as executor:
        pids = [executor.submit(recall).result()[0] for _ in range(6)]
    assert len(set(pids)) == 3
    assert pids[0::2] == pids[1::2]

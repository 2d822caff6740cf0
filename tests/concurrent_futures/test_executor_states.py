"""The states of futures, cancelling, callbacks and waiting. Each test runs over the standard library's executor too."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    Executor,
    Future,
    InvalidStateError,
    TimeoutError,  # noqa: A004 - on Python 3.10 it is not the builtin
    as_completed,
    wait,
)
from typing import Any

import pytest
from futures_calls import Door, Eventually, invert, pass_gate, square


def fill(pool: Executor, door: Door, eventually: Eventually) -> list[Future[Any]]:
    """Two calls that run until the door opens: they take both workers."""
    futures = [pool.submit(pass_gate, door.path, value) for value in "ab"]
    eventually(lambda: door.arrived("a") and door.arrived("b"))
    return futures


def queue_behind(pool: Executor, count: int) -> list[Future[int]]:
    """Calls that wait. The standard library takes the first few for running, so these are not among them."""
    return [pool.submit(square, i) for i in range(count + 8)][8:]


@pytest.fixture
def door(place: Any) -> Any:
    door = Door(place)
    yield door
    door.open()


@pytest.mark.local_only("states")
def test_from_pending_to_finished(pool: Executor, door: Door, eventually: Eventually) -> None:
    running = fill(pool, door, eventually)
    eventually(lambda: all(future.running() for future in running))
    waiting = queue_behind(pool, 1)[0]
    assert isinstance(waiting, Future)
    assert not waiting.running()
    assert not waiting.done()
    assert "state=pending" in repr(waiting)
    assert "state=running" in repr(running[0])
    assert not running[0].done()
    door.open()
    assert running[0].result(10) == "a"
    assert waiting.result(10) == 64
    assert repr(waiting).endswith("state=finished returned int>")
    failed = pool.submit(invert, 0)
    failed.exception(10)
    assert repr(failed).endswith("state=finished raised ZeroDivisionError>")


def test_a_call_that_waits_can_be_cancelled(pool: Executor, door: Door, eventually: Eventually) -> None:
    running = fill(pool, door, eventually)
    waiting, other = queue_behind(pool, 2)
    called: list[Future[int]] = []
    waiting.add_done_callback(called.append)
    assert waiting.cancel()
    assert called == [waiting]
    assert waiting.cancel()
    assert waiting.cancelled()
    assert waiting.done()
    assert not waiting.running()
    assert "state=cancelled" in repr(waiting)
    with pytest.raises(CancelledError):
        waiting.result()
    with pytest.raises(CancelledError):
        waiting.exception()
    with pytest.raises(InvalidStateError):
        waiting.set_result(1)
    door.open()
    assert other.result(10) == 81
    assert [future.result(10) for future in running] == ["a", "b"]
    assert called == [waiting]


@pytest.mark.local_only("states")
def test_a_call_that_runs_cannot_be_cancelled(pool: Executor, door: Door, eventually: Eventually) -> None:
    running = fill(pool, door, eventually)
    eventually(lambda: running[0].running())
    assert not running[0].cancel()
    assert not running[0].cancelled()
    door.open()
    assert running[0].result(10) == "a"
    assert not running[0].cancel()
    assert running[1].result(10) == "b"


def test_results_that_are_late(pool: Executor, door: Door, eventually: Eventually) -> None:
    future = fill(pool, door, eventually)[0]
    with pytest.raises(TimeoutError):
        future.result(timeout=0.01)
    with pytest.raises(TimeoutError):
        future.exception(timeout=0)
    door.open()
    assert future.result(timeout=10) == "a"


# ---------------------------------------------------------------- callbacks


def test_callbacks_are_called_in_order_with_the_future(
    pool: Executor, door: Door, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    future = fill(pool, door, eventually)[0]
    called: list[Any] = []

    def fail(_: Future[Any]) -> None:
        raise ValueError("a callback's own")

    last = threading.Event()
    future.add_done_callback(lambda done: called.append((1, done)))
    future.add_done_callback(fail)
    future.add_done_callback(lambda done: called.append((2, done)))
    future.add_done_callback(lambda _: last.set())
    with caplog.at_level(logging.ERROR, "concurrent.futures"):
        door.open()
        assert last.wait(10)
    assert called == [(1, future), (2, future)]
    assert "exception calling callback for" in caplog.text
    assert "a callback's own" in caplog.text
    future.add_done_callback(lambda done: called.append((3, done)))  # at once, in this thread
    assert called[2:] == [(3, future)]


def test_a_callback_may_submit(pool: Executor) -> None:
    following: list[Future[int]] = []
    submitted = threading.Event()

    def go_on(done: Future[int]) -> None:
        following.append(pool.submit(square, done.result()))
        submitted.set()

    pool.submit(square, 3).add_done_callback(go_on)
    assert submitted.wait(10)
    assert following[0].result(10) == 81


# ---------------------------------------------------------------- wait and as_completed


def test_wait_until_all_or_the_first_have_ended(pool: Executor, door: Door, eventually: Eventually) -> None:
    slow = fill(pool, door, eventually)
    quick = [Future[int](), Future[int]()]
    quick[0].set_result(1)
    assert wait([*slow, quick[0]], return_when=FIRST_COMPLETED) == ({quick[0]}, set(slow))
    assert wait(slow, timeout=0.01) == (set(), set(slow))
    door.open()
    assert wait(slow, timeout=10, return_when=ALL_COMPLETED) == (set(slow), set())


def test_wait_until_one_has_failed(pool: Executor, place: Any) -> None:
    door = Door(place)
    slow = pool.submit(pass_gate, door.path, 1)
    failing = pool.submit(invert, 0)
    done, not_done = wait([slow, failing], timeout=10, return_when=FIRST_EXCEPTION)
    assert (done, not_done) == ({failing}, {slow})
    door.open()
    slow.result(10)


def test_futures_as_they_complete(pool: Executor, place: Any) -> None:
    first, second = Door(place, "first"), Door(place, "second")
    futures = [pool.submit(pass_gate, first.path, 1), pool.submit(pass_gate, second.path, 2)]
    arriving = as_completed(futures, timeout=10)
    second.open()
    assert next(arriving) is futures[1]
    first.open()
    assert next(arriving) is futures[0]
    assert list(arriving) == []


def test_as_completed_and_wait_see_what_is_cancelled(
    pool: Executor, door: Door, eventually: Eventually
) -> None:
    fill(pool, door, eventually)
    waiting = queue_behind(pool, 1)[0]
    seen = threading.Event()

    def watch() -> None:
        for future in as_completed([waiting]):
            assert future is waiting
            seen.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert waiting.cancel()
    door.open()  # the standard library tells only when its turn has come
    assert seen.wait(10)
    watcher.join()
    assert wait([waiting], timeout=10) == ({waiting}, set())


def test_as_completed_in_time(pool: Executor, door: Door, eventually: Eventually) -> None:
    futures = fill(pool, door, eventually)
    with pytest.raises(TimeoutError, match=r"2 \(of 2\) futures unfinished"):
        list(as_completed(futures, timeout=0.01))
    door.open()
    assert {future.result() for future in as_completed(futures)} == {"a", "b"}


def test_map_in_time(pool: Executor, door: Door, eventually: Eventually) -> None:
    running = fill(pool, door, eventually)
    results = pool.map(square, range(20), timeout=0.01)
    with pytest.raises(TimeoutError):
        next(results)
    door.open()
    assert [future.result(10) for future in running] == ["a", "b"]
    assert list(pool.map(square, [2], timeout=10)) == [4]


def test_closing_the_results_cancels_what_is_left(
    pool: Executor, door: Door, eventually: Eventually, place: Any
) -> None:
    fill(pool, door, eventually)
    other = Door(place, "other")
    running = pool.submit(square, 1)
    results: Any = pool.map(pass_gate, [door.path, *[other.path] * 19], range(20))
    door.open()
    assert next(results) == 0
    results.close()
    assert list(results) == []
    other.open()
    running.result(10)
    assert pool.submit(square, 3).result(10) == 9
    assert not other.arrived(19)


# ---------------------------------------------------------------- asyncio


def test_an_event_loop_runs_calls_in_it(pool: Executor) -> None:
    async def program() -> Any:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(pool, square, i) for i in range(10)]
        failing = loop.run_in_executor(pool, invert, 0)
        wrapped = asyncio.wrap_future(pool.submit(square, 10))
        return await asyncio.gather(*calls, wrapped, failing, return_exceptions=True)

    *values, error = asyncio.run(program())
    assert values == [i * i for i in range(11)]
    assert isinstance(error, ZeroDivisionError)


def test_cancelling_a_task_cancels_its_call(pool: Executor, door: Door, eventually: Eventually) -> None:
    fill(pool, door, eventually)
    waiting = queue_behind(pool, 1)[0]

    async def program() -> None:
        task = asyncio.ensure_future(asyncio.wrap_future(waiting))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(task, 0.01)
        assert task.cancelled()

    asyncio.run(program())
    assert waiting.cancelled()

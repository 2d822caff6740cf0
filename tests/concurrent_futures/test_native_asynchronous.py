"""Native futures in programs of asyncio."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from futures_calls import Door, Eventually, invert, pass_gate, square

import lithops
from lithops import FunctionExecutor
from lithops.future import ResponseFuture


def test_futures_arrive_as_their_calls_end(fexec: FunctionExecutor, tmp_path: Path) -> None:
    first, second = Door(tmp_path, "first"), Door(tmp_path, "second")
    futures = fexec.map(pass_gate, [(first.path, 1), (second.path, 2)])

    async def program() -> list[ResponseFuture]:
        arrived = []
        second.open()
        async for future in lithops.as_completed(futures, timeout=20):
            assert future.done
            arrived.append(future)
            first.open()
        return arrived

    assert asyncio.run(program()) == [futures[1], futures[0]]


def test_many_futures_arrive_once_each(fexec: FunctionExecutor) -> None:
    futures = fexec.map(square, range(500))

    async def program() -> list[int]:
        return [await future async for future in lithops.as_completed(futures)]

    assert sorted(asyncio.run(program())) == [i * i for i in range(500)]
    assert asyncio.run(program()) == [i * i for i in range(500)]  # all have ended


def test_what_as_completed_gives_can_be_iterated_over_in_both_ways(fexec: FunctionExecutor) -> None:
    arriving = lithops.as_completed(fexec.map(square, range(4)))
    assert isinstance(arriving, Iterator)
    assert isinstance(arriving, AsyncIterator)

    async def take_two() -> list[Any]:
        return [(await anext(arriving)).result(), (await anext(arriving)).result()]

    taken = [next(arriving).result(), *asyncio.run(take_two()), next(arriving).result()]
    assert sorted(taken) == [0, 1, 4, 9]
    assert list(arriving) == []

    async def take_none() -> None:
        with pytest.raises(StopAsyncIteration):
            await anext(arriving)

    asyncio.run(take_none())


def test_no_futures_at_all() -> None:
    async def program() -> list[Any]:
        return [future async for future in lithops.as_completed([], timeout=0)]

    assert asyncio.run(program()) == []


def test_the_loop_goes_on_and_no_thread_waits(
    fexec: FunctionExecutor, tmp_path: Path, eventually: Eventually
) -> None:
    door = Door(tmp_path)
    futures = fexec.map(pass_gate, [(door.path, i) for i in range(20)])
    eventually(lambda: futures[0].running)

    async def program() -> int:
        before = threading.active_count()
        waiting = [asyncio.ensure_future(_take_all(futures)) for _ in range(10)]
        ticks = 0
        while ticks < 20:
            await asyncio.sleep(0.001)
            ticks += 1
        assert threading.active_count() == before
        door.open()
        assert [len(each) for each in await asyncio.gather(*waiting)] == [20] * 10
        return ticks

    assert asyncio.run(program()) == 20


async def _take_all(futures: list[ResponseFuture]) -> list[ResponseFuture]:
    return [future async for future in lithops.as_completed(futures)]


def test_a_timeout(fexec: FunctionExecutor, tmp_path: Path) -> None:
    door, opened = Door(tmp_path), Door(tmp_path, "opened")
    opened.open()
    futures = fexec.map(pass_gate, [(door.path, 1), (opened.path, 2)])

    async def program() -> None:
        started = time.monotonic()
        arriving = lithops.as_completed(futures, timeout=0.5)
        assert await anext(arriving) is futures[1]
        with pytest.raises(TimeoutError, match=r"1 of 2 calls have not ended after 0\.5 s"):
            await anext(arriving)
        assert time.monotonic() - started < 5

    asyncio.run(program())
    door.open()
    assert fexec.get_result(futures) == [1, 2]


def test_a_task_that_is_cancelled_breaks_nothing(
    fexec: FunctionExecutor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    door = Door(tmp_path)
    futures = fexec.map(pass_gate, [(door.path, 1), (door.path, 2)])
    arriving = lithops.as_completed(futures)

    async def program() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(anext(arriving), 0.01)

    with caplog.at_level(logging.ERROR):
        asyncio.run(program())  # and its loop is closed
        door.open()
        assert {next(arriving).result(), next(arriving).result()} == {1, 2}
    assert caplog.records == []
    assert fexec.call_async(square, 3).result() == 9


def test_results_in_the_order_of_the_calls(fexec: FunctionExecutor, tmp_path: Path) -> None:
    first, second = Door(tmp_path, "first"), Door(tmp_path, "second")
    futures = fexec.map(pass_gate, [(first.path, 1), (second.path, 2)])

    async def program() -> list[int]:
        second.open()
        opener = asyncio.get_running_loop().call_later(0.05, first.open)
        results = [result async for result in futures]
        assert opener.when() <= asyncio.get_running_loop().time()
        return results

    assert asyncio.run(program()) == [1, 2]


def test_results_end_with_an_error(fexec: FunctionExecutor) -> None:
    futures = fexec.map(invert, [1, 2, 0, 4])

    async def program() -> list[float]:
        arriving = aiter(futures)
        results = [await anext(arriving), await anext(arriving)]
        with pytest.raises(ZeroDivisionError):
            await anext(arriving)
        return results

    assert asyncio.run(program()) == [1.0, 0.5]


def test_an_iteration_that_is_left_is_forgotten(fexec: FunctionExecutor, tmp_path: Path) -> None:
    door, opened = Door(tmp_path), Door(tmp_path, "opened")
    opened.open()
    waiting, ended = fexec.map(pass_gate, [(door.path, 1), (opened.path, 2)])
    for _ in range(3):
        for future in lithops.as_completed([waiting, ended]):
            assert future is ended
            break
    del future
    gc.collect()
    assert not waiting._watchers
    door.open()
    assert waiting.result() == 1

"""A program as users write it, for the type checker: it is checked with all tests, and run here as well."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import lithops
from lithops import FunctionExecutor, RetryingFunctionExecutor, Storage
from lithops.future import ResponseFuture
from lithops.retries import RetryingFuture
from lithops.storage.utils import CloudObject
from lithops.utils import FuturesList
from lithops.wait import ANY_COMPLETED


def double(x: int) -> int:
    return 2 * x


def add_up(results: list[int]) -> int:
    return sum(results)


def program(fexec: FunctionExecutor) -> list[Any]:
    future: ResponseFuture = fexec.call_async(double, 1)
    futures: FuturesList = fexec.map(
        double, [1, 2, 3], extra_args=None, timeout=30, retries=1, retry_on=OSError
    )
    chained: FuturesList = futures.map(double)
    reduced: FuturesList = fexec.map_reduce(double, range(3), add_up, spawn_reducer=50)
    streamed: Iterator[Any] = fexec.imap(double, iter([1, 2]), window=4)

    done: list[ResponseFuture]
    not_done: list[ResponseFuture]
    done, not_done = fexec.wait([future, *futures], return_when=ANY_COMPLETED)
    assert len(done) + len(not_done) == 4
    done, not_done = lithops.wait([future, [futures, chained]])
    assert not_done == []

    results: list[Any] = lithops.get_result(chained)
    stats: dict[str, Any] = future.stats
    error: BaseException | None = future.exception(timeout=1.5)
    name: str = future.function_name
    ended: bool = future.done and future.success and not future.error and not future.cancelled()
    for one in lithops.as_completed(futures, timeout=10):
        assert one.ready

    storage: Storage = fexec.storage
    cloudobject: CloudObject = storage.put_cloudobject(b"typed")
    storage.delete_cloudobject(cloudobject)
    rows: list[dict[str, Any]] = fexec.job_summary()

    retried: list[RetryingFuture] = RetryingFunctionExecutor(fexec).map(double, [1], retries=2)
    return [
        *(fexec.get_result(future), fexec.get_result(reduced), results, list(streamed)),
        *(name, ended, error, len(rows) >= 4, "worker_exec_time" in stats, retried[0].result()),
    ]


async def asynchronous_program(fexec: FunctionExecutor) -> Any:
    return await fexec.call_async(double, 4)


def test_the_program_runs(fexec: FunctionExecutor) -> None:
    assert program(fexec) == [2, 6, [4, 8, 12], [2, 4], "double", True, None, True, True, 2]
    assert asyncio.run(asynchronous_program(fexec)) == 8

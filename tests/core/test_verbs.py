"""What the verbs give: shapes of results, order, waiting, and many calls at once."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gates import Gate, arrive, pass_gate

import lithops
from lithops import FunctionExecutor
from lithops.future import ResponseFuture
from lithops.utils import FuturesList
from lithops.wait import ALL_COMPLETED, ALWAYS, ANY_COMPLETED

Eventually = Callable[..., None]


def square(x: int) -> int:
    return x * x


def add_up(results: list[int]) -> int:
    return sum(results)


def fail_if_odd(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x


def one_future(x: int) -> ResponseFuture:
    return FunctionExecutor(log_level=None).call_async(square, x)


def three_futures(x: int) -> FuturesList:
    return FunctionExecutor(log_level=None).map(square, [x, x + 1, x + 2])


# ---------------------------------------------------------------- the shape of results


def test_one_call_gives_its_bare_value(fexec: FunctionExecutor) -> None:
    future = fexec.call_async(square, 7)
    assert isinstance(future, ResponseFuture)
    assert fexec.get_result(future) == 49
    assert fexec.get_result([future]) == 49
    assert lithops.get_result(future) == [49]


def test_map_gives_a_list_also_for_one_element(fexec: FunctionExecutor) -> None:
    futures = fexec.map(square, [7])
    assert isinstance(futures, FuturesList)
    assert fexec.get_result(futures) == futures.get_result() == [49]


def test_results_are_in_the_order_of_the_elements(fexec: FunctionExecutor) -> None:
    assert fexec.map(square, range(500)).get_result() == [x * x for x in range(500)]


def test_a_reducer_gives_its_bare_value(fexec: FunctionExecutor) -> None:
    futures = fexec.map_reduce(square, [1, 2, 3], add_up)
    assert [future.job_id[0] for future in futures] == ["M", "M", "M", "R"]
    assert fexec.get_result(futures) == 14
    assert lithops.get_result(futures) == [14]


def test_returned_futures_are_followed(fexec: FunctionExecutor) -> None:
    assert fexec.get_result(fexec.call_async(one_future, 3)) == 9
    assert fexec.get_result(fexec.call_async(three_futures, 3)) == [9, 16, 25]
    assert fexec.get_result(fexec.map(one_future, [4])) == [16]


def test_unread_results_come_in_call_order_and_once() -> None:
    with FunctionExecutor(log_level=None, worker_processes=2) as fexec:
        assert fexec.get_result() == []
        fexec.map(square, [1, 2])
        fexec.call_async(square, 3)
        fexec.map_reduce(square, [4, 5], add_up)
        assert fexec.get_result() == [1, 4, 9, 41]
        assert fexec.get_result() == []
        fexec.call_async(square, 6)
        assert fexec.get_result() == 36
        read, unread = fexec.map(square, [7, 8])
        assert read.result() == 49
        assert fexec.get_result() == [64]
        assert unread.was_read


def test_empty_input_is_an_empty_list(fexec: FunctionExecutor) -> None:
    empty: list[int] = []
    futures = fexec.map(square, empty)
    assert futures == []
    assert fexec.get_result(futures) == []
    assert fexec.wait(futures) == ([], [])
    assert fexec.get_result(fexec.map_reduce(square, empty, add_up)) == 0


def test_names_of_jobs_and_calls() -> None:
    with FunctionExecutor(log_level=None, worker_processes=1, runtime_memory=None) as fexec:
        single = fexec.call_async(square, 1, runtime_memory=512)
        first, second = fexec.map(square, [1, 2])
        assert (single.job_id, first.job_id) == ("A000", "M001")
        assert (first.call_id, second.call_id) == ("00000", "00001")
        assert first.job_key == f"{fexec.executor_id}-M001"
        assert first.executor_id == fexec.executor_id
        assert (first.function_name, single.runtime_memory) == ("square", 512)
        fexec.wait()
        assert first.activation_id.startswith("pid-")


def test_attributes_of_an_executor(fexec: FunctionExecutor) -> None:
    assert (fexec.backend, fexec.mode) == ("localhost", "localhost")
    assert fexec.config["localhost"]["worker_processes"] == 2
    assert fexec.config["lithops"]["data_limit"] == 4
    assert isinstance(fexec.storage, lithops.Storage)
    assert fexec.compute_handler.name == "localhost"
    assert fexec.invoker is not None
    assert fexec.job_monitor is not None
    assert fexec.executor_id != FunctionExecutor(log_level=None).executor_id


# ---------------------------------------------------------------- failures, and waiting


def test_throw_except_false_gives_none_for_failures(fexec: FunctionExecutor) -> None:
    futures = fexec.map(fail_if_odd, range(5))
    assert fexec.get_result(futures, throw_except=False) == [0, None, 2, None, 4]
    assert fexec.wait(futures, throw_except=False) == (futures, [])
    assert [future.error for future in futures] == [False, True, False, True, False]
    with pytest.raises(ValueError, match=r"^1 is odd$"):
        fexec.get_result(futures)


@pytest.mark.parametrize("verb", ["wait", "get_result"])
def test_a_failure_is_thrown_while_others_still_run(
    fexec: FunctionExecutor, tmp_path: Path, verb: str
) -> None:
    gate = Gate(tmp_path)
    running = fexec.call_async(pass_gate, (gate.path,))
    failed = fexec.call_async(fail_if_odd, 3)
    with pytest.raises(ValueError, match="3 is odd"):
        getattr(fexec, verb)([running, failed])
    assert not running.done
    gate.open()
    running.result(timeout=10)


def test_wait_for_some(fexec: FunctionExecutor, tmp_path: Path) -> None:
    gates = [Gate(tmp_path, f"gate{number}") for number in range(4)]
    futures = fexec.map(pass_gate, [(gate.path, number) for number, gate in enumerate(gates)])
    assert fexec.wait(futures, return_when=ALWAYS) == ([], futures)
    gates[0].open()
    done, not_done = fexec.wait(futures, return_when=ANY_COMPLETED, timeout=10)
    assert (done, not_done) == (futures[:1], futures[1:])
    gates[1].open()
    done, not_done = fexec.wait(futures, return_when=50, timeout=10)
    assert (done, not_done) == (futures[:2], futures[2:])
    # Not one of the four less would be 51 per cent.
    with pytest.raises(TimeoutError, match=r"1 of 4 calls have not ended after 0\.05 s; they go on"):
        fexec.wait(futures, return_when=51, timeout=0.05)
    for gate in gates:
        gate.open()
    assert fexec.wait(futures, return_when=ALL_COMPLETED, timeout=10) == (futures, [])


def test_a_timeout_in_a_thread_raises_and_calls_go_on(fexec: FunctionExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    futures = fexec.map(pass_gate, [(gate.path, "a"), (gate.path, "b")])
    with ThreadPoolExecutor(3) as pool:
        waits = [
            pool.submit(fexec.get_result, futures, timeout=0.05),
            pool.submit(futures[0].result, timeout=0.05),
            pool.submit(list, lithops.as_completed(futures, timeout=0.05)),
        ]
        for waiting in waits:
            assert isinstance(waiting.exception(timeout=10), TimeoutError)
    gate.open()
    assert fexec.get_result(futures, timeout=10) == ["a", "b"]


@pytest.mark.parametrize("return_when", [-2, 101])
def test_a_return_when_that_means_nothing(fexec: FunctionExecutor, return_when: int) -> None:
    with pytest.raises(ValueError, match=rf"return_when is {return_when}: use ALWAYS, ANY_COMPLETED"):
        fexec.wait([fexec.call_async(square, 1)], return_when=return_when)


def test_what_is_no_future_cannot_be_waited_for() -> None:
    with pytest.raises(
        ValueError, match="expected a future or a list of futures, not 5; pass what call_async"
    ):
        lithops.wait([5])


def test_as_completed_gives_futures_as_they_end(fexec: FunctionExecutor, tmp_path: Path) -> None:
    first, second = Gate(tmp_path, "first"), Gate(tmp_path, "second")
    futures = fexec.map(pass_gate, [(first.path, 1), (second.path, 2)])
    arriving = fexec.as_completed(futures, timeout=10)
    second.open()
    assert next(arriving) is futures[1]
    first.open()
    assert next(arriving) is futures[0]
    assert list(arriving) == []


# ---------------------------------------------------------------- map_reduce


def average(results: list[int], weight: int, offset: int = 0) -> float:
    return weight * sum(results) / len(results) + offset


@pytest.mark.parametrize(("extra", "expected"), [((2,), 5.0), ({"weight": 2, "offset": 1}, 6.0)])
def test_arguments_of_a_reducer(fexec: FunctionExecutor, extra: Any, expected: float) -> None:
    futures = fexec.map_reduce(fail_if_odd, [2, 4], lambda results, **_: sum(results))
    assert fexec.get_result(futures) == 6
    reduced = fexec.map_reduce(square, [1, 2], average, extra_args_reduce=extra)
    assert fexec.get_result(reduced) == expected


def test_a_reducer_inherits_the_failure_of_its_input(fexec: FunctionExecutor) -> None:
    futures = fexec.map_reduce(fail_if_odd, [0, 1, 2], add_up)
    reducer = futures[-1]
    with pytest.raises(ValueError, match="1 is odd") as caught:
        reducer.result(timeout=10)
    assert "fail_if_odd" in str(caught.value.__cause__)
    assert fexec.get_result(futures, throw_except=False) is None


def count_lines(obj: Any) -> tuple[str, int]:
    return obj.key, obj.data_stream.read().count(b"\n")


def total(results: list[tuple[str, int]]) -> tuple[str, int, int]:
    names = {name for name, _ in results}
    return names.pop(), len(results), sum(count for _, count in results)


def test_one_reducer_for_each_object(fexec: FunctionExecutor) -> None:
    bucket = "by-key"
    fexec.storage.create_bucket(bucket)
    for name, lines in (("a.txt", 100), ("b.txt", 7)):
        fexec.storage.put_object(bucket, name, "line\n" * lines)
    futures = fexec.map_reduce(count_lines, bucket, total, obj_chunk_size=100, obj_reduce_by_key=True)
    assert fexec.get_result(futures) == [("a.txt", 5, 100), ("b.txt", 1, 7)]
    single = fexec.map_reduce(count_lines, f"{bucket}/b.txt", total, obj_reduce_by_key=True)
    assert fexec.get_result(single) == [("b.txt", 1, 7)]


def after_all(results: list[Any], gate: str) -> list[Any]:
    arrive(gate, results[0])
    return results


@pytest.mark.parametrize(("percent", "starts_early"), [(ALWAYS, True), (50, True), (51, False), (100, False)])
def test_reducers_start_when_so_many_maps_have_ended(
    fexec: FunctionExecutor, tmp_path: Path, percent: int, starts_early: bool, eventually: Eventually
) -> None:
    """Of two objects one is done, so its reducer could start; half of all map calls have ended."""
    bucket = "two-objects"
    fexec.storage.create_bucket(bucket)
    fexec.storage.put_object(bucket, "done", "")
    fexec.storage.put_object(bucket, "late", "")
    maps, reducers = Gate(tmp_path, "maps"), Gate(tmp_path, "reducers")
    (tmp_path / "open").touch()

    def read(obj: Any, opened: str, closed: str) -> str:
        return str(pass_gate(closed if obj.key == "late" else opened, obj.key))

    futures = fexec.map_reduce(
        read, bucket, after_all, extra_args=(str(tmp_path / "open"), maps.path),
        extra_args_reduce=(reducers.path,), obj_reduce_by_key=True, spawn_reducer=percent,
    )  # fmt: skip
    assert futures[0].result(timeout=10) == "done"
    eventually(lambda: maps.arrived("late"))
    if starts_early:
        assert futures[2].result(timeout=10) == ["done"]
    else:
        # What is sent after it has come back: it would have been before.
        assert fexec.call_async(square, 3).result(timeout=10) == 9
        assert not reducers.arrived("done")
    maps.open()
    assert fexec.get_result(futures, timeout=10) == [["done"], ["late"]]


def test_a_spawn_reducer_that_is_no_percentage(fexec: FunctionExecutor) -> None:
    with pytest.raises(ValueError, match="spawn_reducer is 101: it must be a percentage from 0 to 100"):
        fexec.map_reduce(square, [1], add_up, spawn_reducer=101)


# ---------------------------------------------------------------- options


def environment(*names: str) -> list[str | None]:
    return [os.environ.get(name) for name in names]


def test_extra_env_is_set_for_the_job_alone(fexec: FunctionExecutor) -> None:
    names = ("OF_THIS_JOB", "WITH_A_STRANGE_VALUE")
    given = {"OF_THIS_JOB": "ä=1", "WITH_A_STRANGE_VALUE": os.fsdecode(b"\xff")}
    assert fexec.call_async(environment, names, extra_env=given).result() == list(given.values())
    assert fexec.map(environment, [names] * 4).get_result() == [[None, None]] * 4


def test_max_concurrency_bounds_how_many_run(fexec: FunctionExecutor, tmp_path: Path) -> None:
    """With one call at a time the second gate is reached only once the first is open, though a worker is free."""
    gate = Gate(tmp_path)
    futures = fexec.map(pass_gate, [(gate.path, 0), (gate.path, 1)], max_concurrency=1, chunksize=1)
    other = fexec.call_async(square, 3)
    assert other.result(timeout=10) == 9
    assert not gate.arrived(1)
    gate.open()
    assert fexec.get_result(futures, timeout=10) == [0, 1]
    ends = [future.stats["worker_end_tstamp"] for future in futures]
    assert ends[0] <= futures[1].stats["worker_start_tstamp"]


def slow_at_first(number: int, gate: str) -> int:
    """The last call waits at the gate when it is made for the first time."""
    if number == 9:
        if not os.path.exists(f"{gate}.9"):
            return int(pass_gate(gate, number))
        arrive(gate, "twin")
    return number


def test_a_late_call_is_run_a_second_time(
    fexec: FunctionExecutor, tmp_path: Path, eventually: Eventually, workers: Callable[[], set[int]]
) -> None:
    """The first result counts, and who runs for nothing is stopped: its worker is free again."""
    gate = Gate(tmp_path)
    futures = fexec.map(slow_at_first, [(number, gate.path) for number in range(10)], speculative=True)
    assert fexec.get_result(futures, timeout=20) == list(range(10))
    assert gate.arrived("twin")
    eventually(lambda: gate.pid(9) not in workers())


def test_without_asking_no_call_is_run_twice(fexec: FunctionExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    futures = fexec.map(slow_at_first, [(number, gate.path) for number in range(10)])
    fexec.wait(futures, return_when=90, timeout=20)
    with pytest.raises(TimeoutError):
        futures[9].result(timeout=1)
    gate.open()
    assert fexec.get_result(futures, timeout=20) == list(range(10))
    assert not gate.arrived("twin")


def test_chunks_of_any_size(fexec: FunctionExecutor) -> None:
    for size in (1, 7, 100_000):
        assert fexec.map(square, range(20), chunksize=size).get_result() == [x * x for x in range(20)]


def test_one_task_may_be_asked_to_hold_very_many_calls(fexec: FunctionExecutor) -> None:
    """More than the pipes between client and worker hold at once."""
    futures = fexec.map(square, range(66_000), chunksize=66_000)
    assert fexec.get_result(futures, timeout=60)[-1] == 65_999**2


def test_imap_takes_endless_input_and_keeps_little(fexec: FunctionExecutor) -> None:
    taken = itertools.count()
    before = list(fexec.futures)
    results = fexec.imap(square, taken, window=10)
    assert [next(results) for _ in range(25)] == [x * x for x in range(25)]
    assert next(taken) <= 25 + 2 * 10
    assert fexec.futures == before
    assert sorted(fexec.imap_unordered(square, range(30), window=4)) == [x * x for x in range(30)]
    with pytest.raises(ValueError, match="window is 0: it must be 1 or more"):
        next(fexec.imap(square, [1], window=0))


# ---------------------------------------------------------------- many at once


def test_two_executors_at_once() -> None:
    with (
        FunctionExecutor(log_level=None, worker_processes=1) as one,
        FunctionExecutor(log_level=None, worker_processes=1) as other,
    ):
        futures = [*one.map(square, range(50)), *other.map(square, range(50, 100))]
        done, not_done = lithops.wait(futures)
        assert (len(done), not_done) == (100, [])
        assert lithops.get_result(futures) == [x * x for x in range(100)]


def test_many_threads_use_one_executor(fexec: FunctionExecutor) -> None:
    start = threading.Barrier(8)

    def work(number: int) -> list[Any]:
        start.wait()
        mapped = fexec.map(square, range(number, number + 20))
        single = fexec.call_async(square, number)
        streamed = list(fexec.imap(square, range(number, number + 30), window=8))
        reduced = fexec.map_reduce(square, [number, number], add_up)
        return [fexec.get_result(mapped), fexec.get_result(single), streamed, fexec.get_result(reduced)]

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(work, range(8)))
    for number, (mapped, single, streamed, reduced) in enumerate(outcomes):
        assert mapped == [x * x for x in range(number, number + 20)]
        assert (single, reduced) == (number**2, 2 * number**2)
        assert streamed == [x * x for x in range(number, number + 30)]
    # What was streamed is not waiting to be read, and what was not is all there.
    jobs = [future.job_id for future in fexec.futures if future.job_id.startswith(("A", "R"))]
    assert len(jobs) >= 16


def return_or_raise(x: int, error: str | None) -> int:
    if error is not None:
        raise {"key": KeyError, "value": ValueError, "os": OSError}[error](x)
    return x


def test_two_thousand_calls_are_all_accounted_for(fexec: FunctionExecutor) -> None:
    kinds = {"key": KeyError, "value": ValueError, "os": OSError, None: None}
    chance = random.Random(1)
    plan = [(x, chance.choice([None, None, None, *filter(None, kinds)])) for x in range(2_000)]
    futures = fexec.map(return_or_raise, plan)
    fexec.wait(futures, throw_except=False, timeout=60)
    for future, (x, kind) in zip(futures, plan, strict=True):
        error = future.exception()
        if kind is None:
            assert error is None
            assert future.result() == x
        else:
            assert type(error) is kinds[kind]
            assert error.args == (x,)


def sleep_for(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def test_a_long_call_delays_no_short_one(fexec: FunctionExecutor) -> None:
    """A thousand short calls with a long one among them: all but that one end before it does."""
    long_s = 1.0
    fexec.map(square, range(4)).get_result()  # the workers are warm
    futures = fexec.map(sleep_for, [long_s if x == 300 else 0.0 for x in range(1_001)])
    long = futures[300]
    short = [future for future in futures if future is not long]
    fexec.wait(short, timeout=30)
    assert not long.done
    fexec.get_result(futures)
    ended = long.stats["worker_end_tstamp"]
    assert max(future.stats["worker_end_tstamp"] for future in short) < ended
    assert max(future.stats["worker_start_tstamp"] for future in short) < ended

"""Calls whose inputs are results of other calls, and executors inside functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gates import Gate, pass_gate

import lithops
from lithops import FunctionExecutor
from lithops.exceptions import CallCancelled, InvalidCall, WorkerLost
from lithops.future import ResponseFuture
from lithops.utils import FuturesList

LARGE = 9 << 20


def add(x: int, y: int = 1) -> int:
    return x + y


def add_up(results: list[int]) -> int:
    return sum(results)


def pair(x: int) -> tuple[int, int]:
    return x, 10 * x


def as_dict(x: int) -> dict[str, int]:
    return {"y": x, "x": 100}


def fail_on_two(x: int) -> int:
    if x == 2:
        raise LookupError("two is not there")
    return x


def test_each_call_gets_a_result(fexec: FunctionExecutor) -> None:
    chained = fexec.map(add, range(10)).map(add).map(add, extra_args=(10,))
    assert isinstance(chained, FuturesList)
    assert chained.get_result() == [x + 12 for x in range(10)]


def test_results_become_arguments_as_elements_do(fexec: FunctionExecutor) -> None:
    assert fexec.map(pair, [1, 2]).map(add).get_result() == [11, 22]
    assert fexec.map(as_dict, [1, 2]).map(add).get_result() == [101, 102]
    assert fexec.map(as_dict, [1]).map(add, extra_args={"y": 7}).get_result() == [107]


def test_a_plain_list_of_futures_will_do(fexec: FunctionExecutor) -> None:
    futures = [fexec.call_async(add, 1), fexec.call_async(add, 2)]
    assert fexec.map(add, futures).get_result() == [3, 4]
    with pytest.raises(
        InvalidCall, match="the input data mixes futures and other data: use a list of futures alone"
    ):
        fexec.map(add, [futures[0], 5])


def test_results_stream(fexec: FunctionExecutor, tmp_path: Path) -> None:
    """A call goes on as soon as its own input is there, whatever the others do."""
    gate = Gate(tmp_path)
    gates = fexec.map(pass_gate, [(gate.path, 1), (str(tmp_path), 2)])  # the second gate is open
    chained = gates.map(add)
    assert chained[1].result(timeout=10) == 3
    assert not gates[0].done
    gate.open()
    assert chained.get_result(timeout=10) == [2, 3]


def test_sync_waits_for_all(fexec: FunctionExecutor, tmp_path: Path) -> None:
    futures = fexec.map(add, range(4))
    chained = futures.map(add, sync=True)
    assert all(future.done for future in futures)
    assert chained.get_result() == [2, 3, 4, 5]


def test_large_results_pass_from_call_to_call(fexec: FunctionExecutor) -> None:
    def make(letter: str) -> str:
        return letter * LARGE

    assert fexec.map(make, ["a", "b"]).map(len).get_result() == [LARGE, LARGE]
    reduced = fexec.map_reduce(make, ["a", "b"], lambda texts: [len(text) for text in texts])
    assert fexec.get_result(reduced) == [LARGE, LARGE]


def test_a_chain_of_map_reduce(fexec: FunctionExecutor) -> None:
    reduced = fexec.map(add, [1, 2, 3]).map_reduce(add, add_up)
    assert reduced.get_result() == 12
    again = reduced.map(add)
    assert again.get_result() == [13], "what follows a map_reduce gets its result"
    assert fexec.map(add, reduced[:3]).get_result() == [4, 5, 6], "unless the maps are picked out"


def test_a_failed_input_fails_what_follows(fexec: FunctionExecutor) -> None:
    chained = fexec.map(fail_on_two, [1, 2, 3]).map(add).map(add)
    assert chained[0].result(timeout=10) == 3
    assert chained[2].result(timeout=10) == 5
    with pytest.raises(LookupError, match="two is not there") as caught:
        chained[1].result(timeout=10)
    assert 'raise LookupError("two is not there")' in str(caught.value.__cause__)
    assert chained.get_result(throw_except=False) == [3, None, 5]


def test_a_lost_or_cancelled_input_is_named(fexec: FunctionExecutor, tmp_path: Path) -> None:
    def die(_: int) -> None:
        import os

        os._exit(3)

    lost = fexec.map(die, [1])
    with pytest.raises(
        WorkerLost, match=rf"its input, call 00000 of job {lost[0].job_key}, failed: the worker ended"
    ):
        lost.map(add).get_result(timeout=10)
    gate = Gate(tmp_path)
    cancelled = fexec.map(pass_gate, [(gate.path, 1)])
    chained = cancelled.map(add)
    cancelled[0].cancel()
    with pytest.raises(CallCancelled, match="its input, call 00000"):
        chained.get_result(timeout=10)


def test_a_chain_across_executors(fexec: FunctionExecutor) -> None:
    def make(letter: str) -> str:
        return letter * LARGE

    with FunctionExecutor(log_level=None, worker_processes=1) as other:
        assert other.map(add, fexec.map(add, [1, 2])).get_result() == [3, 4]
        assert other.map(len, fexec.map(make, ["x"])).get_result() == [LARGE]
        with pytest.raises(LookupError):
            other.map(add, fexec.map(fail_on_two, [2])).get_result(timeout=10)


def test_a_chain_after_its_inputs_have_ended(fexec: FunctionExecutor) -> None:
    futures = fexec.map(add, [1, 2])
    futures.get_result()
    assert futures.map(add).get_result() == [3, 4]


# ---------------------------------------------------------------- executors inside functions


def inner(x: int) -> int:
    return 2 * x


def middle(x: int) -> FuturesList:
    return FunctionExecutor(log_level=None, worker_processes=1).map(inner, [x, x + 1])


def outer(x: int) -> ResponseFuture:
    return FunctionExecutor(log_level=None, worker_processes=1).call_async(middle, x)


def outer_that_waits(x: int) -> int:
    with FunctionExecutor(log_level=None, worker_processes=1) as fexec:
        return int(sum(fexec.map(inner, range(x)).get_result()))


def middle_that_fails(x: int) -> ResponseFuture:
    return FunctionExecutor(log_level=None, worker_processes=1).call_async(fail_on_two, x)


def test_futures_are_followed_two_levels_down(fexec: FunctionExecutor) -> None:
    future = fexec.call_async(outer, 5)
    assert fexec.get_result(future, timeout=30) == [10, 12]
    assert future.futures


def test_an_executor_inside_a_function_is_used_there(fexec: FunctionExecutor) -> None:
    assert fexec.map(outer_that_waits, [3, 4]).get_result(timeout=30) == [6, 12]


def one_inside(x: int) -> ResponseFuture:
    return FunctionExecutor(log_level=None, worker_processes=1).call_async(add, (x, 10))


def some_inside(x: int) -> FuturesList:
    return FunctionExecutor(log_level=None, worker_processes=1).map(add, range(x))


def test_a_chain_over_futures_that_calls_return(fexec: FunctionExecutor) -> None:
    assert fexec.map(one_inside, [1, 2]).map(add).get_result() == [12, 13]
    assert fexec.map(some_inside, [3]).map(lambda results: results).get_result() == [[1, 2, 3]]
    reduced = fexec.map_reduce(some_inside, [2, 3], lambda results: results)
    assert fexec.get_result(reduced) == [[1, 2], [1, 2, 3]]


def test_a_failure_further_down_comes_up(fexec: FunctionExecutor) -> None:
    future = fexec.call_async(middle_that_fails, 2)
    with pytest.raises(LookupError, match="two is not there"):
        fexec.get_result(future, timeout=30)
    assert fexec.get_result(future, throw_except=False) is None


def shown_config() -> dict[str, Any]:
    with FunctionExecutor(log_level=None) as fexec:
        return fexec.config


@pytest.mark.localhost_storage
@pytest.mark.parametrize("how", ["config", "config_file", "arguments"])
def test_executors_inside_functions_have_the_same_configuration(tmp_path: Path, how: str) -> None:
    file = tmp_path / "lithops.yaml"
    file.write_text(
        "localhost: {worker_processes: 1, storage_bucket: of-this-test}\nlithops: {execution_timeout: 77}\n"
    )
    ways: dict[str, dict[str, Any]] = {
        "config": {
            "config": {
                "localhost": {"worker_processes": 1, "storage_bucket": "of-this-test"},
                "lithops": {"execution_timeout": 77},
            }
        },
        "config_file": {"config_file": str(file)},
        "arguments": {"worker_processes": 1, "storage_bucket": "of-this-test"},
    }
    with FunctionExecutor(log_level=None, **ways[how]) as fexec:
        config = fexec.call_async(shown_config, ()).result(timeout=30)
    assert config["localhost"]["storage_bucket"] == "of-this-test"
    assert config["localhost"]["worker_processes"] == 1
    assert config["lithops"]["execution_timeout"] == (1800 if how == "arguments" else 77)


def test_module_functions_take_futures_of_any_executor(
    fexec: FunctionExecutor, eventually: Callable[..., None]
) -> None:
    with FunctionExecutor(log_level=None, worker_processes=1) as other:
        futures = [fexec.call_async(add, 1), *other.map(add, [2, 3])]
        assert lithops.get_result(futures) == [2, 3, 4]
        assert {future.index for future in lithops.as_completed(futures)} == {0, 1}

"""Calls that are repeated when they fail: by every verb, by configuration, and by the retrying executor."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gates import Gate, pass_gate

from lithops import FunctionExecutor, RetryingFunctionExecutor
from lithops.exceptions import CallTimeout, WorkerLost
from lithops.retries import RetryingFuture
from lithops.wait import ANY_COMPLETED


def attempts(folder: str, name: Any = "") -> int:
    """How often the call of this name has been run, this time included: it keeps count in files."""
    number = sum(1 for _ in Path(folder).glob(f"attempt-{name}-*")) + 1
    Path(folder, f"attempt-{name}-{number}").touch()
    return number


def fail_until(folder: str, wanted: int, error: str = "value") -> int:
    number = attempts(folder)
    if number < wanted:
        if error == "die":
            os._exit(number)
        if error == "late":
            time.sleep(60)
        raise {"value": ValueError, "key": KeyError}[error](f"attempt {number}")
    return number


def fail_on(x: int, folder: str) -> int:
    if attempts(folder, x) == 1 and x % 2:
        raise ValueError(f"{x} is odd")
    return x


def counted(folder: Path, name: Any = "") -> int:
    return sum(1 for _ in folder.glob(f"attempt-{name}-*"))


def test_no_retries_by_default(fexec: FunctionExecutor, tmp_path: Path) -> None:
    future = fexec.call_async(fail_until, (str(tmp_path), 2))
    with pytest.raises(ValueError, match="attempt 1"):
        future.result(timeout=20)
    assert counted(tmp_path) == 1


@pytest.mark.parametrize(("error", "wanted"), [("value", 3), ("die", 3), ("late", 2)])
def test_whatever_fails_is_repeated(fexec: FunctionExecutor, tmp_path: Path, error: str, wanted: int) -> None:
    timeout = 1 if error == "late" else None
    future = fexec.call_async(fail_until, (str(tmp_path), wanted, error), retries=5, timeout=timeout)
    assert future.result(timeout=20) == wanted
    assert future.success
    assert counted(tmp_path) == wanted


@pytest.mark.parametrize(
    ("error", "kind"), [("value", ValueError), ("die", WorkerLost), ("late", CallTimeout)]
)
def test_the_last_failure_is_the_call_s(
    fexec: FunctionExecutor, tmp_path: Path, error: str, kind: type[Exception]
) -> None:
    # Long enough for the function to be read from a slow storage, too.
    timeout = 2.5 if error == "late" else None
    future = fexec.call_async(fail_until, (str(tmp_path), 99, error), retries=1, timeout=timeout)
    caught = future.exception(timeout=20)
    assert type(caught) is kind
    assert {"value": "attempt 2", "die": "exit code 2", "late": "2.5 s"}[error] in str(caught)
    assert counted(tmp_path) == 2


def test_only_what_failed_is_repeated(fexec: FunctionExecutor, tmp_path: Path) -> None:
    futures = fexec.map(fail_on, range(20), extra_args=(str(tmp_path),), retries=1)
    assert fexec.get_result(futures, timeout=20) == list(range(20))
    assert [counted(tmp_path, x) for x in range(20)] == [1, 2] * 10


@pytest.mark.parametrize(
    ("retry_on", "repeated"),
    [
        (ValueError, True),
        ((KeyError, ValueError), True),
        (KeyError, False),
        (lambda error: "attempt 1" in str(error), True),
        (lambda error: False, False),
        (lambda error: 1 / 0, False),
    ],
)
def test_retry_on_decides(fexec: FunctionExecutor, tmp_path: Path, retry_on: Any, repeated: bool) -> None:
    """One that itself fails repeats nothing, and harms no other call."""
    future = fexec.call_async(fail_until, (str(tmp_path), 2), retries=3, retry_on=retry_on)
    error = future.exception(timeout=20)
    assert type(error) is (type(None) if repeated else ValueError)
    assert counted(tmp_path) == (2 if repeated else 1)
    assert fexec.map(len, ["a"]).get_result(timeout=20) == [1]


def test_backoff_waits_between_attempts(fexec: FunctionExecutor, tmp_path: Path) -> None:
    """Spread by half either way, and doubling: 0.1 to 0.3 s, then 0.2 to 0.6 s."""
    started = time.monotonic()
    future = fexec.call_async(fail_until, (str(tmp_path), 3), retries=2, backoff=0.2)
    assert future.result(timeout=20) == 3
    assert time.monotonic() - started >= 0.1 + 0.2


def test_a_call_that_is_cancelled_is_not_repeated(
    fexec: FunctionExecutor, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    gate = Gate(tmp_path)
    future = fexec.call_async(pass_gate, (gate.path,), retries=5)
    eventually(gate.arrived)
    assert future.cancel()
    os.remove(f"{gate.path}.None")
    assert fexec.map(len, ["a", "b", "c"]).get_result(timeout=20) == [1, 1, 1]
    assert not gate.arrived()


def test_reducers_and_chains_are_repeated(fexec: FunctionExecutor, tmp_path: Path) -> None:
    (tmp_path / "reduce").mkdir()

    def reduce_with_luck(results: list[int], folder: str) -> int:
        if attempts(folder) == 1:
            raise ValueError("no luck")
        return sum(results)

    reduced = fexec.map_reduce(
        abs, [1, -2], reduce_with_luck, extra_args_reduce=(str(tmp_path / "reduce"),), retries=1
    )
    assert fexec.get_result(reduced, timeout=20) == 3
    chained = fexec.map(abs, [1, 3]).map(fail_on, extra_args=(str(tmp_path),), retries=1)
    assert chained.get_result(timeout=20) == [1, 3]


def test_retries_of_the_configuration(tmp_path: Path) -> None:
    config = {"lithops": {"retries": 1}, "localhost": {"worker_processes": 1}}
    with FunctionExecutor(config=config, log_level=None) as fexec:
        assert fexec.call_async(fail_until, (str(tmp_path), 2)).result(timeout=20) == 2
        refused = fexec.call_async(fail_on, (1, str(tmp_path)), retries=0)
        assert isinstance(refused.exception(timeout=20), ValueError)


# ---------------------------------------------------------------- the retrying executor


def test_a_retrying_executor(tmp_path: Path) -> None:
    with RetryingFunctionExecutor(FunctionExecutor(log_level=None, worker_processes=2)) as retrying:
        assert retrying.config["localhost"]["worker_processes"] == 2
        futures = retrying.map(fail_on, range(6), extra_args=(str(tmp_path),), retries=1)
        assert all(isinstance(future, RetryingFuture) for future in futures)
        done, not_done = retrying.wait(futures)
        assert (done, not_done) == (futures, [])
        assert [future.result() for future in futures] == list(range(6))
        assert retrying.get_result(futures) == list(range(6))
        for x, future in enumerate(futures):
            assert future.done
            assert not future.error
            assert future.input == x
            assert future.response_future.index == x
            assert future.stats["worker_func_exec_time"] >= 0
            assert future.status() == future.stats
        assert [counted(tmp_path, x) for x in range(6)] == [1, 2] * 3
        retrying.clean(futures)


def test_a_retrying_executor_gives_up_in_the_end(tmp_path: Path) -> None:
    with RetryingFunctionExecutor(FunctionExecutor(log_level=None, worker_processes=1)) as retrying:
        (future,) = retrying.map(fail_until, [(str(tmp_path), 99)], retries=2)
        with pytest.raises(ValueError, match="attempt 3"):
            retrying.wait([future])
        assert future.error
        assert future.result(throw_except=False) is None
        assert future.input == (str(tmp_path), 99)
        assert retrying.wait([future], throw_except=False, return_when=ANY_COMPLETED) == ([future], [])

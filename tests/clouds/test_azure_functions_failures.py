"""Azure Functions as a backend: activations that die, responses that do not come, storms of refusals."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from azure_fixtures import Execute, app_of, azure, calm, execute, looks_often
from azure_service import Azure

from lithops.compute.backends.azure_functions import front
from lithops.compute.backends.azure_functions.front import Outcome, outcome_of
from lithops.exceptions import CallTimeout, OutOfMemory, WorkerLost

__all__ = ["azure", "calm", "execute", "looks_often"]

_PATIENCE_S = 40.0


def test_a_storm_of_refusals_loses_nothing(azure: Azure, execute: Execute) -> None:
    executor = execute()
    executor.map(lambda x: x, range(4))
    executor.get_result(timeout=_PATIENCE_S)
    (name,) = executor.compute_handler.describe()["function apps"]
    before = azure.apps[name].invocations
    azure.faults.start_storm(4)
    executor.map(lambda x: -x, range(60))
    assert executor.get_result(timeout=_PATIENCE_S)[-60:] == [-x for x in range(60)]
    assert azure.faults.refused > 10
    assert azure.apps[name].invocations - before == 60


def test_a_lost_response_is_asked_for_again(azure: Azure, execute: Execute) -> None:
    executor = execute()
    azure.faults.lost_responses = 3
    executor.map(lambda x: x + 1, range(12))
    assert executor.get_result(timeout=_PATIENCE_S) == list(range(1, 13))


def test_messages_that_come_twice_settle_once(azure: Azure, execute: Execute) -> None:
    executor = execute(trigger="pub/sub")
    azure.faults.duplicate_every = 2
    executor.map(lambda x: x + 1, range(20))
    assert executor.get_result(timeout=_PATIENCE_S) == list(range(1, 21))


def test_who_is_silent_for_longer_than_the_gateway_waits_reports_through_the_storage(
    azure: Azure, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lithops.invoke import invoker

    def rest(duration_s: float) -> float:
        import time

        time.sleep(duration_s)
        return duration_s

    executor = execute()
    executor.map(rest, [0.0])
    executor.get_result(timeout=_PATIENCE_S)
    azure.rules.gateway_s = 1.0
    monkeypatch.setattr(invoker, "REPLY_S", 0.5)
    monkeypatch.setattr(front, "GATEWAY_S", 1.0)
    futures = executor.map(rest, [2.0, 0.0, 2.0])
    assert executor.get_result(futures, timeout=_PATIENCE_S) == [2.0, 0.0, 2.0]


def _killer(how: str) -> Callable[[int], int]:
    def die(number: int) -> int:
        import os
        import signal
        import time

        if number == 3:
            if how == "parent":
                os.kill(os.getppid(), signal.SIGKILL)
            if how == "memory":
                eaten = bytearray(700_000_000)
                eaten[::1000] = bytes([1]) * len(eaten[::1000])
            time.sleep(30)
        return number

    return die


@pytest.mark.parametrize("trigger", ["https", "pub/sub"])
@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ("parent", WorkerLost, r"code 137|died"),
        ("memory", OutOfMemory, r"code 137.*runtime_memory"),
    ],
)
def test_an_instance_that_dies_costs_its_call_alone(
    azure: Azure, execute: Execute, trigger: str, how: str, error: type[Exception], words: str
) -> None:
    azure.rules.memory_scale = 0.2
    azure.rules.lease_s = 2.0
    executor = execute(trigger=trigger, env_vars={"HOW": how})
    executor.map(lambda x: x, range(2))
    executor.get_result(timeout=_PATIENCE_S)
    started = time.monotonic()
    futures = executor.map(_killer(how), range(6))
    executor.wait(futures, throw_except=False, timeout=_PATIENCE_S)
    assert time.monotonic() - started < 40
    assert [future.success for future in futures] == [True, True, True, False, True, True]
    with pytest.raises((error, OutOfMemory), match=words):
        futures[3].result()


@pytest.mark.parametrize(
    ("status", "elapsed_s", "outcome"),
    [
        (200, 1.0, Outcome.DONE),
        (429, 0.1, Outcome.REFUSED),
        (503, 0.1, Outcome.REFUSED),
        (503, 30.0, Outcome.UNCLEAR),
        (500, 30.0, Outcome.DIED),
        (502, 0.1, Outcome.DIED),
        (504, 200.0, Outcome.GOES_ON),
        (502, 230.0, Outcome.GOES_ON),
        (500, 231.0, Outcome.GOES_ON),
        (401, 0.1, Outcome.WRONG),
        (404, 0.1, Outcome.WRONG),
        (413, 0.1, Outcome.WRONG),
    ],
)
def test_what_statuses_mean(status: int, elapsed_s: float, outcome: Outcome) -> None:
    assert outcome_of(status, elapsed_s) is outcome


def test_an_unclear_refusal_is_looked_up(
    azure: Azure, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    azure.rules.memory_scale = 0.2
    azure.faults.killed_status = 503
    monkeypatch.setattr(front, "_AT_ONCE_S", 0.1)
    executor = execute(env_vars={"CASE": "unclear"})
    futures = executor.map(_killer("memory"), [3, 4])
    executor.wait(futures, throw_except=False, timeout=_PATIENCE_S)
    with pytest.raises(OutOfMemory, match="code 137"):
        futures[0].result()
    assert futures[1].result() == 4


def test_what_is_not_recorded_yet_is_said_so(azure: Azure, execute: Execute) -> None:
    azure.rules.memory_scale = 0.2
    azure.world.telemetry.lag_s = 120.0
    future = execute(env_vars={"CASE": "not recorded"}).call_async(_killer("memory"), 3)
    with pytest.raises(WorkerLost, match=r"answered 502.*look for the operation_Id [0-9a-f]{32}"):
        future.result(timeout=_PATIENCE_S)


def test_an_instance_that_cannot_start_is_a_lost_activation(azure: Azure, execute: Execute) -> None:
    executor = execute(env_vars={"WILL": "break"})
    executor.map(lambda x: x, range(2))
    executor.get_result(timeout=_PATIENCE_S)
    app = app_of(azure, executor.compute_handler)
    assert app.root is not None
    (app.root / "lithops" / "worker" / "sandbox.py").unlink()
    app.recycle()
    future = executor.call_async(lambda x: x, 1)
    with pytest.raises(WorkerLost, match=r"No module named 'lithops\.worker\.sandbox'"):
        future.result(timeout=_PATIENCE_S)


@pytest.mark.parametrize("trigger", ["https", "pub/sub"])
def test_azures_own_timeout_ends_a_call_in_words(azure: Azure, execute: Execute, trigger: str) -> None:
    def rest(duration_s: float) -> float:
        import time

        time.sleep(duration_s)
        return duration_s

    # The other call may start in a new instance, which has to be there in time too.
    executor = execute(trigger=trigger, runtime_timeout=10)
    executor.map(rest, [0.0])
    executor.get_result(timeout=_PATIENCE_S)
    started = time.monotonic()
    futures = executor.map(rest, [60.0, 0.0])
    executor.wait(futures, throw_except=False, timeout=_PATIENCE_S)
    assert time.monotonic() - started < 40
    with pytest.raises(CallTimeout):
        futures[0].result()
    assert futures[1].result() == 0.0


def test_the_hosts_timeout_is_told_as_such(azure: Azure, execute: Execute) -> None:
    def rest(duration_s: float) -> float:
        import time

        time.sleep(duration_s)
        return duration_s

    executor = execute(runtime_timeout=20)
    executor.map(rest, [0.0])
    executor.get_result(timeout=_PATIENCE_S)
    # The host is earlier than the worker expects.
    azure.rules.time_scale = 0.1
    future = executor.call_async(rest, 60.0)
    with pytest.raises(CallTimeout, match=r"Timeout value of .* was exceeded.*runtime_timeout"):
        future.result(timeout=_PATIENCE_S)


def test_a_key_that_was_changed_is_asked_for_again(azure: Azure, execute: Execute) -> None:
    executor = execute()
    executor.map(lambda x: x, range(2))
    executor.get_result(timeout=_PATIENCE_S)
    app_of(azure, executor.compute_handler).keys["default"] = "another"
    executor.map(lambda x: x, range(3))
    assert executor.get_result(timeout=_PATIENCE_S)[-3:] == [0, 1, 2]


def test_a_task_of_many_small_calls_fits_into_a_message(execute: Execute) -> None:
    executor = execute(trigger="pub/sub")
    executor.map(lambda x: x, range(1000), chunksize=500)
    assert executor.get_result(timeout=_PATIENCE_S) == list(range(1000))

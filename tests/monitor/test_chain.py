"""Calls that wait for the results of others: each is sent once, or fails, and none waits for ever."""

from __future__ import annotations

from typing import Any

import pytest

from lithops.exceptions import CallCancelled, StorageUnavailable, WorkerLost
from lithops.testing.simulation import Faults, Outages, SimulatedCloud


def double(number: int) -> int:
    return 2 * number


def bulky(number: int) -> bytes:
    return bytes(number) + bytes(100_000)


def fail(number: int) -> None:
    raise ValueError(number, "x" * 100_000)


def listed(values: list[Any]) -> list[Any]:
    return values


def test_results_pass_by_without_the_client() -> None:
    """The client is cut off from the storage, except for statuses, which come over the connection."""
    cloud = SimulatedCloud(connected=True, client_outages=Outages([(0.0, 100.0)]))
    with cloud.executor() as executor:
        lengths = executor.map(bulky, range(5)).map(len)
        assert lengths.get_result() == [100_000 + number for number in range(5)]
        assert cloud.clock.now() < 100.0
        cloud.run_out()


def test_the_inputs_of_a_reducer_keep_their_order() -> None:
    cloud = SimulatedCloud(5, faults=Faults(slow=0.5))
    with cloud.executor() as executor:
        executor.map_reduce(double, range(30), listed, retries=5)
        assert executor.get_result() == [2 * number for number in range(30)]


def test_a_reducer_without_inputs() -> None:
    cloud = SimulatedCloud()
    with cloud.executor() as executor:
        executor.map_reduce(double, [], listed)
        assert executor.get_result() == []


def test_a_failure_is_inherited() -> None:
    cloud = SimulatedCloud()
    with cloud.executor() as executor:
        futures = executor.map(fail, range(3)).map(double)
        executor.wait(throw_except=False, show_progressbar=False)
        for number, future in enumerate(futures):
            error = future.exception()
            assert isinstance(error, ValueError)
            assert error.args[0] == number
    assert len(cloud.history.deliveries) == 3


def test_a_lost_input_is_named() -> None:
    cloud = SimulatedCloud(faults=Faults(killed_during=1.0))
    with cloud.executor() as executor:
        futures = executor.map(double, range(2)).map(double)
        executor.wait(throw_except=False, show_progressbar=False)
        with pytest.raises(WorkerLost, match="its input, call 00001"):
            futures[1].result()


def test_a_cancelled_input_cancels() -> None:
    cloud = SimulatedCloud()
    with cloud.executor() as executor:
        first = executor.map(double, range(2))
        second = first.map(double)
        executor.cancel(first)
        executor.wait(throw_except=False, show_progressbar=False)
        assert all(future.cancelled() for future in second)
        with pytest.raises(CallCancelled):
            second[0].result()
        cloud.run_out()


@pytest.mark.parametrize("function", [bulky, fail])
def test_an_input_that_cannot_be_read_fails_its_call(function: Any) -> None:
    """What goes from one executor to another goes through the client, which is cut off from the storage here."""
    cloud = SimulatedCloud(connected=True, client_outages=Outages([(0.0, 100.0)]))
    with cloud.executor() as executor, cloud.executor() as other:
        futures = other.map(len, executor.map(function, range(3)))
        other.wait(throw_except=False, show_progressbar=False)
        assert cloud.clock.now() < 100.0
        assert {type(future.exception()) for future in futures} == {StorageUnavailable}
        cloud.run_out()

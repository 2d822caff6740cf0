"""The simulated cloud itself: its clock, its faults, and what it tells of them."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from lithops.exceptions import CallTimeout, WorkerLost
from lithops.testing.simulation import Fate, Faults, Outages, SimulatedClock, SimulatedCloud


def double(number: int) -> int:
    return 2 * number


def only(fault: str, probability: float) -> Faults:
    chosen: dict[str, Any] = {fault: probability}
    return Faults(**chosen)


class TestClock:
    def test_time_passes_only_while_somebody_waits(self) -> None:
        clock = SimulatedClock()
        times: list[float] = []
        clock.after(2.0, lambda: times.append(clock.now()))
        clock.after(1.0, lambda: times.append(clock.now()))
        assert (clock.now(), times) == (0.0, [])
        clock.sleep(1.5)
        assert (clock.now(), times) == (1.5, [1.0])
        clock.sleep(1.5)
        assert (clock.now(), times) == (3.0, [1.0, 2.0])

    def test_a_wait_ends_when_its_event_is_set(self) -> None:
        clock = SimulatedClock()
        event = threading.Event()
        clock.after(7.0, event.set)
        assert not clock.wait(event, 5.0)
        assert clock.wait(event, None)
        assert clock.now() == 7.0

    def test_who_waits_drives_the_others(self) -> None:
        clock = SimulatedClock()
        event = threading.Event()
        steps: list[float] = []

        def step(longest_s: float) -> None:
            steps.append(clock.now())
            clock.wait(threading.Event(), min(1.0, longest_s))
            if len(steps) == 3:
                event.set()

        clock.drive(step)
        assert clock.wait(event, 10.0)
        assert steps == [0.0, 1.0, 2.0]

    def test_a_wait_for_nothing_is_found_out(self) -> None:
        with pytest.raises(AssertionError, match="waits for nothing"):
            SimulatedClock().wait(threading.Event(), None)

    def test_going_round_in_circles_is_found_out(self) -> None:
        clock = SimulatedClock(most_rounds=100)
        clock.drive(lambda longest_s: None)
        with pytest.raises(AssertionError, match="circles"):
            clock.wait(threading.Event(), None)

    def test_waiting_for_ever_is_found_out(self) -> None:
        with pytest.raises(AssertionError, match="for ever"):
            SimulatedClock(longest_s=100).sleep(101)


class TestFaults:
    def test_without_faults_nothing_goes_wrong(self) -> None:
        cloud = SimulatedCloud()
        with cloud.executor() as executor:
            assert executor.map(double, range(50)).get_result() == [2 * number for number in range(50)]
        assert {each.fate for each in cloud.history.deliveries} == {Fate.NONE}
        assert len(cloud.history.deliveries) == 50

    @pytest.mark.parametrize("connected", [False, True])
    @pytest.mark.parametrize(
        ("fault", "error"),
        [
            ("killed_before", WorkerLost),
            ("killed_during", WorkerLost),
            ("vanished", CallTimeout),
            ("unsendable", WorkerLost),
        ],
    )
    def test_a_fault_has_its_error(self, fault: str, error: type[Exception], connected: bool) -> None:
        cloud = SimulatedCloud(faults=only(fault, 1.0), connected=connected)
        with cloud.executor() as executor:
            futures = executor.map(double, range(5))
            executor.wait(throw_except=False, show_progressbar=False)
            assert {type(future.exception()) for future in futures} == {error}

    @pytest.mark.parametrize(
        "fault", ["killed_before", "killed_during", "vanished", "throttled", "declined", "slow"]
    )
    def test_a_fault_that_comes_now_and_then_is_survived(self, fault: str) -> None:
        cloud = SimulatedCloud(1, faults=only(fault, 0.4), connected=True)
        with cloud.executor(retries=50) as executor:
            assert executor.map(double, range(20)).get_result() == [2 * number for number in range(20)]

    def test_a_task_that_is_delivered_twice_counts_once(self) -> None:
        cloud = SimulatedCloud(2, faults=Faults(delivered_twice=1.0))
        with cloud.executor() as executor:
            assert executor.map(double, range(20)).get_result() == [2 * number for number in range(20)]
            cloud.run_out()
        assert len(cloud.history.deliveries) == 40
        assert sum("came second" in line for line in cloud.trace) == 20

    def test_outages_are_waited_out(self) -> None:
        outages = Outages([(0.0, 50.0)])
        cloud = SimulatedCloud(client_outages=outages)
        with cloud.executor(monitoring_interval=1) as executor:
            assert executor.map(double, range(4)).get_result() == [0, 2, 4, 6]
            assert cloud.clock.now() >= 50.0
        cloud = SimulatedCloud(worker_outages=outages)
        with cloud.executor(monitoring_interval=1, retries=20) as executor:
            assert executor.map(double, range(4)).get_result() == [0, 2, 4, 6]
            assert cloud.clock.now() >= 50.0

    def test_nothing_sleeps_for_real(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("time.sleep", lambda duration_s: pytest.fail(f"slept for {duration_s} s"))
        cloud = SimulatedCloud(3, faults=Faults(vanished=0.5, throttled=0.5, slow=0.5))
        with cloud.executor(retries=50, execution_timeout=1800) as executor:
            assert executor.map(double, range(10)).get_result() == [2 * number for number in range(10)]
        assert cloud.clock.now() > 1800

    def test_a_cloud_that_refuses_everything(self) -> None:
        cloud = SimulatedCloud(faults=Faults(unsendable=1.0))
        with cloud.executor() as executor:
            futures = executor.map(double, range(2_000))
            executor.wait(throw_except=False, show_progressbar=False)
            assert {type(future.exception()) for future in futures} == {WorkerLost}

    @pytest.mark.parametrize("connected", [True, False])
    def test_slots_are_free_soon_after_a_cancel(self, connected: bool) -> None:
        cloud = SimulatedCloud(connected=connected)
        with cloud.executor(monitoring_interval=1, execution_timeout=1800) as executor:
            executor.map(double, range(8))
            executor.wait(return_when=1, show_progressbar=False)
            executor.cancel()
            cancelled_at = cloud.clock.now()
            assert executor.map(double, range(8)).get_result() == [2 * number for number in range(8)]
            assert cloud.clock.now() - cancelled_at < 60

"""Requests that Google Cloud refuses, loses or lets die: their calls end soon and right, and no other is touched."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from google_deaths import die
from google_fixtures import Configure, configure, google_cloud, key
from google_stand_in import Google

from lithops import FunctionExecutor
from lithops.exceptions import CallTimeout, OutOfMemory, WorkerLost

__all__ = ["configure", "google_cloud", "key"]


@pytest.fixture(scope="module")
def executor(configure: Configure) -> Iterator[FunctionExecutor]:
    with FunctionExecutor(config=configure({"max_workers": 6, "runtime_timeout": 8})) as executor:
        executor.map(abs, range(6))
        executor.get_result(timeout=60)
        yield executor


@pytest.mark.parametrize(
    ("how", "error", "says", "within_s"),
    [
        ("worker", WorkerLost, "the instance died.*connection to the instance had an error", 12),
        ("container", WorkerLost, r"(?s)the instance died.*Container terminated on signal 9", 12),
        ("memory", OutOfMemory, "Memory limit of 256 MiB exceeded.*runtime_memory", 12),
        ("frozen", CallTimeout, "after 8 s, its time limit.*runtime_timeout", 20),
        ("late", CallTimeout, "the activation's time was up|its time limit", 20),
    ],
)
def test_a_death_costs_its_call_alone(
    executor: FunctionExecutor, how: str, error: type[Exception], says: str, within_s: float
) -> None:
    began = time.monotonic()
    futures = executor.map(die, ["well", how, "fine"])
    executor.wait(futures, throw_except=False, timeout=60)
    with pytest.raises(error, match=says):
        futures[1].result()
    assert [futures[0].result(), futures[2].result()] == ["well", "fine"]
    assert time.monotonic() - began < within_s


def test_a_machine_that_breaks_in_the_midst_of_a_call(
    executor: FunctionExecutor, google_cloud: Google
) -> None:
    def rest(seconds: float) -> str:
        import time

        time.sleep(seconds)
        return "rested"

    future = executor.call_async(rest, 5)
    (service,) = google_cloud.services
    until = time.monotonic() + 10
    while not service.busy and time.monotonic() < until:
        time.sleep(0.01)
    google_cloud.kill_instances()
    with pytest.raises(WorkerLost, match="the instance died"):
        future.result(timeout=15)
    assert executor.call_async(rest, 0).result(timeout=30) == "rested"


def test_an_answer_that_gets_lost_costs_nothing(executor: FunctionExecutor, google_cloud: Google) -> None:
    (service,) = google_cloud.services
    service.breaks = 2
    futures = executor.map(lambda number: number * 2, range(4))
    assert executor.get_result(futures, timeout=60) == [0, 2, 4, 6]
    assert service.breaks == 0


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_storm_of_refusals_ends_with_every_call_run_once(
    executor: FunctionExecutor, google_cloud: Google, status: int
) -> None:
    prefix = f"storm/{os.urandom(4).hex()}/"

    def leave_a_mark(number: int, storage: Any) -> int:
        import os

        storage.put_object(storage.bucket, f"{prefix}{number}.{os.urandom(8).hex()}", b"")
        return number

    storms = google_cloud.storm(status, for_s=4.0)
    futures = executor.map(leave_a_mark, range(20))
    assert executor.get_result(futures, timeout=100) == [*range(20)]
    google_cloud.calm()
    assert sum(storm.refused for storm in storms) >= 6
    storage = executor.storage
    marks = storage.list_keys(storage.bucket, prefix)
    storage.delete_objects(storage.bucket, marks)
    assert sorted(int(mark.removeprefix(prefix).partition(".")[0]) for mark in marks) == [*range(20)]


def test_tokens_that_expire_are_renewed(configure: Configure, google_cloud: Google) -> None:
    with FunctionExecutor(config=configure({"max_workers": 6, "runtime_timeout": 8})) as executor:
        executor.call_async(abs, -1)
        assert executor.get_result(timeout=60) == 1
        given = google_cloud.identities.given
        executor.map(abs, range(5))
        executor.get_result(timeout=60)
        assert google_cloud.identities.given == given  # one serves them all
        google_cloud.identities.change_key()
        executor.call_async(abs, -2)
        assert executor.get_result(timeout=60) == 2


def test_whoever_may_not_read_the_logs_is_told_so(configure: Configure, google_cloud: Google) -> None:
    permissions = google_cloud.identities.permissions["client@project.iam.gserviceaccount.com"]
    permissions.remove("logging.logEntries.list")
    try:
        with FunctionExecutor(config=configure({"max_workers": 6, "runtime_timeout": 8})) as executor:
            future = executor.call_async(die, "container")
            with pytest.raises(WorkerLost, match=r"status 503.*logging\.logEntries\.list"):
                future.result(timeout=30)
    finally:
        permissions.add("logging.logEntries.list")

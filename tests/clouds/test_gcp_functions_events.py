"""The trigger pub/sub: activations are events, results come through the storage, deaths are found in the logs."""

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
from lithops.exceptions import OutOfMemory, WorkerLost

__all__ = ["configure", "google_cloud", "key"]


@pytest.fixture(scope="module")
def executor(configure: Configure, google_cloud: Google) -> Iterator[FunctionExecutor]:
    with FunctionExecutor(config=configure({"max_workers": 6, "trigger": "pub/sub"})) as executor:
        executor.map(abs, range(6))
        executor.get_result(timeout=60)
        yield executor


def test_results_come_in_order_and_failures_as_themselves(executor: FunctionExecutor) -> None:
    def picky(number: int) -> int:
        if number == 4:
            raise ValueError(number)
        return -number

    futures = executor.map(picky, range(12), chunksize=3)
    executor.wait(futures, throw_except=False, timeout=60)
    assert [future.success for future in futures] == [number != 4 for number in range(12)]
    assert executor.get_result(futures, throw_except=False)[5:] == [-5, -6, -7, -8, -9, -10, -11]


def test_large_arguments_and_results_go_through_the_storage(executor: FunctionExecutor) -> None:
    data = os.urandom(1_000_000)
    futures = executor.map(lambda body: body + body, [data, b"small", data[:40_000]])
    assert executor.get_result(futures, timeout=60) == [data + data, b"smallsmall", data[:40_000] * 2]


def test_many_middling_arguments_fit_into_events(executor: FunctionExecutor) -> None:
    bodies = [os.urandom(40_000) for _ in range(10)]
    futures = executor.map(lambda body: len(body), bodies, chunksize=10)
    assert executor.get_result(futures, timeout=60) == [40_000] * 10


def test_an_event_that_comes_twice_settles_once(executor: FunctionExecutor, google_cloud: Google) -> None:
    before = google_cloud.pubsub.delivered - google_cloud.pubsub.published
    google_cloud.pubsub.duplicate_every = 2
    try:
        futures = executor.map(lambda number: number + 1, range(8))
        assert executor.get_result(futures, timeout=60) == [*range(1, 9)]
    finally:
        google_cloud.pubsub.duplicate_every = 0
    until = time.monotonic() + 20
    while google_cloud.pubsub.delivered - google_cloud.pubsub.published < before + 4:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_publications_that_are_refused_are_tried_again(
    executor: FunctionExecutor, google_cloud: Google
) -> None:
    prefix = f"storm/{os.urandom(4).hex()}/"

    def leave_a_mark(number: int, storage: Any) -> int:
        import os

        storage.put_object(storage.bucket, f"{prefix}{number}.{os.urandom(8).hex()}", b"")
        return number

    google_cloud.pubsub.refusals = 15
    futures = executor.map(leave_a_mark, range(10))
    assert executor.get_result(futures, timeout=60) == [*range(10)]
    assert google_cloud.pubsub.refusals == 0
    storage = executor.storage
    assert len(storage.list_keys(storage.bucket, prefix)) == 10


def test_more_events_than_instances_are_all_run(executor: FunctionExecutor, google_cloud: Google) -> None:
    storms = google_cloud.storm(429, for_s=2.0, spares=3)
    futures = executor.map(lambda number: number, range(15))
    assert executor.get_result(futures, timeout=60) == [*range(15)]
    google_cloud.calm()
    assert sum(storm.refused for storm in storms) > 0


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ("worker", WorkerLost, "the instance died"),
        ("container", WorkerLost, "Container terminated on signal 9"),
        ("memory", OutOfMemory, "Memory limit of 256 MiB exceeded"),
    ],
)
def test_a_death_costs_its_call_alone(
    executor: FunctionExecutor, how: str, error: type[Exception], says: str
) -> None:
    began = time.monotonic()
    futures = executor.map(die, ["well", how, "fine"])
    executor.wait(futures, throw_except=False, timeout=60)
    with pytest.raises(error, match=says):
        futures[1].result()
    assert [futures[0].result(), futures[2].result()] == ["well", "fine"]
    assert time.monotonic() - began < 20


def test_only_the_bringer_of_events_and_who_deployed_may_call(
    executor: FunctionExecutor, google_cloud: Google
) -> None:
    (service,) = google_cloud.services
    members = {member for binding in service.policy["bindings"] for member in binding["members"]}
    assert members == {
        "serviceAccount:client@project.iam.gserviceaccount.com",
        "serviceAccount:123456-compute@developer.gserviceaccount.com",
    }


def test_events_that_nobody_waits_for_are_not_run(executor: FunctionExecutor, google_cloud: Google) -> None:
    from lithops.compute.backends.gcp_functions import entry

    class Late:
        def get_data(self) -> bytes:
            return b'{"message": {"attributes": {"expires": "1000"}, "data": "", "messageId": "1"}}'

    assert entry.serve(Late()) == (b"", 200, {})

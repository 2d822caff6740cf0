"""Statuses from the storage: each is given, whatever the storage refuses in between."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithops.clock import SystemClock
from lithops.monitor.sources.storage import StorageSource, spans
from lithops.storage.base import ObjectInfo
from lithops.testing.memory import MemoryStorage
from lithops.testing.simulation import SimulatedClock
from lithops.testing.simulation.storage import StorageView
from lithops.wire.messages import CallStatus, Phase
from lithops.worker.report import commit

BUCKET = "b"


def source_over(
    storage: StorageView | MemoryStorage, clock: SimulatedClock, interval_s: float = 2.0
) -> StorageSource:
    return StorageSource(storage, BUCKET, interval_s=interval_s, clock=clock)


def storage_with_bucket() -> MemoryStorage:
    storage = MemoryStorage(BUCKET)
    storage.ensure_bucket(BUCKET)
    return storage


def returned(job_key: str, task_id: int, index: int = 0) -> CallStatus:
    return CallStatus(job_key, index, Phase.RETURNED, task_id)


def look(source: StorageSource) -> list[CallStatus]:
    source.hurry()
    return list(source.receive(0.0))


@given(
    st.integers(0, 1 << 30),
    st.lists(st.tuples(st.sampled_from("jk"), st.integers(0, 50), st.integers(0, 3)), max_size=30),
)
def test_every_status_is_given_once(seed: int, committed: list[tuple[str, int, int]]) -> None:
    """Of tasks that report in any order, each in several parts, while the storage refuses every third request."""
    chance = random.Random(seed)
    storage = storage_with_bucket()
    source = source_over(StorageView(storage, lambda operation, key: chance.random() < 0.3), SimulatedClock())
    given_out: Counter[CallStatus] = Counter()
    for job_key in "jk":
        for task_id in range(51):
            source.sent(job_key, task_id)
    for job_key, task_id, index in committed:
        commit([returned(job_key, task_id, index)], 0, BUCKET, storage)
        given_out.update(look(source))
    for _ in range(300):
        given_out.update(look(source))
    assert given_out == Counter(returned(*each) for each in committed)


def test_of_two_activations_the_first_report_is_given_first() -> None:
    storage = storage_with_bucket()
    first, second = returned("j", 0), CallStatus("j", 0, Phase.RAISED, 0)
    assert commit([first], 0, BUCKET, storage) == 1
    assert commit([second], 0, BUCKET, storage) == 2

    refused: list[str] = []

    def refuse(operation: str, key: str) -> bool:
        if operation != "get" or refused or not key.endswith(".0000"):
            return False
        refused.append(key)
        return True

    source = source_over(StorageView(storage, refuse), SimulatedClock())
    source.sent("j", 0)
    assert look(source) == []
    assert look(source) == [first, second]


class CountingStorage(MemoryStorage):
    """Counts how many objects were listed."""

    listed = 0

    def list(self, bucket: str, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        for info in super().list(bucket, prefix, start_after):
            self.listed += 1
            yield info


def test_a_look_lists_only_what_is_new() -> None:
    """One task of ten thousand takes long: what came after it is not listed again and again."""
    storage = CountingStorage(BUCKET)
    storage.ensure_bucket(BUCKET)
    source = source_over(storage, SimulatedClock())
    for task_id in range(10_000):
        source.sent("j", task_id)
    for task_id in range(1, 10_000):
        commit([returned("j", task_id)], 0, BUCKET, storage)
    found = look(source)
    assert (len(found), storage.listed) == (9_999, 9_999)
    for status in found:
        source.finished("j", status.task_id)
    storage.listed = 0
    for task_id in range(10_000, 10_010):
        source.sent("j", task_id)
        commit([returned("j", task_id)], 0, BUCKET, storage)
    assert len(look(source)) == 10
    assert storage.listed <= 12
    commit([returned("j", 0)], 0, BUCKET, storage)
    assert look(source) == [returned("j", 0)]


@given(st.sets(st.integers(0, 20_000)))
def test_spans_hold_everything_and_no_long_stretch_of_nothing(numbers: set[int]) -> None:
    found = spans(sorted(numbers))
    assert numbers == {number for number in numbers if any(first <= number <= last for first, last in found)}
    assert {first for first, _ in found} | {last for _, last in found} <= numbers
    assert all(later[0] - earlier[1] > 1000 for earlier, later in pairwise(found))
    inside = sorted(numbers)
    assert all(
        later - earlier <= 1000 or any(last == earlier for _, last in found)
        for earlier, later in pairwise(inside)
    )


@pytest.mark.parametrize("runs_s", [0.3, 1.0, 5.0, 30.0])
def test_the_first_status_is_found_soon(runs_s: float) -> None:
    """At the median within 100 ms of its commit, or within a twentieth of what the call took."""
    late_s = []
    for offset in range(40):
        storage, clock = storage_with_bucket(), SimulatedClock()
        source = source_over(storage, clock)
        source.sent("j", 0)
        committed = runs_s * (1 + offset / 100)
        clock.after(committed, partial(commit, [returned("j", 0)], 0, BUCKET, storage))
        while not source.receive(60.0):
            pass
        late_s.append(clock.now() - committed)
    assert median(late_s) <= max(0.1, 0.05 * runs_s)


def test_it_looks_less_often_while_nothing_comes() -> None:
    looks: list[float] = []
    clock = SimulatedClock()

    def note(operation: str, key: str) -> bool:
        looks.append(clock.now())
        return False

    source = source_over(StorageView(storage_with_bucket(), note), clock, interval_s=2.0)
    source.sent("j", 0)
    while clock.now() < 300.0:
        source.receive(60.0)
    gaps = [round(later - earlier, 9) for earlier, later in pairwise(looks)]
    assert gaps == sorted(gaps)
    assert min(gaps) == 0.12
    assert max(gaps) == 2.0
    assert len([look for look in looks if look < 10.0]) < 60


def test_without_tasks_it_does_not_look_at_all() -> None:
    clock = SimulatedClock()
    source = source_over(StorageView(storage_with_bucket(), lambda operation, key: True), clock)
    assert source.receive(60.0) == []
    assert clock.now() == 60.0


def test_waking_it_ends_the_wait() -> None:
    clock = SimulatedClock()
    source = source_over(storage_with_bucket(), clock)
    clock.after(3.0, source.wake)
    source.receive(60.0)
    assert clock.now() == 3.0


def test_what_has_finished_is_not_given() -> None:
    storage = storage_with_bucket()
    source = source_over(storage, SimulatedClock())
    source.sent("j", 0)
    source.sent("j", 1)
    source.finished("j", 0)
    commit([returned("j", 0)], 0, BUCKET, storage)
    assert look(source) == []
    commit([returned("j", 1)], 0, BUCKET, storage)
    assert look(source) == [returned("j", 1)]


def test_a_wake_from_another_thread_ends_a_real_wait() -> None:
    source = StorageSource(storage_with_bucket(), BUCKET, interval_s=60.0, clock=SystemClock())
    waiting = threading.Thread(target=source.receive, args=(60.0,))
    waiting.start()
    source.wake()
    waiting.join(10.0)
    assert not waiting.is_alive()

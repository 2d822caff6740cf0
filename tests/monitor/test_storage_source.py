"""Statuses from the storage: each is given, whatever the storage refuses in between."""

from __future__ import annotations

import random
import threading
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lithops.clock import SystemClock
from lithops.monitor.sources.storage import StorageSource
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


@given(st.integers(0, 1 << 30), st.lists(st.tuples(st.sampled_from("jk"), st.integers(0, 50)), max_size=20))
def test_every_status_is_given_once(seed: int, committed: list[tuple[str, int]]) -> None:
    chance = random.Random(seed)
    storage = storage_with_bucket()
    source = source_over(StorageView(storage, lambda operation, key: chance.random() < 0.3), SimulatedClock())
    given_out: Counter[tuple[str, int]] = Counter()
    for job_key in "jk":
        source.watch(job_key)
    for job_key, index in committed:
        commit(CallStatus(job_key, index, Phase.RETURNED), BUCKET, storage)
        given_out.update((status.job_key, status.index) for status in source.receive(0.0))
    for _ in range(300):
        given_out.update((status.job_key, status.index) for status in source.receive(0.0))
    assert given_out == Counter(set(committed))


def test_a_wait_ends_with_the_first_status() -> None:
    storage, clock = storage_with_bucket(), SimulatedClock()
    source = source_over(storage, clock)
    source.watch("j")
    clock.after(1.0, lambda: commit(CallStatus("j", 0, Phase.RETURNED), BUCKET, storage))
    received: list[CallStatus] = []
    while not received:
        received = list(source.receive(60.0))
    assert received == [CallStatus("j", 0, Phase.RETURNED)]
    assert 1.0 <= clock.now() <= 1.0 + 2.0


def test_it_looks_less_often_while_nothing_comes() -> None:
    looks: list[float] = []
    clock = SimulatedClock()

    def note(operation: str, key: str) -> bool:
        looks.append(clock.now())
        return False

    source = source_over(StorageView(storage_with_bucket(), note), clock, interval_s=2.0)
    source.watch("j")
    while clock.now() < 60.0:
        source.receive(60.0)
    gaps = [round(later - earlier, 9) for earlier, later in pairwise(looks) if later > earlier]
    assert max(gaps) == 2.0
    assert gaps == sorted(gaps)
    assert len(gaps) < 45


def test_without_jobs_it_does_not_look_at_all() -> None:
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


def test_what_is_forgotten_is_not_given() -> None:
    storage = storage_with_bucket()
    source = source_over(storage, SimulatedClock())
    source.watch("j")
    source.forget("j")
    commit(CallStatus("j", 0, Phase.RETURNED), BUCKET, storage)
    assert source.receive(0.0) == []
    source.watch("j")
    assert len(source.receive(0.0)) == 1


def test_a_wake_from_another_thread_ends_a_real_wait() -> None:
    source = StorageSource(storage_with_bucket(), BUCKET, interval_s=60.0, clock=SystemClock())
    waiting = threading.Thread(target=source.receive, args=(60.0,))
    waiting.start()
    source.wake()
    waiting.join(10.0)
    assert not waiting.is_alive()

"""What holds for locks and their relatives whatever threads do at the same time, with whatever patience."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lithops.multiprocessing
from lithops.multiprocessing import conditions

mp: Any = lithops.multiprocessing
"""Seen from inside, where the standard library's types do not hold."""

Eventually = Callable[..., None]

some = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
patience = st.sampled_from([None, 0, 0.0005, 0.001, 0.002, 0.005, 0.01])
threads = st.lists(st.lists(patience, max_size=8), min_size=2, max_size=5)


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(12) as each:
        yield each


def assert_nobody_waits(lock: Any) -> None:
    session = lock._session
    assert session.run("EXISTS", *lock.keys[1:]) == 0
    assert set(session.run("HKEYS", lock.keys[0])) <= {b"free"}
    assert session.run("KEYS", f"{lock.keys[0]}:wake:*") == []


@some
@given(
    kind=st.sampled_from(["Lock", "RLock", "Semaphore", "BoundedSemaphore"]),
    programs=threads,
    permits=st.integers(1, 3),
)
def test_no_more_are_inside_than_there_are_permits(
    pool: ThreadPoolExecutor, kind: str, programs: list[list[float | None]], permits: int
) -> None:
    permits = permits if "Semaphore" in kind else 1
    lock = getattr(mp, kind)(*([permits] if "Semaphore" in kind else []))
    inside, most, counting = [0], [0], threading.Lock()

    def count(change: int) -> None:
        with counting:
            inside[0] += change
            most[0] = max(most[0], inside[0])

    def run(program: list[float | None]) -> None:
        for timeout in program:
            if lock.acquire(timeout=timeout):
                count(1)
                count(-1)
                lock.release()

    for each in [pool.submit(run, program) for program in programs]:
        each.result(60)
    assert most[0] <= permits
    assert lock._permits.free() == permits  # none is lost, and none too many
    assert_nobody_waits(lock)


@some
@given(kind=st.sampled_from(["Lock", "RLock", "Semaphore"]), gives_up=st.lists(st.booleans(), max_size=8))
def test_a_lock_is_handed_over_in_order_of_arrival(
    pool: ThreadPoolExecutor, eventually: Eventually, kind: str, gives_up: list[bool]
) -> None:
    lock = getattr(mp, kind)()
    order: list[int] = []

    def wait(number: int, timeout: float | None) -> None:
        if lock.acquire(timeout=timeout):
            order.append(number)
            lock.release()

    lock.acquire()
    waiting, impatient = [], []
    for number, leaves in enumerate(gives_up):
        if leaves:
            impatient.append(pool.submit(wait, number, 0.001))
        else:
            waiting.append(pool.submit(wait, number, None))
            for each in impatient:
                each.result(60)
            eventually(lambda: lock._session.run("LLEN", lock.keys[1]) == len(waiting))
    for each in impatient:
        each.result(60)
    lock.release()
    for each in waiting:
        each.result(60)
    assert order == [number for number, leaves in enumerate(gives_up) if not leaves]
    assert_nobody_waits(lock)


@some
@given(
    recursive=st.booleans(),
    sleepers=st.lists(patience, min_size=1, max_size=8),
    notifications=st.lists(st.integers(0, 3), max_size=8),
)
def test_each_notification_wakes_one_sleeper_and_no_other_wakes(
    pool: ThreadPoolExecutor, recursive: bool, sleepers: list[float | None], notifications: list[int]
) -> None:
    condition = CountingCondition(mp.RLock() if recursive else mp.Lock())

    def sleep(timeout: float | None) -> bool:
        with condition:
            return condition.wait(timeout)

    sleeping = [pool.submit(sleep, timeout) for timeout in sleepers]
    for number in notifications:
        with condition:
            condition.notify(number)
    while not all(each.done() for each in sleeping):
        with condition:
            condition.notify_all()
    assert sum(each.result() for each in sleeping) == condition.notified
    assert condition._session.run("EXISTS", *condition.keys) == 0
    assert_nobody_waits(condition._lock)


class CountingCondition(conditions.Condition):
    """It knows how many it has notified."""

    notified = 0

    def _script(self, lua: str, me: str, *arguments: Any) -> Any:
        answer = super()._script(lua, me, *arguments)
        if lua is conditions._NOTIFY:
            self.notified += answer
        return answer


@some
@given(timeouts=st.lists(st.sampled_from([None, 0.001, 0.005, 0.02]), min_size=1, max_size=8))
def test_a_set_event_is_missed_by_nobody(pool: ThreadPoolExecutor, timeouts: list[float | None]) -> None:
    event = mp.Event()
    waiting = [pool.submit(event.wait, timeout) for timeout in timeouts]
    event.set()
    for each, timeout in zip(waiting, timeouts, strict=True):
        assert each.result(60) or timeout is not None
    assert event._session.run("KEYS", f"{event.keys[0]}:*") == []


@some
@given(parties=st.integers(1, 4), rounds=st.integers(1, 6), acts=st.booleans())
def test_each_round_of_a_barrier_has_all_its_parties(
    pool: ThreadPoolExecutor, parties: int, rounds: int, acts: bool
) -> None:
    actions: list[int] = []
    barrier = mp.Barrier(parties, (lambda: actions.append(1)) if acts else None)
    waiting = [pool.submit(barrier.wait, 60) for _ in range(parties * rounds)]
    assert sorted(each.result(60) for each in waiting) == sorted([*range(parties)] * rounds)
    assert len(actions) == (rounds if acts else 0)
    assert barrier._session.run("KEYS", f"{barrier.keys[0]}*") == []

"""What was held by a process that was killed, or waited for by it, does not hang the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet  # another than the built-in one in Python 3.10
from threading import BrokenBarrierError
from typing import Any

import pytest
from synchronize_functions import hold

import lithops.multiprocessing
from lithops.exceptions import SharedStateError
from lithops.multiprocessing.current import current_session
from lithops.multiprocessing.references import caller
from lithops.shared import session as sessions
from lithops.shared.session import Session, new_name

mp: Any = lithops.multiprocessing
"""Seen from inside, where the standard library's types do not hold."""

Eventually = Callable[..., None]


@pytest.fixture(autouse=True)
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits looks after the others very often."""
    monkeypatch.setattr(sessions, "SLICE_S", 0.05)


class Other:
    """Another process, as far as the server can tell: what is done while entered is done under its name."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.name = new_name()
        self.revive()

    def revive(self) -> None:
        self.session.run("DEL", self.session.grave(self.name))
        self.session.run("SET", self.session.presence(self.name), b"1", "PX", 60_000)

    def die(self) -> None:
        """Its parent has noticed it."""
        self.session.bury(self.name)

    def fall_silent(self) -> None:
        """Nobody knows why."""
        self.session.run("DEL", self.session.presence(self.name))

    def leave(self) -> None:
        self.session.run("SET", self.session.presence(self.name), b"left", "PX", 60_000)

    def __enter__(self) -> None:
        self._before, sessions._name[0] = sessions._name[0], self.name

    def __exit__(self, *error: object) -> None:
        sessions._name[0] = self._before


@pytest.fixture
def other() -> Other:
    return Other(current_session())


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


KINDS = ["Lock", "RLock", "BoundedSemaphore"]


ends = pytest.mark.parametrize("ends", ["die", "fall_silent"])


@ends
@pytest.mark.parametrize("kind", KINDS)
def test_who_waits_gets_the_lock_of_a_dead_process(
    other: Other, pool: ThreadPoolExecutor, kind: str, ends: str
) -> None:
    lock = getattr(mp, kind)()
    with other:
        lock.acquire()
    waiting = pool.submit(lock.acquire, True, 30)
    with pytest.raises(NotYet):
        waiting.result(0.2)
    getattr(other, ends)()
    assert waiting.result(10) is True
    assert lock.acquire(False) is False


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("timeout", [0, 0.02])
def test_who_only_tries_gets_it_too(other: Other, eventually: Eventually, kind: str, timeout: float) -> None:
    lock = getattr(mp, kind)()
    with other:
        lock.acquire()
    other.die()
    eventually(lambda: lock.acquire(timeout=timeout))


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_ended_in_order_keeps_what_it_holds(other: Other, kind: str) -> None:
    lock = getattr(mp, kind)()
    with other:
        lock.acquire()
    other.leave()
    assert lock.acquire(timeout=0.5) is False


def test_a_process_that_was_stopped_for_a_while_loses_nothing(
    other: Other, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SLICE_S", 0.4)
    lock = mp.Lock()
    with other:
        lock.acquire()
    other.fall_silent()
    lock._permits.look("nobody/0.0", waits=False)  # it is silent...
    other.revive()
    assert lock.acquire(timeout=1) is False  # ...and says that it is there, before anybody has taken the lock


@pytest.mark.parametrize("kind", KINDS)
def test_who_was_robbed_by_mistake_is_told(other: Other, kind: str) -> None:
    lock = getattr(mp, kind)()
    with other:
        lock.acquire()
    other.die()
    assert lock.acquire(timeout=30)
    other.revive()
    owner, depth = getattr(lock, "_owner", ""), getattr(lock, "_depth", 0)
    with other:
        lock._owner, lock._depth = caller(lock._session), 1
        with pytest.raises(SharedStateError, match="handed on"):
            lock.release()
    lock._owner, lock._depth = owner, depth
    assert lock.acquire(False) or kind != "BoundedSemaphore" or lock.get_value() == 0
    lock.release()


def test_a_dead_process_that_waits_is_passed_over(other: Other, pool: ThreadPoolExecutor) -> None:
    for lock in (mp.Lock(), mp.Semaphore(), mp.BoundedSemaphore()):
        lock.acquire()
        queued(lock, other)
        other.die()
        waiting = pool.submit(lock.acquire, True, 30)
        lock.release()
        assert waiting.result(10) is True
        other.revive()


@ends
def test_a_permit_that_reaches_a_dead_process_is_passed_on(other: Other, ends: str) -> None:
    for lock in (mp.Lock(), mp.Semaphore(), mp.BoundedSemaphore()):
        lock.acquire()
        queued(lock, other)
        lock.release()
        getattr(other, ends)()
        assert lock.acquire(timeout=30)
        other.revive()


def queued(lock: Any, other: Other) -> None:
    """The other process waits for it."""
    with other:
        permits = lock._permits
        from lithops.multiprocessing.permits import _TAKE

        assert not permits.script(_TAKE, caller(lock._session), 1)


def test_the_permits_of_a_plain_semaphore_are_nobodys(other: Other) -> None:
    semaphore = mp.Semaphore(2)
    with other:
        semaphore.acquire()
        semaphore.acquire()
    other.die()
    assert semaphore.acquire(timeout=0.5) is False
    assert semaphore.get_value() == 0


def test_a_waiter_that_was_taken_for_dead_queues_up_again(pool: ThreadPoolExecutor) -> None:
    session = current_session()
    lock = mp.Lock()
    lock.acquire()
    waiting = pool.submit(lock.acquire, True, 30)
    session.run("DEL", lock.keys[1])  # as a release does that finds it silent
    with pytest.raises(NotYet):
        waiting.result(0.2)
    lock.release()
    assert waiting.result(10) is True


def sleeping(condition: Any, other: Other) -> None:
    """The other process sleeps in it."""
    from lithops.multiprocessing.conditions import _SLEEP

    with other, condition:
        me = caller(condition._session)
        assert condition._script(_SLEEP, me)
        condition._lock._let_go()
        condition._lock.acquire()


def test_a_dead_sleeper_takes_no_notification(other: Other, pool: ThreadPoolExecutor) -> None:
    condition = mp.Condition()
    sleeping(condition, other)
    other.die()
    assert woken_by_one_notification(condition, pool)


@ends
def test_a_notification_of_one_who_dies_is_passed_on(
    other: Other, pool: ThreadPoolExecutor, ends: str
) -> None:
    condition = mp.Condition()
    sleeping(condition, other)
    assert woken_by_one_notification(condition, pool, before=getattr(other, ends))


def woken_by_one_notification(
    condition: Any, pool: ThreadPoolExecutor, before: Callable[[], object] = lambda: None
) -> bool:
    """Whether a thread that sleeps behind the other process wakes."""
    asleep = threading.Event()

    def sleep() -> Any:
        with condition:
            asleep.set()
            return condition.wait(30)

    waiting = pool.submit(sleep)
    asleep.wait()
    with condition:
        condition.notify()
    before()
    return waiting.result(10) is True


@ends
def test_a_dead_party_breaks_the_barrier(other: Other, pool: ThreadPoolExecutor, ends: str) -> None:
    barrier = mp.Barrier(3)
    waiting = pool.submit(barrier.wait, 30)
    with other:
        barrier._enter(caller(barrier._session))
    with pytest.raises(NotYet):
        waiting.result(0.2)
    getattr(other, ends)()
    with pytest.raises(BrokenBarrierError):
        waiting.result(10)
    assert barrier.broken


def test_a_party_that_dies_in_the_action_breaks_the_barrier(other: Other, pool: ThreadPoolExecutor) -> None:
    barrier = mp.Barrier(2, lambda: None)
    with ThreadPoolExecutor(1) as outside:
        waiting = pool.submit(barrier.wait, 30)
        while barrier.n_waiting == 0:
            pass
        with other:
            assert barrier._enter(caller(barrier._session)) == 1
        late = outside.submit(barrier.wait, 30)
        other.die()
        for each in (waiting, late):
            with pytest.raises(BrokenBarrierError):
                each.result(10)


@pytest.mark.ours
@pytest.mark.parametrize("how", ["terminate", "kill", "by itself"])
def test_a_process_is_killed_that_holds_a_lock(mp: Any, place: Any, how: str) -> None:
    lock, held = mp.Lock(), mp.Event()
    process = mp.Process(target=hold, args=(lock, held, place / "die"))
    process.start()
    assert held.wait(60)
    assert lock.acquire(timeout=0.1) is False
    if how == "by itself":
        (place / "die").touch()
    else:
        getattr(process, how)()
    assert lock.acquire(timeout=30)
    process.join(30)
    assert process.exitcode

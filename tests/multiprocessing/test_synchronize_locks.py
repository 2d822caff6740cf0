"""`Lock`, `RLock`, `Semaphore` and `BoundedSemaphore`: what the standard library's do, and ours, between threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

TOO_OFTEN = "semaphore or lock released too many times"
NOT_OWNED = "attempt to release recursive lock not owned by thread"


def elsewhere(function: Callable[[], Any]) -> Any:
    """What the function gives in another thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_a_lock_is_acquired_and_released(mp: Any, kind: str) -> None:
    lock = getattr(mp, kind)()
    assert lock.acquire() is True
    assert elsewhere(lambda: lock.acquire(False)) is False
    assert elsewhere(lambda: lock.acquire(block=False)) is False
    assert lock.release() is None
    assert elsewhere(lambda: lock.acquire(False) and lock.release() is None) is True


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_a_lock_is_a_context_manager(mp: Any, kind: str) -> None:
    lock = getattr(mp, kind)()
    with lock as entered:
        assert entered is True
        assert elsewhere(lambda: lock.acquire(False)) is False
    with pytest.raises(KeyError), lock:
        raise KeyError
    assert lock.acquire(False)


def test_a_lock_is_not_recursive(mp: Any) -> None:
    lock = mp.Lock()
    lock.acquire()
    assert lock.acquire(False) is False
    assert lock.acquire(True, 0.01) is False


def test_a_lock_is_released_by_any_thread(mp: Any) -> None:
    lock = mp.Lock()
    lock.acquire()
    elsewhere(lock.release)
    assert lock.acquire(False)
    lock.release()


@pytest.mark.parametrize("kind", ["Lock", "BoundedSemaphore"])
def test_what_nobody_has_cannot_be_released(mp: Any, kind: str) -> None:
    lock = getattr(mp, kind)()
    with pytest.raises(ValueError, match=TOO_OFTEN):
        lock.release()
    with lock:
        pass
    with pytest.raises(ValueError, match=TOO_OFTEN):
        lock.release()
    assert lock.acquire(False)


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore"])
@pytest.mark.parametrize("timeout", [0, -1, -0.5, 0.05])
def test_timeouts_count_from_zero(mp: Any, kind: str, timeout: float) -> None:
    lock = getattr(mp, kind)()
    lock.acquire()
    began = time.monotonic()
    assert elsewhere(lambda: lock.acquire(timeout=timeout)) is False
    assert elsewhere(lambda: lock.acquire(True, timeout)) is False
    assert 2 * timeout <= time.monotonic() - began < 2
    lock.release()
    assert lock.acquire(timeout=timeout) is True


def test_a_timeout_has_no_meaning_without_blocking(mp: Any) -> None:
    lock = mp.Lock()
    lock.acquire()
    began = time.monotonic()
    assert lock.acquire(False, 60) is False
    assert time.monotonic() - began < 5


def test_a_timeout_is_a_number(mp: Any) -> None:
    with pytest.raises(TypeError):
        mp.Lock().acquire(timeout="soon")


def test_who_waits_gets_the_lock_when_it_is_released(mp: Any) -> None:
    lock = mp.Lock()
    lock.acquire()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lock.acquire, True, 60)
        lock.release()
        assert waiting.result(30) is True
    assert lock.acquire(False) is False


def test_a_recursive_lock_is_released_as_often_as_it_was_acquired(mp: Any) -> None:
    lock = mp.RLock()
    assert [lock.acquire(), lock.acquire(False), lock.acquire(timeout=1)] == [True] * 3
    for _ in range(2):
        lock.release()
        assert elsewhere(lambda: lock.acquire(False)) is False
    lock.release()
    assert elsewhere(lambda: lock.acquire(False) and lock.release() is None)


def test_a_recursive_lock_belongs_to_a_thread(mp: Any) -> None:
    lock = mp.RLock()
    with pytest.raises(AssertionError, match=NOT_OWNED):
        lock.release()
    with lock, pytest.raises(AssertionError, match=NOT_OWNED):
        elsewhere(lock.release)
    with pytest.raises(AssertionError, match=NOT_OWNED):
        lock.release()


def test_a_semaphore_counts(mp: Any) -> None:
    semaphore = mp.Semaphore(2)
    assert semaphore.get_value() == 2
    assert semaphore.acquire()
    assert semaphore.acquire()
    assert semaphore.get_value() == 0
    assert semaphore.acquire(False) is False
    for _ in range(5):
        semaphore.release()
    assert semaphore.get_value() == 5


def test_a_semaphore_begins_with_one_or_none(mp: Any) -> None:
    assert mp.Semaphore().get_value() == 1
    assert mp.BoundedSemaphore().get_value() == 1
    none = mp.Semaphore(value=0)
    assert none.acquire(timeout=0.01) is False
    none.release()
    assert none.acquire(timeout=0.01) is True


def test_a_bounded_semaphore_has_a_bound(mp: Any) -> None:
    semaphore = mp.BoundedSemaphore(2)
    semaphore.acquire()
    elsewhere(semaphore.acquire)
    semaphore.release()
    semaphore.release()
    with pytest.raises(ValueError, match=TOO_OFTEN):
        semaphore.release()
    assert semaphore.get_value() == 2
    with pytest.raises(ValueError, match=TOO_OFTEN):
        mp.BoundedSemaphore(0).release()


@pytest.mark.parametrize(
    ("value", "error"), [(-1, OSError), (2**31, OverflowError), ("1", TypeError), (1.5, TypeError)]
)
@pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore"])
def test_a_semaphore_begins_with_a_number(mp: Any, kind: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        getattr(mp, kind)(value)


def test_a_lock_shows_its_owner(mp: Any) -> None:
    lock = mp.Lock()
    assert repr(lock) == "<Lock(owner=None)>"
    with lock:
        assert repr(lock) == "<Lock(owner=MainProcess)>"
        assert elsewhere(lambda: repr(lock)) == "<Lock(owner=SomeOtherThread)>"
    with ThreadPoolExecutor(1, thread_name_prefix="helper") as pool:
        pool.submit(lock.acquire).result()
        assert pool.submit(repr, lock).result() == "<Lock(owner=MainProcess|helper_0)>"
        assert repr(lock) == "<Lock(owner=SomeOtherThread)>"


def test_a_recursive_lock_shows_its_owner_and_depth(mp: Any) -> None:
    lock = mp.RLock()
    assert repr(lock) == "<RLock(None, 0)>"
    with lock, lock:
        assert repr(lock) == "<RLock(MainProcess, 2)>"
        assert elsewhere(lambda: repr(lock)) == "<RLock(SomeOtherThread, nonzero)>"
    assert repr(lock) == "<RLock(None, 0)>"


def test_a_semaphore_shows_its_value(mp: Any) -> None:
    semaphore, bounded = mp.Semaphore(3), mp.BoundedSemaphore(3)
    assert repr(semaphore) == "<Semaphore(value=3)>"
    with bounded:
        assert repr(bounded) == "<BoundedSemaphore(value=2, maxvalue=3)>"


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_threads_exclude_each_other(mp: Any, kind: str) -> None:
    lock = getattr(mp, kind)()
    inside, entered = [0], []

    def enter() -> None:
        for _ in range(20):
            with lock:
                inside[0] += 1
                entered.append(inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert entered == [1] * 80

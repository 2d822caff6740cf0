"""`Barrier`: what the standard library's does, and ours, between threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import BrokenBarrierError
from typing import Any

import pytest

Eventually = Callable[..., None]
Arrive = Callable[..., list["Future[int]"]]


@pytest.fixture
def pool() -> Any:
    with ThreadPoolExecutor(6) as threads:
        yield threads


@pytest.fixture
def arrive(pool: ThreadPoolExecutor, eventually: Eventually) -> Arrive:
    """So many threads that wait in the barrier, one after the other."""

    def start(barrier: Any, number: int, *timeout: float) -> list[Future[int]]:
        started = []
        for _ in range(number):
            before = barrier.n_waiting
            started.append(pool.submit(barrier.wait, *timeout))
            eventually(lambda before=before: barrier.n_waiting == before + 1, "it does not arrive")
        return started

    return start


def assert_broken(waiting: list[Future[int]]) -> None:
    for each in waiting:
        with pytest.raises(BrokenBarrierError):
            each.result(30)


def test_a_barrier_opens_for_all_parties(mp: Any, arrive: Arrive) -> None:
    barrier = mp.Barrier(3)
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (3, 0, False)
    waiting = arrive(barrier, 2)
    assert barrier.n_waiting == 2
    assert barrier.wait() == 2
    assert [each.result(30) for each in waiting] == [0, 1]
    assert barrier.n_waiting == 0


def test_a_barrier_opens_again_and_again(mp: Any, pool: ThreadPoolExecutor) -> None:
    barrier = mp.Barrier(3)
    rounds: list[list[int]] = [[] for _ in range(20)]

    def run() -> None:
        for number in range(20):
            rounds[number].append(barrier.wait(60))

    for each in [pool.submit(run) for _ in range(3)]:
        each.result(60)
    assert all(sorted(each) == [0, 1, 2] for each in rounds)


def test_a_barrier_of_one_is_always_open(mp: Any) -> None:
    barrier = mp.Barrier(1)
    assert [barrier.wait(), barrier.wait(0)] == [0, 0]


def test_one_party_runs_the_action_before_any_goes_on(mp: Any, arrive: Arrive) -> None:
    seen: list[tuple[int, bool]] = []
    waiting: list[Future[int]] = []
    barrier = mp.Barrier(2, action=lambda: seen.append((threading.get_ident(), waiting[0].done())))
    waiting += arrive(barrier, 1)
    barrier.wait()
    waiting[0].result(30)
    assert seen == [(threading.get_ident(), False)]


def test_an_action_that_raises_breaks_the_barrier(mp: Any, arrive: Arrive) -> None:
    barrier = mp.Barrier(2, lambda: [][0])
    waiting = arrive(barrier, 1)
    with pytest.raises(IndexError):
        barrier.wait()
    assert_broken(waiting)
    assert barrier.broken is True


@pytest.mark.parametrize("timeout", [0, -1, 0.02])
def test_who_waits_in_vain_breaks_the_barrier(mp: Any, arrive: Arrive, timeout: float) -> None:
    barrier = mp.Barrier(3)
    waiting = arrive(barrier, 1)
    with pytest.raises(BrokenBarrierError):
        barrier.wait(timeout)
    assert_broken(waiting)
    assert barrier.broken is True
    assert barrier.n_waiting == 0
    with pytest.raises(BrokenBarrierError):
        barrier.wait()


def test_a_barrier_has_a_timeout_for_all(mp: Any) -> None:
    barrier = mp.Barrier(2, timeout=0.02)
    with pytest.raises(BrokenBarrierError):
        barrier.wait()


def test_the_timeout_of_a_call_comes_before_that_of_the_barrier(mp: Any, arrive: Arrive) -> None:
    barrier = mp.Barrier(2, None, 0.02)
    waiting = arrive(barrier, 1, 60)
    assert barrier.wait() == 1
    assert waiting[0].result(30) == 0


def test_an_action_is_not_limited_by_the_timeout(mp: Any, arrive: Arrive) -> None:
    may_end = threading.Event()
    threading.Timer(0.1, may_end.set).start()
    barrier = mp.Barrier(2, lambda: may_end.wait(30))
    waiting = arrive(barrier, 1, 0.05)
    assert barrier.wait(0.05) == 1
    assert waiting[0].result(30) == 0


def test_who_comes_during_the_action_belongs_to_the_next_round(mp: Any, pool: ThreadPoolExecutor) -> None:
    rounds: list[int] = []
    barrier = mp.Barrier(2, lambda: rounds.append(len(rounds)))
    for each in [pool.submit(barrier.wait, 60) for _ in range(6)]:
        assert each.result(60) in (0, 1)
    assert rounds == [0, 1, 2]


def test_a_barrier_can_be_aborted(mp: Any, arrive: Arrive) -> None:
    barrier = mp.Barrier(3)
    waiting = arrive(barrier, 2)
    barrier.abort()
    assert_broken(waiting)
    assert barrier.broken is True
    with pytest.raises(BrokenBarrierError):
        barrier.wait()


def test_a_barrier_can_be_reset(mp: Any, arrive: Arrive, eventually: Eventually) -> None:
    barrier = mp.Barrier(3)
    waiting = arrive(barrier, 2)
    barrier.reset()
    assert_broken(waiting)
    assert barrier.broken is False
    waiting = arrive(barrier, 2)
    assert barrier.wait() == 2
    assert [each.result(30) for each in waiting] == [0, 1]


def test_a_broken_barrier_can_be_reset(mp: Any, arrive: Arrive) -> None:
    barrier = mp.Barrier(2)
    barrier.abort()
    barrier.reset()
    assert barrier.broken is False
    arrive(barrier, 1)
    assert barrier.wait() == 1
    barrier.reset()
    assert barrier.n_waiting == 0


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the standard library shows it since then")
def test_a_barrier_shows_its_state(mp: Any, arrive: Arrive) -> None:
    barrier = mp.Barrier(2)
    assert repr(barrier).endswith(f"Barrier at {id(barrier):#x}: waiters=0/2>")
    arrive(barrier, 1)
    assert repr(barrier).endswith(f"Barrier at {id(barrier):#x}: waiters=1/2>")
    barrier.abort()
    assert repr(barrier).endswith(f"Barrier at {id(barrier):#x}: broken>")

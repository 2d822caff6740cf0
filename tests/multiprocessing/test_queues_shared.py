"""Queues between processes: order, capacity, what travels in them, large items, and processes that die."""

from __future__ import annotations

import pickle
import queue
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from other_process import OtherProcess, keys_of

import lithops.multiprocessing as mp
from lithops import FunctionExecutor
from lithops.multiprocessing import messages, program
from lithops.shared import lines
from lithops.shared import session as sessions
from lithops.shared.session import Session


@pytest.fixture
def session() -> Session:
    """With nothing in it that another test has left."""
    found = program.session()
    for key in keys_of(found):
        found.run("DEL", key)
    return found


# ---------------------------------------------------------------- where they go


def test_a_queue_goes_to_calls_and_comes_back_in_results(fexec: FunctionExecutor) -> None:
    shared = mp.Queue()

    def work(given: Any, number: int) -> Any:
        given.put(number)
        shared.put(-number)
        return given

    results = fexec.get_result(fexec.map(work, [(shared, 1), (shared, 2)]))
    results[0].put(3)
    assert sorted(results[1].get(timeout=10) for _ in range(5)) == [-2, -1, 1, 2, 3]
    assert shared.empty()


@pytest.mark.parametrize("kind", ["Queue", "JoinableQueue", "SimpleQueue"])
def test_a_pickled_queue_is_the_same_queue(kind: str) -> None:
    shared = getattr(mp, kind)()
    other = pickle.loads(pickle.dumps(shared))
    assert type(other) is type(shared)
    shared.put(1)
    assert other.get() == 1


def test_a_pickled_queue_keeps_its_size() -> None:
    shared = pickle.loads(pickle.dumps(mp.Queue(1)))
    shared.put(1)
    with pytest.raises(queue.Full):
        shared.put_nowait(2)


class OfThisModule:
    def __init__(self, number: int) -> None:
        self.number = number


def test_what_main_defines_travels_both_ways(run_program: Callable[..., Any]) -> None:
    done = run_program("""
import lithops.multiprocessing as mp
from lithops import FunctionExecutor

class Mine:
    def __init__(self, number):
        self.number = number

def echo(back, forth):
    forth.put(back.get())
    forth.put(lambda x: x + 1)

if __name__ == "__main__":
    back, forth = mp.Queue(), mp.SimpleQueue()
    with FunctionExecutor(log_level=None) as executor:
        future = executor.call_async(echo, (back, forth))
        back.put(Mine(5))
        got = forth.get()
        assert type(got) is Mine and got.number == 5, got
        assert forth.get()(1) == 2
        future.result()
""")
    assert done.stderr == ""


def test_a_queue_travels_in_a_queue() -> None:
    outer, inner = mp.Queue(), mp.Queue()
    outer.put({"answer": inner})
    outer.get()["answer"].put(42)
    assert inner.get() == 42


def test_reductions_that_were_registered_count(monkeypatch: pytest.MonkeyPatch) -> None:
    from multiprocessing.reduction import ForkingPickler

    monkeypatch.setattr(ForkingPickler, "_extra_reducers", dict(ForkingPickler._extra_reducers))  # type: ignore[attr-defined]
    messages._pickler.cache_clear()
    ForkingPickler.register(OfThisModule, lambda each: (int, (each.number,)))
    shared = mp.SimpleQueue()
    shared.put([OfThisModule(7)])
    assert shared.get() == [7]
    messages._pickler.cache_clear()


def test_descriptors_are_refused_with_a_sentence() -> None:
    import socket

    with socket.socket() as sock, pytest.raises(NotImplementedError, match="descriptor of this machine"):
        mp.SimpleQueue().put(sock)


# ---------------------------------------------------------------- order and capacity


def test_when_put_returns_the_item_is_there() -> None:
    shared = mp.Queue()
    for number in range(20):
        assert shared.empty()
        shared.put(number)
        assert not shared.empty()
        assert shared.get_nowait() == number


def test_putters_that_wait_come_in_order(eventually: Callable[..., None]) -> None:
    shared: Any = mp.Queue(1)
    shared.put(0)
    threads = []
    for number in range(1, 6):
        threads.append(threading.Thread(target=shared.put, args=(number,)))
        threads[-1].start()
        waiting = shared._items.key + ":waiting"
        eventually(lambda n=number, w=waiting: program.session().run("LLEN", w) == n)
    assert [shared.get() for _ in range(6)] == [*range(6)]
    for thread in threads:
        thread.join()


def test_who_comes_later_does_not_overtake(eventually: Callable[..., None]) -> None:
    shared: Any = mp.Queue(2)
    shared.put(0)
    shared.put(1)
    thread = threading.Thread(target=shared.put, args=(2,))
    thread.start()
    eventually(lambda: program.session().run("LLEN", shared._items.key + ":waiting") == 1)
    assert shared.get() == 0
    with pytest.raises(queue.Full):
        shared.put_nowait(3)
    thread.join()
    assert [shared.get(), shared.get()] == [1, 2]


def test_one_producers_items_keep_their_order_among_many(fexec: FunctionExecutor) -> None:
    shared: Any = mp.Queue(5)

    def produce(producer: int) -> None:
        for number in range(100):
            shared.put((producer, number))

    futures = fexec.map(produce, [1, 2])
    got = [shared.get(timeout=20) for _ in range(200)]
    fexec.get_result(futures)
    for producer in (1, 2):
        assert [number for each, number in got if each == producer] == [*range(100)]


def test_consumers_share_the_items() -> None:
    shared = mp.Queue()
    got: Counter[int] = Counter()
    lock = threading.Lock()
    ready = threading.Barrier(4)

    def consume(name: int) -> None:
        ready.wait()
        while shared.get() is not None:
            with lock:
                got[name] += 1

    threads = [threading.Thread(target=consume, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    ready.wait()
    for number in range(300):
        shared.put(number)
    for _ in threads:
        shared.put(None)
    for thread in threads:
        thread.join()
    assert sum(got.values()) == 300
    assert min(got.values()) > 20, "somebody has starved"


@settings(max_examples=25)
@given(
    maxsize=st.integers(0, 3),
    steps=st.lists(st.tuples(st.sampled_from(["put", "get"]), st.sampled_from([None, 0.003])), max_size=25),
)
def test_it_does_what_a_model_does(maxsize: int, steps: list[tuple[str, float | None]]) -> None:
    shared, model = mp.JoinableQueue(maxsize), queue.Queue[int](maxsize)
    for number, (step, timeout) in enumerate(steps):
        outcomes: list[Any] = []
        for each in (shared, model):
            try:
                if step == "put":
                    outcomes.append(each.put(number, timeout is not None, timeout))
                else:
                    outcomes.append(each.get(timeout is not None, timeout))
            except (queue.Full, queue.Empty) as error:
                outcomes.append(type(error))
        assert outcomes[0] == outcomes[1]
        assert (shared.qsize(), shared.empty(), shared.full()) == (model.qsize(), model.empty(), model.full())
    leftover = model.unfinished_tasks
    for _ in range(leftover):
        shared.task_done()
    with pytest.raises(ValueError):
        shared.task_done()


def test_timeouts_lose_no_item_and_keep_the_capacity() -> None:
    """Putters give up at about the time when room is made: each of them is right about what has become of its item."""
    shared: Any = mp.Queue(1)
    accepted: list[int] = []

    def produce(first: int) -> None:
        for number in range(first, first + 40):
            try:
                shared.put(number, timeout=0.001)
            except queue.Full:
                continue
            accepted.append(number)

    threads = [threading.Thread(target=produce, args=(1000 * each,)) for each in range(3)]
    for thread in threads:
        thread.start()
    got = []
    while any(thread.is_alive() for thread in threads) or not shared.empty():
        assert shared.qsize() <= 1
        try:
            got.append(shared.get(timeout=0.002))
        except queue.Empty:
            continue
    assert sorted(got) == sorted(accepted)


# ---------------------------------------------------------------- processes that die


def test_a_putter_that_died_is_passed_over(
    start_program: Callable[..., Any], session: Session, eventually: Callable[..., None]
) -> None:
    shared: Any = mp.Queue(1)
    shared.put(0)
    other = OtherProcess(start_program, "appear_as('putter'); say('there'); given.put('of the dead')", shared)
    assert other.hear() == "there"
    eventually(lambda: session.run("LLEN", shared._items.key + ":waiting") == 1)
    other.kill()
    session.bury("putter")
    assert shared.get() == 0
    shared.put(1, timeout=10)
    assert shared.get() == 1
    assert shared.empty()


def test_putters_go_on_after_a_consumer_that_died_before_it_made_room(
    monkeypatch: pytest.MonkeyPatch, session: Session, eventually: Callable[..., None]
) -> None:
    monkeypatch.setattr(sessions, "SLICE_S", 0.05)
    shared: Any = mp.Queue(1)
    shared.put(0)
    thread = threading.Thread(target=shared.put, args=(1,))
    thread.start()
    eventually(lambda: session.run("LLEN", shared._items.key + ":waiting") == 1)
    session.run("LPOP", shared._items.key)  # as such a consumer does
    thread.join(10)
    assert not thread.is_alive()
    assert shared.get() == 1


def test_a_putter_that_was_taken_for_dead_offers_again(
    monkeypatch: pytest.MonkeyPatch, session: Session, eventually: Callable[..., None]
) -> None:
    monkeypatch.setattr(sessions, "SLICE_S", 0.05)
    shared: Any = mp.Queue(1)
    shared.put(0)
    session.run("DEL", session.presence(session.me))
    thread = threading.Thread(target=shared.put, args=(1,))
    thread.start()
    eventually(lambda: session.run("LLEN", shared._items.key + ":waiting") == 1)
    assert shared.get() == 0
    session.run("SET", session.presence(session.me), b"1")
    thread.join(10)
    assert not thread.is_alive()
    assert shared.get() == 1


def test_an_interrupted_put_leaves_no_offer(monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    shared: Any = mp.Queue(1)
    shared.put(0)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Session, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            shared.put(1)
    assert shared.get() == 0
    assert shared.empty()
    assert not [key for key in keys_of(session) if key.endswith((":waiting", ":offers"))]


def test_a_connection_that_the_server_closed_in_the_meantime_is_made_anew(
    monkeypatch: pytest.MonkeyPatch, session: Session
) -> None:
    monkeypatch.setattr(lines, "_IDLE_S", 0.0)
    shared = mp.Queue()
    for number in range(3):
        shared.put(number)
        session.run("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert shared.get() == number
    session._lines.close()


def test_a_server_that_has_forgotten_the_scripts_is_told_them_again(session: Session) -> None:
    shared = mp.Queue()
    for number in range(3):
        session.run("SCRIPT", "FLUSH")
        shared.put(number)
        assert shared.get() == number

"""Large items in queues: what they were, at their price, and nothing left of them when a process dies on the way."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from other_process import OtherProcess, keys_of

import lithops.multiprocessing as mp
from lithops.exceptions import SharedStateError
from lithops.multiprocessing import program
from lithops.shared.session import Session

MIB = 1 << 20


@pytest.fixture
def session() -> Session:
    """With nothing in it that another test has left."""
    found = program.session()
    for key in keys_of(found):
        found.run("DEL", key)
    return found


@pytest.mark.parametrize("size", [256 * 1024 - 40, 256 * 1024, MIB - 1, MIB, MIB + 1, 3 * MIB + 7])
@pytest.mark.parametrize("kind", [bytes, bytearray, str])
def test_large_items_are_what_they_were(kind: Any, size: int) -> None:
    shared = mp.Queue()
    raw = bytes(range(32, 127)) * (size // 95 + 1)
    item = raw[:size].decode() if kind is str else kind(raw[:size])
    shared.put({"item": item, "again": [item]})
    got = shared.get()
    assert got == {"item": item, "again": [item]}
    assert type(got["item"]) is kind


def test_arrays_travel_beside_the_pickle_and_can_be_written_to() -> None:
    shared = mp.Queue()
    for shape in [(10,), (1000, 3), (300, 1000)]:
        array = np.arange(np.prod(shape), dtype="f8").reshape(shape)
        shared.put((array, array.T, array[::2]))
        first, turned, every_other = shared.get()
        assert (first == array).all()
        assert (turned == array.T).all()
        assert (every_other == array[::2]).all()
        first += 1


def test_large_items_leave_nothing_behind(session: Session) -> None:
    shared: Any = mp.Queue(1)
    before = keys_of(session)
    shared.put(bytes(2 * MIB))
    with pytest.raises(queue.Full):
        shared.put_nowait(bytes(2 * MIB))
    with pytest.raises(queue.Full):
        shared.put(bytes(2 * MIB), timeout=0.01)
    shared.get()
    assert keys_of(session) == before


def test_everything_expires(session: Session) -> None:
    shared = mp.JoinableQueue(1)
    shared.put(bytes(2 * MIB))
    thread = threading.Thread(target=shared.put, args=(bytes(MIB),))
    thread.start()
    joiner = threading.Thread(target=shared.join)
    joiner.start()
    for _ in range(100):
        for key in keys_of(session):
            assert session.run("PTTL", key) != -1, key
    held = set(session.held_keys())
    assert {key for key in keys_of(session) if ":large:" in key} <= held, "an item in the queue would expire"
    for _ in range(2):
        shared.get()
        shared.task_done()
    thread.join()
    joiner.join()


def test_a_lost_piece_is_told(session: Session) -> None:
    shared = mp.Queue()
    shared.put(bytes(3 * MIB))
    (key,) = [key for key in keys_of(session) if ":large:" in key]
    session.run("RPOP", key)
    with pytest.raises(SharedStateError, match="has lost a part of a large message"):
        shared.get()
    shared.put("it can still be used")
    assert shared.get() == "it can still be used"


def test_a_producer_that_dies_with_a_large_item_hangs_nobody(
    start_program: Callable[..., Any], session: Session
) -> None:
    shared = mp.Queue()
    other = OtherProcess(start_program, """
from lithops.multiprocessing import messages
def pieces(segments):
    yield [memoryview(bytes(1000))]
    say("half of it is there")
    time.sleep(60)
messages._cut = pieces
given.put(bytes(5_000_000))
""", shared)  # fmt: skip
    assert other.hear() == "half of it is there"
    other.kill()
    assert shared.empty()
    shared.put("next")
    assert shared.get() == "next"
    (key,) = [key for key in keys_of(session) if ":large:" in key]
    assert session.run("PTTL", key) > 0, "its pieces would stay for ever"
    session.run("DEL", key)


def test_a_consumer_that_dies_with_a_large_item_hangs_nobody(start_program: Callable[..., Any]) -> None:
    shared = mp.Queue()
    shared.put(bytes(5 * MIB))
    shared.put("next")
    other = OtherProcess(start_program, """
from lithops.multiprocessing import messages
def slowly(self):
    say("it is mine")
    time.sleep(60)
messages._Arrival.take = slowly
given.get()
""", shared)  # fmt: skip
    assert other.hear() == "it is mine"
    other.kill()
    assert shared.get(timeout=10) == "next"


def test_items_may_be_larger_than_the_servers_values() -> None:
    shared = mp.Queue()
    array = np.zeros(520 * MIB, dtype="u1")
    array[-1] = 1
    shared.put(array)
    got = shared.get()
    assert got.shape == array.shape
    assert got[-1] == 1
    assert not got[:-1].any()

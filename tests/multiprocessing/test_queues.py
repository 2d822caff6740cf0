"""What the documentation promises of queues, of the standard library's and of these."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

KINDS = ["Queue", "JoinableQueue"]


@pytest.fixture(params=KINDS)
def make(mp: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    made = []

    def create(*arguments: int) -> Any:
        made.append(getattr(mp, request.param)(*arguments))
        return made[-1]

    yield create
    for each in made:
        each.close()
        each.join_thread()


def test_items_come_in_the_order_in_which_they_were_put(make: Callable[..., Any]) -> None:
    shared = make()
    items = [1, "two", b"three", None, [4, {"five": 5.0}], (6, 7j), {8, 9}, range(10), ValueError("eleven")]
    for item in items:
        shared.put(item)
    assert [repr(shared.get(timeout=10)) for _ in items] == [repr(item) for item in items]


def test_what_was_put_is_a_copy(make: Callable[..., Any]) -> None:
    shared, item = make(), [1, [2]]
    shared.put(item)
    got = shared.get(timeout=10)
    assert got == item
    assert got is not item


def test_an_empty_queue_says_so(make: Callable[..., Any]) -> None:
    shared = make()
    assert shared.empty()
    assert shared.qsize() == 0
    assert not shared.full()
    with pytest.raises(queue.Empty):
        shared.get_nowait()
    with pytest.raises(queue.Empty):
        shared.get(False)
    with pytest.raises(queue.Empty):
        shared.get(block=False, timeout=10)
    with pytest.raises(queue.Empty):
        shared.get(timeout=-1)


@pytest.mark.parametrize("timeout", [0, 0.05, 0.3])
def test_get_waits_as_long_as_it_is_told(make: Callable[..., Any], timeout: float) -> None:
    shared = make()
    start = time.monotonic()
    with pytest.raises(queue.Empty):
        shared.get(timeout=timeout)
    assert timeout <= time.monotonic() - start + 0.002 < timeout + 1


@pytest.mark.parametrize("timeout", [0.05, 0.3])
def test_put_waits_as_long_as_it_is_told(make: Callable[..., Any], timeout: float) -> None:
    shared = make(1)
    shared.put(1)
    start = time.monotonic()
    with pytest.raises(queue.Full):
        shared.put(2, timeout=timeout)
    assert timeout <= time.monotonic() - start + 0.002 < timeout + 1
    assert shared.get(timeout=10) == 1
    with pytest.raises(queue.Empty):
        shared.get(timeout=0.05)


def test_a_full_queue_says_so(make: Callable[..., Any]) -> None:
    shared = make(2)
    assert not shared.full()
    shared.put(1)
    assert not shared.full()
    shared.put(2, True)
    assert shared.full()
    assert shared.qsize() == 2
    with pytest.raises(queue.Full):
        shared.put_nowait(3)
    with pytest.raises(queue.Full):
        shared.put(3, False)
    with pytest.raises(queue.Full):
        shared.put(3, block=False, timeout=10)
    with pytest.raises(queue.Full):
        shared.put(3, timeout=-1)
    assert [shared.get(timeout=10), shared.get(timeout=10)] == [1, 2]
    assert not shared.full()


@pytest.mark.parametrize("maxsize", [0, -1])
def test_without_a_size_it_is_never_full(make: Callable[..., Any], maxsize: int) -> None:
    shared = make(maxsize)
    for number in range(100):
        shared.put_nowait(number)
    assert not shared.full()
    assert [shared.get(timeout=10) for _ in range(100)] == [*range(100)]


def test_get_blocks_until_there_is_an_item(make: Callable[..., Any]) -> None:
    shared, got = make(), queue.SimpleQueue[Any]()
    thread = threading.Thread(target=lambda: got.put(shared.get()))
    thread.start()
    with pytest.raises(queue.Empty):
        got.get(timeout=0.1)
    shared.put("at last")
    assert got.get(timeout=10) == "at last"
    thread.join()


def test_put_blocks_until_there_is_room(make: Callable[..., Any]) -> None:
    shared, done = make(1), threading.Event()
    shared.put(1)
    thread = threading.Thread(target=lambda: [shared.put(2), done.set()])  # type: ignore[func-returns-value]
    thread.start()
    assert not done.wait(0.1)
    assert shared.get(timeout=10) == 1
    assert done.wait(10)
    assert shared.get(timeout=10) == 2
    thread.join()


def test_after_close_nothing_is_put_or_got(make: Callable[..., Any]) -> None:
    shared = make()
    with pytest.raises(AssertionError, match=r"Queue <.*Queue object at .*> not closed"):
        shared.join_thread()
    shared.cancel_join_thread()
    shared.close()
    shared.close()
    with pytest.raises(ValueError, match=r"Queue <.*Queue object at .*> is closed"):
        shared.put(1)
    with pytest.raises(ValueError, match=r"Queue <.*Queue object at .*> is closed"):
        shared.get()
    with pytest.raises(ValueError, match=r"is closed"):
        shared.get_nowait()


def test_what_cannot_be_pickled_is_told_and_left_out(
    make: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    shared = make(1)
    shared.put(threading.Lock())
    shared.put(True, timeout=10)
    assert shared.get(timeout=10) is True
    assert "TypeError: cannot pickle '_thread.lock' object" in capfd.readouterr().err


def test_who_cannot_pickle_an_item_can_be_told_by_a_hook(make: Callable[..., Any]) -> None:
    shared, told = make(), queue.SimpleQueue[Any]()

    class Unwilling:
        def __reduce__(self) -> Any:
            raise NotImplementedError("not me")

    item = Unwilling()
    shared._on_queue_feeder_error = lambda error, what: told.put((error, what))
    shared.put(item)
    error, what = told.get(timeout=10)
    assert isinstance(error, NotImplementedError)
    assert what is item


def test_every_item_comes_once_however_many_put_and_get(make: Callable[..., Any]) -> None:
    shared, got = make(3), queue.SimpleQueue[Any]()

    def produce(first: int) -> None:
        for number in range(first, first + 50):
            shared.put(number)

    def consume() -> None:
        while (item := shared.get()) is not None:
            got.put(item)

    producers = [threading.Thread(target=produce, args=(1000 * each,)) for each in range(3)]
    consumers = [threading.Thread(target=consume) for _ in range(3)]
    for thread in producers + consumers:
        thread.start()
    for thread in producers:
        thread.join()
    for _ in consumers:
        shared.put(None)
    for thread in consumers:
        thread.join()
    assert sorted(got.get() for _ in range(150)) == sorted(
        number for each in range(3) for number in range(1000 * each, 1000 * each + 50)
    )


class TestJoinableQueue:
    def test_join_waits_until_all_is_done(self, mp: Any) -> None:
        shared, joined = mp.JoinableQueue(), threading.Event()
        shared.join()  # nothing was put
        for number in range(3):
            shared.put(number)
        thread = threading.Thread(target=lambda: [shared.join(), joined.set()])  # type: ignore[func-returns-value]
        thread.start()
        for _ in range(3):
            assert not joined.wait(0.05)
            shared.get()
            shared.task_done()
        assert joined.wait(10)
        thread.join()
        shared.join()
        shared.close()
        shared.join_thread()

    def test_all_who_join_are_woken(self, mp: Any) -> None:
        shared = mp.JoinableQueue()
        shared.put(1)
        threads = [threading.Thread(target=shared.join) for _ in range(3)]
        for thread in threads:
            thread.start()
        shared.get()
        shared.task_done()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        shared.close()
        shared.join_thread()

    def test_more_cannot_be_done_than_was_put(self, mp: Any) -> None:
        shared = mp.JoinableQueue()
        with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
            shared.task_done()
        shared.put(1)
        shared.task_done()
        with pytest.raises(ValueError, match=r"task_done\(\) called too many times"):
            shared.task_done()
        shared.get()
        shared.close()
        shared.join_thread()


class TestSimpleQueue:
    def test_items_come_in_order(self, mp: Any) -> None:
        shared = mp.SimpleQueue()
        assert shared.empty()
        for number in range(5):
            shared.put(number)
        assert not shared.empty()
        assert [shared.get() for _ in range(5)] == [*range(5)]
        assert shared.empty()
        shared.close()

    def test_it_blocks_until_there_is_an_item(self, mp: Any) -> None:
        shared, got = mp.SimpleQueue(), queue.SimpleQueue[Any]()
        thread = threading.Thread(target=lambda: got.put(shared.get()))
        thread.start()
        with pytest.raises(queue.Empty):
            got.get(timeout=0.1)
        shared.put("item")
        assert got.get(timeout=10) == "item"
        thread.join()
        shared.close()

    def test_what_cannot_be_pickled_raises_at_once(self, mp: Any) -> None:
        shared = mp.SimpleQueue()
        with pytest.raises(TypeError, match=r"cannot pickle '_thread.lock' object"):
            shared.put(threading.Lock())
        assert shared.empty()
        shared.close()

    def test_after_close_it_cannot_be_used(self, mp: Any) -> None:
        shared = mp.SimpleQueue()
        shared.close()
        for use in (shared.get, lambda: shared.put(1), shared.empty):
            with pytest.raises(OSError, match="handle is closed"):
                use()
        shared.close()

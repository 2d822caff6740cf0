"""The life of a pool: open, closed, terminated, joined, forgotten; and what it holds on to."""

from __future__ import annotations

import functools
import gc
import itertools
import multiprocessing
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pool_functions as functions
import pytest

import lithops.multiprocessing as lithops_mp
from lithops.multiprocessing import inputs, outbox


def _submit_all(pool: Any) -> list[Callable[[], object]]:
    return [
        lambda: pool.apply(functions.square, (1,)),
        lambda: pool.apply_async(functions.square, (1,)),
        lambda: pool.map(functions.square, [1]),
        lambda: pool.map_async(functions.square, [1]),
        lambda: pool.starmap(functions.square, [(1,)]),
        lambda: pool.starmap_async(functions.square, [(1,)]),
        lambda: pool.imap(functions.square, [1]),
        lambda: pool.imap_unordered(functions.square, [1]),
        pool.__enter__,
    ]


def test_close_and_join(mp: Any) -> None:
    pool = mp.Pool(2)
    result = pool.map_async(functions.square, range(10))
    with pytest.raises(ValueError, match="Pool is still running"):
        pool.join()
    pool.close()
    pool.close()
    for submit in _submit_all(pool):
        with pytest.raises(ValueError, match="Pool not running"):
            submit()
    pool.join()
    assert result.ready()
    assert result.get() == [x * x for x in range(10)]
    assert "state=CLOSE" in repr(pool)
    pool.join()
    pool.terminate()


def test_terminate(mp: Any, place: Any) -> None:
    pool = mp.Pool(2)
    for number in range(4):
        pool.apply_async(functions.come_and_stay, (place / str(number),))
    functions.wait_for(place / "0")
    before = time.monotonic()
    pool.terminate()
    pool.join()
    assert time.monotonic() - before < 20
    for submit in _submit_all(pool):
        with pytest.raises(ValueError, match="Pool not running"):
            submit()
    assert "state=TERMINATE" in repr(pool)
    pool.terminate()
    pool.join()


def test_with_terminates(mp: Any) -> None:
    with mp.Pool(1) as pool:
        assert pool.apply(functions.square, (3,)) == 9
    assert "state=TERMINATE" in repr(pool)
    with pytest.raises(ValueError, match="Pool not running"), pool:
        pass


@pytest.mark.ours
def test_closed_and_joined_before_any_task(mp: Any) -> None:
    for end in ("close", "terminate"):
        pool = mp.Pool(1)
        getattr(pool, end)()
        pool.join()


@pytest.mark.ours
def test_nobody_waits_for_what_was_terminated(mp: Any, place: Any) -> None:
    """In the standard library, whoever waits then waits for ever."""
    pool = mp.Pool(1)
    outcome: list[BaseException] = []
    running = pool.apply_async(functions.come_and_stay, (place / "0",))
    waiting = pool.map_async(functions.come_and_stay, [place / "1"])
    each = pool.imap(functions.come_and_stay, itertools.repeat(place / "2"))

    def wait() -> None:
        try:
            running.get()
        except CancelledError as error:
            outcome.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    functions.wait_for(place / "0")
    pool.terminate()
    thread.join(30)
    assert len(outcome) == 1
    for result in (running, waiting):
        with pytest.raises(CancelledError):
            result.get(30)
    with pytest.raises(CancelledError):
        each.next(30)
    rest = itertools.islice(_outcomes(each), 100_000)
    assert set(rest) <= {"CallCancelled"}


def _outcomes(results: Any) -> Iterator[str]:
    while True:
        try:
            results.next(30)
        except StopIteration:
            return
        except CancelledError as error:
            yield type(error).__name__


def test_its_workers_end_with_it(
    tmp_path: Path, workers: Callable[..., set[int]], eventually: Callable[..., None]
) -> None:
    before = workers()
    for end in ("close", "terminate"):
        pool = lithops_mp.Pool(2)
        pid = pool.apply(functions.pid)
        assert pid in workers()
        getattr(pool, end)()
        pool.join()
        assert pid not in workers()
    assert workers() == before


def test_a_forgotten_pool_warns_and_ends(
    workers: Callable[..., set[int]], eventually: Callable[..., None]
) -> None:
    before = workers()
    pool = lithops_mp.Pool(1)
    pool.apply(functions.pid)
    assert workers() > before
    kept = [pool]
    del pool
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool <.*Pool state=RUN"):
        kept.clear()
    eventually(lambda: workers() == before)
    eventually(lambda: not [each for each in threading.enumerate() if each.name == "lithops-pool"])


def test_a_forgotten_pool_of_the_standard_library_warns(mp: Any) -> None:
    pool = mp.Pool(1)
    with pytest.warns(ResourceWarning, match="unclosed running multiprocessing pool <.*Pool state=RUN"):
        pool.__del__()
    pool.terminate()
    pool.join()


@pytest.mark.ours
def test_results_keep_their_pool_until_they_are_there(mp: Any, place: Any) -> None:
    """So a pool that is used in one expression is not forgotten in the midst of it."""
    go = place / "go"
    pool = mp.Pool(1)
    alive = weakref.ref(pool)
    result = pool.apply_async(functions.wait_for, (go,))
    pool.close()
    del pool
    gc.collect()
    assert alive() is not None
    go.touch()
    assert result.get(30) == "go"


def test_arguments_and_results_are_let_go_of(mp: Any, eventually: Callable[..., None]) -> None:
    with mp.Pool(2) as pool:
        values = [functions.Counted() for _ in range(10)]
        references = [weakref.ref(value) for value in values]
        results = pool.map(functions.identity, values)
        more = list(pool.imap(functions.identity, values))
        single = pool.apply_async(functions.identity, (values[0],))
        single.get()
        assert functions.Counted.alive >= 31
        del values, results, more, single
        gc.collect()
        eventually(lambda: not any(reference() for reference in references))
        eventually(lambda: functions.Counted.alive == 0)
        assert pool._cache == {}


@pytest.mark.ours
def test_endless_iterators(mp: Any, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]) -> None:
    """Lazily read, and no further ahead of what has been read of the results than is allowed."""
    monkeypatch.setattr(inputs, "_UNREAD", 50)
    with mp.Pool(2) as pool:
        for method in (pool.imap, pool.imap_unordered):
            given: list[int] = []
            results = method(functions.square, _noted(itertools.count(), given))
            assert len({next(results) for _ in range(200)}) == 200
            # The reader comes as far as it may, and no further.
            eventually(functools.partial(_has_length, given, 251))
            time.sleep(0.1)
            assert len(given) == 251


@pytest.mark.ours
def test_large_elements_are_not_read_far_ahead(mp: Any, place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_AHEAD_BYTES", 1000_000)
    read: list[int] = []

    def produce() -> Iterator[Any]:
        for number in range(40):
            read.append(number)
            yield bytes(100_000), place / "go"

    with mp.Pool(2) as pool:
        results = pool.imap(functions.length_after, produce())
        with pytest.raises(multiprocessing.TimeoutError):
            results.next(timeout=0.3)
        assert len(read) <= 11
        (place / "go").touch()
        assert list(results) == [100_000] * 40
        assert len(read) == 40


def test_each_element_of_a_slow_iterator_is_sent_at_once(mp: Any) -> None:
    def produce() -> Iterator[int]:
        for number in range(3):
            yield number
            # The next comes when the result of this one has been seen.
            assert seen.acquire(timeout=60)

    seen = threading.Semaphore(0)
    with mp.Pool(1) as pool:
        results = pool.imap(functions.square, produce())
        for number in range(3):
            assert results.next(timeout=60) == number * number
            seen.release()


def test_closing_reads_an_iterator_to_its_end(mp: Any) -> None:
    pool = mp.Pool(1)
    results = pool.imap(functions.square, iter(range(100)))
    pool.close()
    pool.join()
    assert list(results) == [x * x for x in range(100)]


def test_a_reused_pool_keeps_nothing(eventually: Callable[..., None]) -> None:
    with lithops_mp.Pool(1) as pool:
        for _ in range(20):
            assert list(pool.imap(functions.square, [1, 2])) == [1, 4]
        eventually(lambda: len([each for each in threading.enumerate() if each.name == "lithops-pool"]) == 2)
        made: Any = vars(pool)["_taskqueue"]
        assert len(made._threads) == 2
        eventually(lambda: not made._inputs)


def _noted(numbers: Iterable[int], given: list[int]) -> Iterator[int]:
    for number in numbers:
        given.append(number)
        yield number


def _has_length(items: list[int], length: int) -> bool:
    return len(items) == length


def test_descriptors_are_given_back(eventually: Callable[..., None]) -> None:
    def use() -> None:
        with lithops_mp.Pool(1) as pool:
            pool.apply(functions.square, (1,))

    use()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        use()
    gc.collect()
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)

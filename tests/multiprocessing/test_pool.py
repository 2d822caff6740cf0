"""`Pool`: its methods, over the standard library's and over this project's."""

from __future__ import annotations

import itertools
import multiprocessing
import multiprocessing.pool
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pool_functions as functions
import pytest

import lithops.multiprocessing as lithops_mp


@pytest.fixture(scope="module")
def pool(mp: Any) -> Iterator[Any]:
    with mp.Pool(2) as made:
        yield made


def test_apply(pool: Any) -> None:
    assert pool.apply(functions.add, (1,)) == 11
    assert pool.apply(functions.add, (1, 2), {"z": 4}) == 7
    assert pool.apply(func=functions.add, args=(1,), kwds={"y": 1}) == 2
    assert isinstance(pool.apply(functions.pid), int)


@pytest.mark.parametrize("chunksize", [None, 1, 3, 100])
def test_map(pool: Any, chunksize: int | None) -> None:
    assert pool.map(functions.square, range(20), chunksize) == [x * x for x in range(20)]
    assert pool.map(functions.square, [], chunksize) == []
    assert pool.starmap(functions.add, [(x, x) for x in range(20)], chunksize) == [2 * x for x in range(20)]
    assert pool.starmap(functions.add, [], chunksize) == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: (x for x in (1, 2, 3)),
        lambda: {1: "a", 2: "b", 3: "c"}.keys(),
        lambda: {1: "a", 2: "b", 3: "c"},
        lambda: {1, 2, 3},
        lambda: iter([1, 2, 3]),
        lambda: (1, 2, 3),
        lambda: "abc",
        lambda: b"abc",
        lambda: [(1, 2), (3, 4)],
        lambda: [{"x": 1}, None, [1]],
        lambda: [[], (), {}, ((),)],
    ],
)
def test_map_takes_any_iterable_and_any_element(pool: Any, make: Callable[[], Any]) -> None:
    assert pool.map(functions.identity, make()) == list(make())
    assert list(pool.imap(functions.identity, make())) == list(make())
    assert list(pool.imap(functions.identity, make(), 2)) == list(make())
    assert [pool.apply(functions.identity, (each,)) for each in make()] == list(make())


@pytest.mark.local_only("packages")
def test_map_over_arrays(pool: Any) -> None:
    numpy = pytest.importorskip("numpy")
    rows = numpy.arange(6.0).reshape(3, 2)
    result = pool.map(functions.square, rows)
    assert [type(row) for row in result] == [numpy.ndarray] * 3
    assert (numpy.array(result) == rows * rows).all()
    result[0][0] = 7


def test_map_async(pool: Any) -> None:
    result = pool.map_async(functions.square, range(5))
    assert result.get() == [0, 1, 4, 9, 16]
    assert result.ready()
    assert result.successful()
    assert result.get(timeout=0) == [0, 1, 4, 9, 16]
    assert pool.map_async(functions.square, []).get() == []
    assert pool.starmap_async(functions.add, [(1, 2)]).get() == [3]
    assert isinstance(result, multiprocessing.pool.MapResult)
    assert isinstance(result, multiprocessing.pool.AsyncResult)


def test_imap(pool: Any) -> None:
    results = pool.imap(functions.square, range(5))
    assert iter(results) is results
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert list(results) == [9, 16]
    with pytest.raises(StopIteration):
        next(results)
    assert list(pool.imap(functions.square, range(10), chunksize=3)) == [x * x for x in range(10)]
    assert list(pool.imap(functions.square, [])) == []
    assert sorted(pool.imap_unordered(functions.square, range(10))) == [x * x for x in range(10)]
    assert sorted(pool.imap_unordered(functions.square, range(10), 4)) == [x * x for x in range(10)]
    assert list(pool.imap_unordered(functions.square, [], 3)) == []


@pytest.mark.parametrize("chunksize", [0, -1])
def test_chunks_have_at_least_one_element(pool: Any, chunksize: int) -> None:
    for method in (pool.imap, pool.imap_unordered):
        with pytest.raises(ValueError, match=rf"Chunksize must be 1\+, not {chunksize}"):
            method(functions.square, range(3), chunksize)


def test_a_result_that_is_not_there_yet(pool: Any, place: Any) -> None:
    go = place / "go"
    result = pool.apply_async(functions.wait_for, (go,))
    assert not result.ready()
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    for timeout in (0, 0.01, -1):
        with pytest.raises(multiprocessing.TimeoutError):
            result.get(timeout)
        assert result.wait(timeout) is None
    results = pool.imap(functions.wait_for, [go])
    with pytest.raises(multiprocessing.TimeoutError):
        results.next(timeout=0.01)
    go.touch()
    result.wait()
    assert result.ready()
    assert result.successful()
    assert result.get() == "go"
    assert results.next() == "go"


def test_callbacks(pool: Any) -> None:
    seen: list[Any] = []
    threads = set()
    done = threading.Event()

    def note(value: Any) -> None:
        threads.add(threading.current_thread())
        seen.append(value)

    def note_error(error: Any) -> None:
        threads.add(threading.current_thread())
        seen.append(repr(error))

    for number in range(3):
        pool.apply_async(functions.square, (number,), callback=note, error_callback=note_error).get()
    failing = pool.apply_async(functions.fail, (1,), callback=note, error_callback=note_error)
    failing.wait()
    pool.map_async(functions.square, range(3), callback=note).wait()
    pool.starmap_async(functions.add, [(1, 2)], callback=note, error_callback=note_error).wait()
    pool.map_async(functions.fail, range(2), 1, callback=note, error_callback=note_error).wait()
    pool.apply_async(functions.square, (1,), callback=lambda _: done.set())
    assert done.wait(30)
    assert seen[:6] == [0, 1, 4, "KeyError(1)", [0, 1, 4], [3]]
    assert seen[6] in ("KeyError(0)", "KeyError(1)")
    assert len(seen) == 7
    assert len(threads) == 1
    assert threading.current_thread() not in threads


def test_a_callback_has_run_when_the_result_is_ready(pool: Any) -> None:
    seen: list[Any] = []
    pool.apply_async(functions.square, (3,), callback=seen.append).get()
    assert seen == [9]


def test_what_a_worker_is(pool: Any) -> None:
    name, daemon, _, parent, parent_pid, argv = pool.apply(functions.who)
    assert name.startswith("SpawnPoolWorker-")
    assert daemon
    assert (parent, parent_pid) == ("MainProcess", os.getpid())
    assert argv == sys.argv


@pytest.mark.local_only("keys")
def test_a_worker_has_the_programs_key(pool: Any) -> None:
    assert pool.apply(functions.who)[2] == bytes(multiprocessing.current_process().authkey)


def test_several_threads_share_a_pool(pool: Any) -> None:
    results: list[list[int]] = []

    def work(start: int) -> None:
        results.append([pool.apply(functions.square, (x,)) for x in range(start, start + 5)])

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 20, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(itertools.chain(*results)) == [x * x for x in range(20)]


def test_large_arguments_and_results(pool: Any) -> None:
    size = 50_000_000
    assert pool.apply(functions.length, (b"x" * size,)) == size
    assert pool.map(functions.length, [b"x" * size]) == [size]
    assert len(pool.apply(functions.blob, (size,))) == size
    assert [len(data) for data in pool.imap(functions.blob, [size])] == [size]


def test_a_pool_cannot_be_pickled(pool: Any) -> None:
    with pytest.raises(
        NotImplementedError, match="pool objects cannot be passed between processes or pickled"
    ):
        pickle.dumps(pool)


def test_its_repr(pool: Any) -> None:
    assert repr(pool) == f"<{type(pool).__module__}.Pool state=RUN pool_size=2>"


@pytest.mark.parametrize("processes", [0, -1])
def test_the_number_of_processes(mp: Any, processes: int) -> None:
    with pytest.raises(ValueError, match="Number of processes must be at least 1"):
        mp.Pool(processes)


def test_other_arguments(mp: Any) -> None:
    for wrong in (0, -1, "1", 1.5):
        with pytest.raises(ValueError, match="maxtasksperchild must be a positive int or None"):
            mp.Pool(1, maxtasksperchild=wrong)
    with pytest.raises(TypeError, match="initializer must be a callable"):
        mp.Pool(1, initializer=1)
    with pytest.raises(TypeError):
        mp.Pool("2")


def test_without_a_number_there_are_as_many_workers_as_the_machine_has_cpus() -> None:
    with lithops_mp.Pool() as pool:
        assert f"pool_size={len(os.sched_getaffinity(0))}>" in repr(pool)
        assert pool.map(functions.square, range(3)) == [0, 1, 4]


def test_ten_thousand_tasks() -> None:
    with lithops_mp.Pool(2) as pool:
        results = [pool.apply_async(functions.square, (x,)) for x in range(10_000)]
        assert [result.get() for result in results] == [x * x for x in range(10_000)]


def test_tasks_run_at_once(mp: Any, place: Any) -> None:
    """As many as there are workers, whatever the chunks."""
    with mp.Pool(3) as pool:
        result = pool.starmap_async(
            functions.note_and_wait, [(place, number, place / "2") for number in range(3)], 1
        )
        assert result.get(60) == [0, 1, 2]


def test_no_more_tasks_run_at_once_than_there_are_workers(mp: Any, place: Any) -> None:
    with mp.Pool(2) as pool:
        slow = [pool.apply_async(functions.wait_for, (place / "go",)) for _ in range(2)]
        quick = pool.apply_async(functions.square, (3,))
        quick.wait(0.5)
        assert not quick.ready()
        (place / "go").touch()
        assert [result.get(60) for result in (*slow, quick)] == ["go", "go", 9]


def test_tasks_start_in_order(mp: Any, place: Any) -> None:
    """One that waits for the next one does not keep that from running, though no third could."""
    with mp.Pool(2) as pool:
        tasks = [(place / str(number // 2), number % 2 == 0) for number in range(8)]
        result = pool.starmap_async(functions.wait_or_touch, tasks, 1)
        assert result.get(60) == [None] * 8

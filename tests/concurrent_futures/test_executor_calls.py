"""What becomes of calls: values, order, errors. Each test runs over the standard library's executor as well."""

from __future__ import annotations

import threading
from concurrent.futures import Executor
from typing import Any

import pytest
from futures_calls import (
    OwnError,
    Unpicklable,
    add,
    fail_as,
    give,
    invert,
    name_everything,
    square,
)


def test_a_call_gives_its_result(pool: Executor) -> None:
    future = pool.submit(pow, 323, 1235)
    assert future.result() == pow(323, 1235)
    assert future.result(timeout=0) == pow(323, 1235)
    assert future.exception() is None
    assert future.done()
    assert not future.running()
    assert not future.cancelled()


def test_arguments_arrive_as_they_were_given(pool: Executor) -> None:
    kwargs: dict[str, Any] = {"self": 1, "fn": 2, "args": 3, "kwargs": 4, "timeout": 5, "chunksize": 6}
    assert pool.submit(give, (1, 2), {"a": 3}, [4], None, **kwargs).result() == (
        ((1, 2), {"a": 3}, [4], None),
        kwargs,
    )


def test_no_parameter_name_has_a_meaning(pool: Executor) -> None:
    assert pool.submit(name_everything, 7, obj="data", storage="here").result() == (7, "data", "here")
    nothing: list[Any] = []
    with pytest.raises(TypeError, match="missing 3 required positional arguments"):
        pool.submit(name_everything, *nothing).result()


def test_calls_of_many_functions(pool: Executor) -> None:
    futures = [
        pool.submit(*call)
        for i in range(100)
        for call in ((square, i), (add, i, i), (str, i), ("%d".__mod__, i))
    ]
    expected = [value for i in range(100) for value in (i * i, 2 * i, str(i), str(i))]
    assert [future.result() for future in futures] == expected


def test_threads_submit_at_once(pool: Executor) -> None:
    results: list[list[int]] = []

    def work(start: int) -> None:
        futures = [pool.submit(square, i) for i in range(start, start + 50)]
        results.append([future.result() for future in futures])

    threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [[i * i for i in range(100 * n, 100 * n + 50)] for n in range(4)]


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        KeyError("key"),
        OSError(2, "gone"),
        SystemExit(3),
        KeyboardInterrupt(),
        StopIteration(4),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_as_it_was_raised(pool: Executor, error: BaseException) -> None:
    future = pool.submit(fail_as, error)
    raised = future.exception()
    assert type(raised) is type(error)
    assert raised.args == error.args
    with pytest.raises(type(error)) as caught:
        future.result()
    assert caught.value is raised


def test_an_error_of_the_user_keeps_its_attributes(pool: Executor) -> None:
    raised = pool.submit(fail_as, OwnError("bad", 42)).exception()
    assert isinstance(raised, OwnError)
    assert raised.code == 42


def test_the_cause_is_the_remote_traceback(pool: Executor) -> None:
    raised = pool.submit(invert, 0).exception()
    assert isinstance(raised, ZeroDivisionError)
    text = str(raised.__cause__)
    assert "Traceback (most recent call last)" in text
    assert "in invert" in text
    assert "return 1 / x" in text


def test_what_cannot_be_called(pool: Executor) -> None:
    with pytest.raises(TypeError, match="'int' object is not callable"):
        pool.submit(5).result()  # type: ignore[arg-type]


def test_what_cannot_be_sent_fails_alone(pool: Executor) -> None:
    futures = [pool.submit(give, i if i != 3 else threading.Lock()) for i in range(6)]
    with pytest.raises((TypeError, AttributeError), match="pickle"):
        futures[3].result()
    del futures[3]
    assert [future.result() for future in futures] == [((i,), {}) for i in (0, 1, 2, 4, 5)]


def test_what_pickling_raises_is_what_the_call_gives(pool: Executor) -> None:
    future = pool.submit(give, Unpicklable())
    with pytest.raises(OwnError, match="no pickle of this"):
        future.result()


def test_a_result_that_cannot_be_pickled(pool: Executor) -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        pool.submit(threading.Lock).result()


# ---------------------------------------------------------------- map


def test_map_gives_results_in_order(pool: Executor) -> None:
    assert list(pool.map(square, range(200))) == [i * i for i in range(200)]


def test_map_over_several_iterables_ends_with_the_shortest(pool: Executor) -> None:
    assert list(pool.map(add, range(5), iter([10, 20, 30]))) == [10, 21, 32]
    assert list(pool.map(square)) == []
    assert list(pool.map(square, [])) == []


@pytest.mark.parametrize("chunksize", [1, 3, 7, 20, 1000])
def test_chunks_make_no_difference(pool: Executor, chunksize: int) -> None:
    assert list(pool.map(add, range(20), range(20), chunksize=chunksize)) == [2 * i for i in range(20)]


@pytest.mark.parametrize("chunksize", [0, -1])
def test_a_chunk_has_a_call_or_more(pool: Executor, chunksize: int) -> None:
    with pytest.raises(ValueError, match="chunksize must be >= 1"):
        pool.map(square, [1], chunksize=chunksize)


def test_an_error_is_raised_in_its_place(pool: Executor) -> None:
    results = pool.map(invert, [1, 2, 0, 4])
    assert next(results) == 1.0
    assert next(results) == 0.5
    with pytest.raises(ZeroDivisionError):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_an_error_is_that_of_its_chunk(pool: Executor) -> None:
    results = pool.map(invert, [1, 2, 4, 0], chunksize=2)
    assert [next(results), next(results)] == [1.0, 0.5]
    with pytest.raises(ZeroDivisionError) as caught:
        next(results)
    assert "return 1 / x" in str(caught.value.__cause__)


def test_an_error_of_the_iterable_is_raised_by_map(pool: Executor) -> None:
    def elements() -> Any:
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        pool.map(square, elements())
    assert pool.submit(square, 5).result() == 25


def test_map_takes_keyword_arguments_of_its_own_alone(pool: Executor) -> None:
    with pytest.raises(TypeError):
        pool.map(add, [1], y=[2])  # type: ignore[call-arg]

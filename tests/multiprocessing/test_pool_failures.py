"""What goes wrong in a pool: in tasks, in iterables, in callbacks, on the way, and to workers."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import pool as standard
from pathlib import Path
from typing import Any

import pool_functions as functions
import process_functions
import pytest

from lithops.exceptions import WorkerLost
from lithops.multiprocessing import pool as lithops_pool

_standard: Any = standard
MaybeEncodingError, RemoteTraceback = _standard.MaybeEncodingError, _standard.RemoteTraceback


@pytest.fixture(scope="module")
def pool(mp: Any) -> Iterator[Any]:
    with mp.Pool(2) as made:
        yield made


def _failing(count: int) -> Iterator[int]:
    yield from range(count)
    raise LookupError("the source is dry")


class _Shorter:
    """Says that it has more elements than it has, and then fails."""

    def __init__(self, says: int, has: int) -> None:
        self._says, self._has = says, has

    def __len__(self) -> int:
        return self._says

    def __iter__(self) -> Iterator[int]:
        return _failing(self._has)


def test_an_exception_arrives_with_its_remote_traceback(pool: Any) -> None:
    with pytest.raises(KeyError) as caught:
        pool.apply(functions.fail, ("x",))
    assert caught.value.args == ("x",)
    cause = caught.value.__cause__
    assert type(cause) is RemoteTraceback
    assert "raise KeyError(x)" in str(cause)
    text = "".join(traceback.format_exception(caught.value))
    assert '\n"""\nTraceback (most recent call last):\n' in text
    assert 'KeyError: \'x\'\n"""\n\nThe above exception was the direct cause' in text


def test_failures_of_each_method(pool: Any) -> None:
    data = [1, -2, 3]
    for get in (
        lambda: pool.map(functions.fail_if_negative, data),
        lambda: pool.starmap(functions.fail_if_negative, [(x,) for x in data]),
        lambda: pool.map_async(functions.fail_if_negative, data).get(),
        lambda: pool.apply_async(functions.fail_if_negative, (-2,)).get(),
        lambda: list(pool.imap(functions.fail_if_negative, data)),
        lambda: list(pool.imap_unordered(functions.fail_if_negative, data)),
        lambda: list(pool.imap(functions.fail_if_negative, data, 2)),
    ):
        with pytest.raises(ValueError, match="-2 is negative"):
            get()


def test_imap_goes_on_after_a_failure(pool: Any) -> None:
    results = pool.imap(functions.fail_if_negative, [1, -2, 3])
    assert next(results) == 1
    with pytest.raises(ValueError, match="-2 is negative"):
        next(results)
    assert next(results) == 3
    with pytest.raises(StopIteration):
        next(results)


def test_a_failure_is_not_successful(pool: Any) -> None:
    result = pool.map_async(functions.fail_if_negative, [1, -2, 3], 1)
    result.wait()
    assert result.ready()
    assert not result.successful()


def test_a_map_ends_when_all_of_it_has_ended(pool: Any, place: Any) -> None:
    """The first failure does not make it ready: the others are still at work."""
    go = place / "go"
    result = pool.map_async(functions.fail_or_wait, [None, go], 1)
    result.wait(0.2)
    assert not result.ready()
    go.touch()
    with pytest.raises(KeyError):
        result.get()


def test_starmap_with_the_wrong_number_of_arguments(pool: Any) -> None:
    with pytest.raises(TypeError, match="positional argument"):
        pool.starmap(functions.square, [(1, 2)])
    with pytest.raises(TypeError, match="iterable"):
        pool.starmap(functions.square, [1])


@pytest.mark.parametrize("method", ["imap", "imap_unordered"])
@pytest.mark.parametrize("chunksize", [1, 2])
def test_iterables_that_fail(pool: Any, method: str, chunksize: int) -> None:
    if method == "imap_unordered" and not isinstance(pool, lithops_pool.Pool):
        pytest.skip("the failure may come first")
    results = getattr(pool, method)(functions.square, _failing(4), chunksize)
    seen = [next(results) for _ in range(4)]
    assert sorted(seen) == [0, 1, 4, 9]
    with pytest.raises(LookupError, match="the source is dry"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_iterables_of_a_map_that_fail(pool: Any) -> None:
    with pytest.raises(LookupError, match="the source is dry"):
        pool.map(functions.square, _failing(4))
    with pytest.raises(LookupError, match="the source is dry"):
        pool.map(functions.square, _Shorter(1, 0), 1)
    with pytest.raises(TypeError, match="not iterable"):
        pool.map(functions.square, 7)


@pytest.mark.ours
def test_iterables_that_are_shorter_than_they_say(pool: Any) -> None:
    with pytest.raises(LookupError, match="the source is dry"):
        pool.map(functions.square, _Shorter(100, 3), 1)


@pytest.mark.ours
def test_iterables_that_end_with_more_than_an_error(pool: Any) -> None:
    def leave() -> Iterator[int]:
        yield 1
        raise SystemExit(3)

    results = pool.imap(functions.square, leave())
    assert next(results) == 1
    with pytest.raises(SystemExit):
        next(results)


def test_results_that_cannot_be_pickled(pool: Any) -> None:
    with pytest.raises(MaybeEncodingError) as caught:
        pool.apply(functions.lock)
    error = caught.value
    assert error.value.startswith("<unlocked _thread.lock object at 0x")
    assert error.exc == "TypeError(\"cannot pickle '_thread.lock' object\")"
    assert str(error) == f"Error sending result: '{error.value}'. Reason: '{error.exc}'"
    assert repr(error) == f"<MaybeEncodingError: {error}>"
    with pytest.raises(MaybeEncodingError, match=r"\[<unlocked _thread.lock object at"):
        pool.map(functions.lock, [1])
    assert pool.apply(functions.square, (3,)) == 9


def test_exceptions_that_cannot_be_pickled(pool: Any) -> None:
    with pytest.raises(MaybeEncodingError):
        pool.apply(functions.fail_oddly, ("odd",))
    assert pool.apply(functions.square, (3,)) == 9


@pytest.mark.ours
def test_the_words_of_an_exception_that_cannot_be_pickled_are_kept(pool: Any) -> None:
    with pytest.raises(MaybeEncodingError, match="Odd: very odd"):
        pool.apply(functions.fail_oddly, ("very odd",))


@pytest.mark.ours
def test_exceptions_that_pickle_badly_arrive_whole(pool: Any) -> None:
    with pytest.raises(functions.Fussy) as caught:
        pool.apply(functions.fail_fussily, (7,))
    assert caught.value.code == 7


def test_arguments_and_functions_that_cannot_be_pickled(pool: Any) -> None:
    lock = threading.Lock()
    before = pool.apply_async(functions.square, (2,))
    for get in (
        lambda: pool.apply_async(functions.identity, (lock,)).get(),
        lambda: pool.map(functions.identity, [1, lock], 1),
        lambda: pool.map_async(functions.identity, [lock]).get(),
        lambda: pool.apply_async(lock.acquire).get(),
        lambda: list(pool.imap(lock.acquire, [1])),
    ):
        with pytest.raises(TypeError, match="lock"):
            get()
    assert before.get() == 4
    assert pool.apply(functions.square, (3,)) == 9


def test_what_pickling_raises_is_what_the_task_gives(pool: Any) -> None:
    bad = process_functions.Unpicklable()
    gets: list[Callable[[], Any]] = [
        lambda: pool.map(functions.identity, [bad] * 3),
        lambda: pool.apply(functions.identity, (bad,)),
        lambda: next(pool.imap(functions.identity, [bad])),
    ]
    for get in gets:
        with pytest.raises(RuntimeError, match=r"^no pickle of this$"):
            get()


@pytest.mark.ours
def test_where_it_is_that_cannot_be_pickled_is_told_too(pool: Any) -> None:
    with pytest.raises(RuntimeError) as caught:
        pool.map(functions.identity, [{"key": process_functions.Unpicklable()}])
    assert "which holds under key 'key'" in str(caught.value.__cause__)


def test_only_what_cannot_be_pickled_fails(pool: Any) -> None:
    """Whatever is sent along with it."""
    lock = threading.Lock()
    results = [pool.apply_async(functions.identity, (each,)) for each in (1, 2, lock, 4)]
    assert [results[number].get() for number in (0, 1, 3)] == [1, 2, 4]
    with pytest.raises(TypeError, match="lock"):
        results[2].get()
    each = pool.imap(functions.identity, [1, lock, 3])
    assert next(each) == 1
    with pytest.raises(TypeError, match="lock"):
        next(each)
    assert next(each) == 3


@pytest.mark.ours
def test_a_callback_that_fails_is_heard_and_breaks_nothing(
    pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: heard.append(args.exc_value))

    def fail(value: Any) -> None:
        raise RuntimeError(f"called with {value!r}")

    assert pool.apply_async(functions.square, (3,), callback=fail).get(30) == 9
    assert pool.map_async(functions.square, [1, 2, 3], callback=fail).get(30) == [1, 4, 9]
    with pytest.raises(KeyError):
        pool.apply_async(functions.fail, (1,), error_callback=fail).get(30)
    with pytest.raises(KeyError):
        pool.map_async(functions.fail, [1], error_callback=fail).get(30)
    assert [str(error) for error in heard] == [
        "called with 9",
        "called with [1, 4, 9]",
        "called with KeyError(1)",
        "called with KeyError(1)",
    ]
    assert pool._cache == {}


@pytest.mark.ours
def test_a_task_that_ends_its_worker_fails_alone(pool: Any) -> None:
    results = [pool.apply_async(functions.leave, (x,)) for x in (1, 2, -3, 4, 5)]
    with pytest.raises(WorkerLost, match=r"exit (code|status) 3"):
        results[2].get(60)
    assert [results[number].get(60) for number in (0, 1, 3, 4)] == [1, 2, 4, 5]


@pytest.mark.local_only("pids")
@pytest.mark.ours
def test_a_worker_that_is_killed(pool: Any, tmp_path: Path, eventually: Callable[..., None]) -> None:
    folder = tmp_path / "tasks"
    folder.mkdir()
    result = pool.apply_async(process_functions.touch_and_sleep, (tmp_path / "pid",))
    process_functions.wait_for(tmp_path / "pid")
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    with pytest.raises(WorkerLost, match="SIGKILL"):
        result.get(60)
    assert pool.map(functions.square, range(4)) == [0, 1, 4, 9]


@pytest.mark.ours
def test_system_exit_and_interrupts_are_what_a_task_gives(pool: Any) -> None:
    with pytest.raises(SystemExit) as caught:
        pool.apply(functions.exit_with, (4,))
    assert caught.value.code == 4
    with pytest.raises(KeyboardInterrupt):
        pool.apply(functions.interrupt)
    assert pool.apply(functions.square, (3,)) == 9

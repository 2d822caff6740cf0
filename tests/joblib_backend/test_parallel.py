"""What joblib's documentation promises of `Parallel`: the same tests over its own backend and over ours."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import joblib
import pytest
from joblib import Parallel, delayed
from parallel_backends import (
    BOTH,
    Refused,
    appear,
    context,
    learn,
    learned,
    pid_of_worker,
    refuse,
    square,
)


@pytest.fixture(scope="module", params=BOTH, autouse=True)
def backend(request: pytest.FixtureRequest, nothing_left_behind: None) -> Iterator[str]:
    with context(request.param):
        yield request.param


def keywords(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def nested_pids() -> tuple[int, list[int], list[str]]:
    """Of a call: its process, and the processes and threads of calls within it."""
    pids = Parallel(n_jobs=2)(delayed(pid_of_worker)() for _ in range(3))
    threads = Parallel(n_jobs=2)(delayed(threads_below)() for _ in range(2))
    return os.getpid(), pids, threads


def threads_below() -> str:
    """The only thread in which calls of the third level run."""
    (name,) = set(Parallel(n_jobs=2)(delayed(lambda: threading.current_thread().name)() for _ in range(3)))
    return "same" if name == threading.current_thread().name else name


def threads_allowed() -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


class Unsendable:
    def __reduce__(self) -> Any:
        raise TypeError("it holds a socket")


# ---------------------------------------------------------------- results


@pytest.mark.parametrize("batch_size", ["auto", 1, 7, 1000])
def test_results_are_in_the_order_of_the_calls(batch_size: str | int) -> None:
    calls = (delayed(square)(x) for x in range(100))
    assert Parallel(batch_size=batch_size)(calls) == [x * x for x in range(100)]


@pytest.mark.parametrize("pre_dispatch", ["all", "2*n_jobs", 3])
def test_whatever_is_dispatched_beforehand_the_results_are_the_same(pre_dispatch: str | int) -> None:
    calls = (delayed(square)(x) for x in range(30))
    assert Parallel(pre_dispatch=pre_dispatch)(calls) == [x * x for x in range(30)]


def test_no_calls_give_no_results() -> None:
    assert Parallel()([]) == []


def test_arguments_arrive_by_position_and_by_name() -> None:
    assert Parallel()([delayed(keywords)(1, [2], a={"b": 3}), delayed(keywords)()]) == [
        ((1, [2]), {"a": {"b": 3}}),
        ((), {}),
    ]


def test_lambdas_and_closures_can_be_called() -> None:
    offset = 5
    assert Parallel()(delayed(lambda x: x + offset)(x) for x in range(3)) == [5, 6, 7]


def test_a_generator_gives_results_in_order() -> None:
    results = Parallel(return_as="generator")(delayed(square)(x) for x in range(20))
    assert next(iter(results)) == 0
    assert list(results) == [x * x for x in range(1, 20)]


def test_an_unordered_generator_gives_all_results(tmp_path: Path) -> None:
    results = Parallel(return_as="generator_unordered")(delayed(square)(x) for x in range(20))
    assert sorted(results) == [x * x for x in range(20)]


def test_an_unordered_generator_does_not_wait_for_the_first_call(tmp_path: Path) -> None:
    def wait_for(path: Path | None) -> str:
        if path is None:
            return "second"
        while not path.exists():
            threading.Event().wait(0.005)
        return "first"

    late = tmp_path / "go"
    results = Parallel(return_as="generator_unordered", batch_size=1)(
        delayed(wait_for)(path) for path in (late, None)
    )
    assert next(results) == "second"
    late.touch()
    assert list(results) == ["first"]


def test_calls_are_taken_from_the_iterable_as_they_are_needed() -> None:
    taken = []

    def calls() -> Iterator[Any]:
        for x in range(1000):
            taken.append(x)
            yield delayed(square)(x)

    results = Parallel(return_as="generator", pre_dispatch=4, batch_size=1)(calls())
    assert len(taken) < 1000
    assert len(list(results)) == len(taken) == 1000


def test_calls_run_in_two_other_processes() -> None:
    pids = set(Parallel(batch_size=1)(delayed(pid_of_worker)() for _ in range(50)))
    assert 1 <= len(pids) <= 2
    assert os.getpid() not in pids


def test_workers_are_kept_from_one_use_to_the_next() -> None:
    first = set(Parallel()(delayed(pid_of_worker)() for _ in range(20)))
    second = set(Parallel()(delayed(pid_of_worker)() for _ in range(20)))
    assert len(first | second) <= 2


def test_one_parallel_can_be_used_again_and_again() -> None:
    with Parallel() as parallel:
        total = 0
        while total < 100:
            total += sum(parallel(delayed(square)(x) for x in range(5)))
    assert total == 120
    assert parallel(delayed(square)(x) for x in range(2)) == [0, 1]


def test_progress_is_printed(capfd: pytest.CaptureFixture[str], backend: str) -> None:
    Parallel(verbose=20)(delayed(square)(x) for x in range(4))
    assert "with 2 concurrent workers" in (shown := capfd.readouterr().err)
    assert "Done   4 out of   4" in shown


# ---------------------------------------------------------------- how many at once


def test_no_jobs_have_no_meaning() -> None:
    with pytest.raises(ValueError, match="n_jobs == 0"):
        Parallel(n_jobs=0)(delayed(square)(x) for x in range(2))


def test_one_job_runs_here() -> None:
    assert Parallel(n_jobs=1)([delayed(pid_of_worker)()]) == [os.getpid()]


def test_as_many_as_there_are_cpus() -> None:
    assert joblib.effective_n_jobs(-1) == joblib.cpu_count()
    assert joblib.effective_n_jobs(-joblib.cpu_count()) == 1
    assert joblib.effective_n_jobs(-1000) == 1


@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_a_number_is_that_number(n_jobs: int) -> None:
    assert joblib.effective_n_jobs(n_jobs) == n_jobs


def test_more_than_there_are_cpus_run_at_once_if_they_are_asked_for(tmp_path: Path) -> None:
    def meet(number: int) -> int:
        (tmp_path / str(number)).touch()
        while len(list(tmp_path.iterdir())) < 4:
            threading.Event().wait(0.005)
        return number

    assert Parallel(n_jobs=4, batch_size=1)(delayed(meet)(x) for x in range(4)) == [0, 1, 2, 3]


def test_without_a_number_it_is_the_context_s() -> None:
    assert Parallel(n_jobs=None).n_jobs == 2


# ---------------------------------------------------------------- what goes wrong


def test_an_exception_arrives_as_itself_with_the_remote_traceback_as_its_cause() -> None:
    with pytest.raises(Refused, match="refused with 7") as caught:
        Parallel()(delayed(refuse)(7) for _ in range(4))
    assert caught.value.code == 7
    assert "in refuse" in str(caught.value.__cause__)


def test_after_an_exception_the_same_context_goes_on() -> None:
    with Parallel() as parallel:
        with pytest.raises(Refused):
            parallel(delayed(refuse)(x) for x in range(3))
        assert parallel(delayed(square)(x) for x in range(3)) == [0, 1, 4]


def test_an_exception_ends_the_calls_that_run(tmp_path: Path) -> None:
    def first_or_refuse(number: int) -> None:
        if number == 0:
            appear(tmp_path / "running")
        while not (tmp_path / "running").exists():
            threading.Event().wait(0.005)
        refuse(1)

    with pytest.raises(Refused):
        Parallel(batch_size=1)(delayed(first_or_refuse)(x) for x in range(2))
    assert (tmp_path / "running").exists()


def test_calls_that_take_too_long_are_a_timeout(tmp_path: Path) -> None:
    with pytest.raises(joblib.parallel.TimeoutError):
        Parallel(timeout=0.5)(delayed(appear)(tmp_path / str(x)) for x in range(2))
    assert Parallel(timeout=60)(delayed(square)(x) for x in range(3)) == [0, 1, 4]


def test_what_cannot_be_pickled_is_said_and_ends_nothing_else() -> None:
    with pytest.raises(Exception, match=r"pickle|socket|sent"):
        Parallel()(delayed(square)(x) for x in (1, Unsendable()))
    assert Parallel()(delayed(square)(x) for x in range(3)) == [0, 1, 4]


def test_an_error_of_the_iterable_is_raised() -> None:
    def calls() -> Iterator[Any]:
        for x in range(50):
            yield delayed(square)(x)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        Parallel()(calls())


def test_a_generator_that_is_given_up_ends_its_calls(tmp_path: Path) -> None:
    results: Any = Parallel(return_as="generator", batch_size=1)(
        [delayed(square)(1), delayed(appear)(tmp_path / "running")]
    )
    assert next(results) == 1
    with pytest.warns(UserWarning, match="cancelled"):
        results.close()
    assert Parallel()(delayed(square)(x) for x in range(3)) == [0, 1, 4]


# ---------------------------------------------------------------- calls within calls


def test_calls_within_calls_run_in_threads_and_below_that_one_after_the_other() -> None:
    for pid, pids, threads in Parallel(batch_size=1)(delayed(nested_pids)() for _ in range(2)):
        assert pid != os.getpid()
        assert set(pids) == {pid}
        assert threads == ["same", "same"]


def test_threads_of_libraries_share_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    allowed = str(max(joblib.cpu_count() // 2, 1))
    assert set(Parallel()(delayed(threads_allowed)() for _ in range(4))) == {allowed}


def test_threads_of_libraries_can_be_bounded(backend: str) -> None:
    with joblib.parallel_config(backend=backend, n_jobs=2, inner_max_num_threads=3):
        assert set(Parallel()(delayed(threads_allowed)() for _ in range(4))) == {"3"}


# ---------------------------------------------------------------- initializers


def test_each_worker_is_initialized_once_before_its_first_batch(backend: str) -> None:
    options = {"initializer": learn, "initargs": ("first",)}
    with context(backend, **options):
        for _ in range(2):
            assert Parallel(batch_size=1)(delayed(learned)(x) for x in range(8)) == [["first"]] * 8
    with context(backend):
        own = Parallel(n_jobs=2, batch_size=1, backend=backend, **options)
        assert own(delayed(learned)(x) for x in range(8)) == [["first"]] * 8


def test_calls_fail_where_the_initializer_has_failed(backend: str) -> None:
    with (
        context(backend, initializer=learn, initargs=("unspeakable",)),
        pytest.raises(BrokenExecutor),
    ):
        Parallel()(delayed(learned)(x) for x in range(4))

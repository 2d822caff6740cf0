"""What this library's executors do beyond the standard library's."""

from __future__ import annotations

import concurrent.futures as standard
import inspect
import pickle
import subprocess
import sys
import threading
import weakref
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from futures_calls import (
    Door,
    Eventually,
    append,
    count_bytes,
    die,
    fail_once,
    fail_to_start,
    invert,
    pass_gate,
    square,
    thread_name,
)

import lithops
import lithops.concurrent.futures as ours
from lithops import exceptions


@pytest.fixture(scope="module")
def pool(nothing_left_behind: None) -> Any:
    with ours.FunctionExecutor(2, backend="localhost") as executor:
        yield executor


# ---------------------------------------------------------------- names


def test_all_names_of_the_standard_library_are_there() -> None:
    assert set(standard.__all__) - {"InterpreterPoolExecutor"} <= set(dir(ours))
    for name in ours.__all__:
        assert getattr(ours, name) is not None
    for name in ("wait", "as_completed", "Executor", "CancelledError", "TimeoutError", "BrokenExecutor"):
        assert getattr(ours, name) is getattr(standard, name)
    assert issubclass(ours.Future, standard.Future)
    for name in ("FunctionExecutor", "LocalhostExecutor", "ServerlessExecutor", "StandaloneExecutor"):
        assert issubclass(getattr(ours, name), standard.Executor)
    assert ours.process.BrokenProcessPool is BrokenProcessPool
    assert ours.thread.BrokenThreadPool is standard.thread.BrokenThreadPool
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        ours.Nothing


@pytest.mark.parametrize("name", ["ProcessPoolExecutor", "ThreadPoolExecutor"])
def test_signatures_begin_as_the_standard_library_s_do(name: str) -> None:
    theirs = inspect.signature(getattr(standard, name)).parameters
    mine = inspect.signature(getattr(ours, name)).parameters
    for each in theirs.values():
        assert mine[each.name].kind is each.kind
        assert mine[each.name].default == each.default
    assert (
        list(mine)[: len(theirs) - ("max_tasks_per_child" in theirs)]
        == list(theirs)[: len(theirs) - ("max_tasks_per_child" in theirs)]
    )


def test_workers_import_no_more_than_they_need() -> None:
    program = (
        "import sys, lithops.concurrent.futures.work;"
        "print([name for name in sys.modules if name.startswith(('lithops.', 'concurrent', 'cloudpickle'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert eval(done.stdout) == [
        "lithops.version", "lithops.concurrent", "lithops.concurrent.futures", "lithops.worker",
        "lithops.worker.initializer", "lithops.concurrent.futures.work",
    ]  # fmt: skip


# ---------------------------------------------------------------- deaths


def test_the_death_of_a_worker_costs_one_call(pool: ours.FunctionExecutor) -> None:
    dying = pool.submit(die)
    others = [pool.submit(square, i) for i in range(10)]
    with pytest.raises(BrokenProcessPool) as caught:
        dying.result(20)
    assert type(caught.value) is ours.WorkerLost
    assert "exit code 3" in str(caught.value)
    assert [future.result(20) for future in others] == [i * i for i in range(10)]
    assert pool.submit(square, 4).result(20) == 16


def test_a_death_is_pickled_as_it_is() -> None:
    assert issubclass(ours.WorkerLost, exceptions.WorkerLost)
    assert issubclass(ours.WorkerLost, standard.thread.BrokenThreadPool)
    for error in (ours.WorkerLost("gone"), ours.OutOfMemory("killed")):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert copy.args == error.args
        assert isinstance(copy, standard.BrokenExecutor)
    assert issubclass(ours.OutOfMemory, MemoryError)


def test_the_error_of_an_initializer_is_told(pool: ours.FunctionExecutor) -> None:
    executor = ours.ThreadPoolExecutor(
        initializer=fail_to_start, initargs=("no licence",), executor=pool.executor
    )
    with executor, pytest.raises(standard.thread.BrokenThreadPool, match="ValueError: no licence") as caught:
        executor.submit(square, 2).result(20)
    assert "in fail_to_start" in str(caught.value.__cause__)
    assert pool.submit(square, 2).result(20) == 4


def test_what_the_standard_library_cannot_send(pool: ours.FunctionExecutor) -> None:
    assert pool.submit(lambda x: lambda y: x + y, 1).result()(2) == 3


# ---------------------------------------------------------------- cancelling


def test_cancelling_is_told_at_once(
    pool: ours.FunctionExecutor, tmp_path: Path, eventually: Eventually
) -> None:
    door = Door(tmp_path)
    running = [pool.submit(pass_gate, door.path, i) for i in range(2)]
    waiting = [pool.submit(pass_gate, door.path, i) for i in range(2, 50)]
    eventually(lambda: all(future.running() for future in running))
    assert all(future.cancel() for future in waiting)
    assert standard.wait(waiting, timeout=0).done == set(waiting)
    door.open()
    assert [future.result(10) for future in running] == [0, 1]
    assert pool.submit(square, 3).result(10) == 9
    assert not any(door.arrived(i) for i in range(2, 50))


def test_cancelling_in_the_midst_of_short_calls(pool: ours.FunctionExecutor) -> None:
    for _ in range(10):
        results = pool.map(square, range(300))
        assert next(results) == 0
        results.close()  # type: ignore[attr-defined] # it is a generator
    assert list(pool.map(square, range(4), timeout=20)) == [0, 1, 4, 9]


def test_calls_of_an_executor_that_was_closed_are_cancelled(tmp_path: Path, eventually: Eventually) -> None:
    door = Door(tmp_path)
    executor = ours.ProcessPoolExecutor(1)
    running = executor.submit(pass_gate, door.path, 1)
    waiting = executor.submit(square, 2)
    eventually(running.running)
    eventually(lambda: waiting.response_future is not None)
    executor.executor.close()
    for future in (running, waiting):
        with pytest.raises(standard.CancelledError):
            future.result(10)
    with pytest.raises(exceptions.InvalidCall, match="this executor has been closed"):
        executor.submit(square, 2).result(10)
    executor.shutdown()


# ---------------------------------------------------------------- options


def test_a_call_that_fails_is_repeated(tmp_path: Path) -> None:
    with ours.ProcessPoolExecutor(1, retries=1) as executor:
        assert executor.submit(fail_once, str(tmp_path / "marker")).result() == "well"
        assert isinstance(executor.submit(invert, 0).exception(), ZeroDivisionError)


def test_over_an_executor_that_exists(fexec: lithops.FunctionExecutor) -> None:
    with ours.FunctionExecutor(executor=fexec) as executor:
        assert executor.executor is fexec
        assert executor._max_workers == 2
        future = executor.submit(square, 5)
        assert future.result() == 25
        assert future.response_future is not None
        assert future.response_future.result() == 25
    assert fexec.call_async(square, 6).result() == 36
    assert future.response_future not in fexec.futures


@pytest.mark.parametrize("options", [{"max_workers": 3}, {"worker_processes": 3}])
def test_an_executor_that_exists_is_as_it_is(
    fexec: lithops.FunctionExecutor, options: dict[str, Any]
) -> None:
    with pytest.raises(exceptions.InvalidCall, match="`executor` is as it was made"):
        ours.FunctionExecutor(executor=fexec, **options)


def test_options_are_those_of_the_native_executor() -> None:
    config = {
        "lithops": {"backend": "localhost", "storage": "localhost"},
        "localhost": {"worker_processes": 1},
    }
    with ours.FunctionExecutor(config=config) as executor:
        assert executor._max_workers == 1
    with ours.LocalhostExecutor(worker_processes=3) as executor:
        assert executor._max_workers == 3
    with pytest.raises(exceptions.ConfigError, match=r"localhost\.worker_processes: found the text 'many'"):
        ours.FunctionExecutor(worker_processes="many")


def test_data_of_any_size(pool: ours.FunctionExecutor) -> None:
    data = bytes(12 << 20)
    assert pool.submit(count_bytes, data).result() == len(data)
    # Too much for a message: it is read from the storage.
    assert len(pool.submit(bytes, 12 << 20).result()) == len(data)


def test_a_thread_s_name_begins_as_it_is_told() -> None:
    with ours.ThreadPoolExecutor(1, "reader") as executor:
        assert executor.submit(thread_name).result().startswith("reader_")


def test_initializers_of_two_executors_share_nothing(fexec: lithops.FunctionExecutor) -> None:
    def begin() -> None:
        names = globals()
        names["begun"] = names.get("begun", 0) + 1

    def look(_: int) -> int:
        begun: int = globals()["begun"]
        return begun

    for _ in range(2):
        with ours.ProcessPoolExecutor(initializer=begin, executor=fexec) as executor:
            assert set(executor.map(look, range(20))) == {1}


# ---------------------------------------------------------------- cost


@pytest.mark.parametrize(
    "functions", [[square], [square, abs, float, hex, (1).__add__]], ids=["one", "several"]
)
def test_many_calls_are_few_jobs(
    pool: ours.FunctionExecutor, monkeypatch: pytest.MonkeyPatch, functions: list[Any]
) -> None:
    jobs: list[int] = []
    map_apart = pool.executor.map_apart

    def count(function: Any, elements: Any, options: Any) -> Any:
        jobs.append(len(elements))
        return map_apart(function, elements, options)

    monkeypatch.setattr(pool.executor, "map_apart", count)
    calls: list[Any] = [(functions[i % len(functions)], i) for i in range(2000)]
    futures = [pool.submit(*call) for call in calls]
    assert [future.result(30) for future in futures] == [function(i) for function, i in calls]
    assert sum(jobs) == 2000
    assert len(jobs) < 500


def test_calls_start_in_the_order_in_which_they_were_submitted(tmp_path: Path) -> None:
    with ours.ProcessPoolExecutor(1) as executor:
        futures = [executor.submit(partial(append, str(tmp_path / "log")), i) for i in range(100)]
        assert not standard.wait(futures, timeout=30).not_done
    assert (tmp_path / "log").read_text().split() == [str(i) for i in range(100)]


def test_no_thread_waits_for_a_future(
    pool: ours.FunctionExecutor, tmp_path: Path, eventually: Eventually
) -> None:
    pool.submit(square, 1).result()
    door = Door(tmp_path)
    before = threading.active_count()
    futures = [pool.submit(pass_gate, door.path, i) for i in range(100)]
    eventually(lambda: all(future.response_future for future in futures))
    assert threading.active_count() == before
    door.open()
    assert [future.result(20) for future in futures] == list(range(100))


def test_what_was_submitted_is_let_go(pool: ours.FunctionExecutor, eventually: Eventually) -> None:
    argument = {1, 2, 3}
    seen = weakref.ref(argument)
    future = pool.submit(len, argument)
    del argument
    assert future.result() == 3
    eventually(lambda: seen() is None)

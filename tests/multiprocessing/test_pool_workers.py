"""A pool's workers: how they are prepared and replaced, and pools in processes and in workers."""

from __future__ import annotations

import ast
import signal
import threading
from collections.abc import Callable
from typing import Any

import pool_functions as functions
import pytest

from lithops.exceptions import WorkerLost

RunProgram = Callable[..., Any]


def test_the_initializer_runs_once_in_each_worker(mp: Any) -> None:
    with mp.Pool(2, functions.greet, ("hello",)) as pool:
        seen = pool.map(functions.greeting, range(20), chunksize=1)
    assert {(text, times) for text, times, _ in seen} == {("hello", 1)}


@pytest.mark.ours
def test_an_initializer_that_fails_is_what_tasks_give(mp: Any) -> None:
    """The standard library would start workers for ever."""
    with mp.Pool(2, functions.refuse_to_begin) as pool:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="not today"):
                pool.apply(functions.square, (1,))
        with pytest.raises(RuntimeError, match="not today"):
            pool.map(functions.square, range(10))


@pytest.mark.ours
def test_an_initializer_that_ends_its_worker_is_what_tasks_give(mp: Any) -> None:
    with mp.Pool(1, functions.leave, (-5,)) as pool, pytest.raises(WorkerLost, match=r"exit (code|status) 5"):
        pool.apply(functions.square, (1,))


@pytest.mark.ours
def test_an_initializer_that_cannot_be_pickled(mp: Any) -> None:
    lock = threading.Lock()
    with mp.Pool(1, initargs=(lock,), initializer=functions.identity) as pool:
        with pytest.raises(TypeError, match="lock"):
            pool.apply(functions.square, (1,))
        with pytest.raises(TypeError, match="lock"):
            pool.map(functions.square, range(3))


@pytest.mark.local_only("workers")
def test_workers_are_replaced(mp: Any) -> None:
    """A task of a map is a chunk."""
    with mp.Pool(1, maxtasksperchild=2) as pool:
        assert len(set(pool.map(functions.pid, range(6), chunksize=1))) == 3
        pids = pool.map(functions.pid, range(6), chunksize=3)
        assert len(set(pids)) == 1
    with mp.Pool(1) as pool:
        assert len(set(pool.map(functions.pid, range(6), chunksize=1))) == 1


@pytest.mark.local_only("workers")
def test_replaced_workers_are_prepared_too(mp: Any) -> None:
    with mp.Pool(1, functions.greet, ("hello",), 1) as pool:
        seen = pool.map(functions.greeting, range(3), chunksize=1)
    assert [each[:2] for each in seen] == [("hello", 1)] * 3
    assert len({pid for _, _, pid in seen}) == 3


@pytest.mark.local_only("children")
def test_a_pool_in_a_process(mp: Any, place: Any) -> None:
    path = place / "results"
    process = mp.Process(target=functions.pool_in_process, args=(mp.Pool, path))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert ast.literal_eval(path.read_text()) == [0, 1, 4]


@pytest.mark.local_only("children")
def test_a_worker_may_have_no_pool(mp: Any) -> None:
    refusal = "daemonic processes are not allowed to have children"
    with mp.Pool(1) as pool, pytest.raises(AssertionError, match=refusal):
        pool.apply(functions.pool_inside, (mp.Pool,))


@pytest.mark.ours
@pytest.mark.local_only("warm")
def test_two_pools_are_apart(mp: Any) -> None:
    with mp.Pool(1, functions.greet, ("one",)) as one, mp.Pool(1) as other:
        assert one.apply(functions.greeting)[:2] == ("one", 1)
        assert other.apply(functions.greeting)[:2] == ("", 0)


def test_globals_that_the_initializer_of_a_program_sets(run_program: RunProgram) -> None:
    program = run_program(
        """
import os
import lithops.multiprocessing as mp

state = None
calls = 0

class Model:
    def __init__(self, name):
        self.name = name
    def __call__(self, x):
        global calls
        calls += 1
        return f"{self.name}{x}"

def prepare(name):
    global state
    state = Model(name)

def use(x):
    return state(x)

def use_differently(x):
    return state.name, calls

if __name__ == "__main__":
    with mp.Pool(1, prepare, ("m",)) as pool:
        print(pool.map(use, range(3)))
        print(pool.apply(use_differently, (1,)))
        print(list(pool.imap(use, "ab")), pool.apply(lambda: state.name))
        assert state is None
"""
    )
    assert program.stdout == "['m0', 'm1', 'm2']\n('m', 3)\n['ma', 'mb'] m\n"


def test_functions_and_classes_of_a_program(run_program: RunProgram) -> None:
    program = run_program(
        """
import functools
import lithops.multiprocessing as mp

class Point:
    def __init__(self, x):
        self.x = x
    def double(self):
        return Point(self.x * 2)
    def __eq__(self, other):
        return self.x == other.x

class Wrong(Exception):
    pass

def fail(x):
    raise Wrong(x)

def scale(x, by):
    return x * by

if __name__ == "__main__":
    offset = 5
    with mp.Pool(2) as pool:
        print(pool.map(lambda x: x + offset, range(3)))
        print(pool.map(functools.partial(scale, by=3), range(3)))
        print([point.x for point in pool.map(Point.double, [Point(1), Point(2)])])
        print(type(pool.apply(Point, (1,))) is Point, pool.apply(Point(4).double) == Point(8))
        try:
            pool.map(fail, range(3))
        except Wrong as error:
            print("wrong", error.args in [(0,), (1,), (2,)])
"""
    )
    assert program.stdout == "[5, 6, 7]\n[0, 3, 6]\n[2, 4]\nTrue True\nwrong True\n"


@pytest.mark.parametrize("end", ["", "pool.close()", "pool.terminate()", "del pool", "raise SystemExit(0)"])
def test_a_program_that_leaves_a_pool_behind_ends(run_program: RunProgram, end: str) -> None:
    program = run_program(
        f"""
import time
import lithops.multiprocessing as mp

if __name__ == "__main__":
    pool = mp.Pool(2)
    print(pool.apply(abs, (-1,)))
    results = pool.map_async(time.sleep, [60, 60], 1)
    {end}
""",
        within_s=20,
    )
    assert program.stdout == "1\n"
    assert "Traceback" not in program.stderr


def test_ctrl_c_while_a_pool_works(start_program: Callable[..., Any]) -> None:
    program = start_program(
        """
import time
import lithops.multiprocessing as mp

def work(x):
    print("at work", flush=True)
    time.sleep(60)

if __name__ == "__main__":
    with mp.Pool(2) as pool:
        pool.apply(abs, (1,))
        print("ready", flush=True)
        pool.map(work, range(2))
"""
    )
    assert program.stdout.readline() == "ready\n"
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=20)
    assert program.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")

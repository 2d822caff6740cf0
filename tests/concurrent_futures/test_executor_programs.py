"""Whole programs, in which nothing but the import changes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

RunProgram = Callable[..., Any]
StartProgram = Callable[..., Any]

modules = pytest.mark.parametrize("module", ["concurrent", "lithops.concurrent"])

PRIMES = """
import math
from {module} import futures

NUMBERS = [112272535095293, 112582705942171, 115280095190773, 115797848077099, 1099726899285419]

def is_prime(n):
    return n > 1 and n % 2 == 1 and all(n % i for i in range(3, int(math.sqrt(n)) // 10000, 2))

def main():
    with futures.ProcessPoolExecutor() as executor:
        for number, prime in zip(NUMBERS, executor.map(is_prime, NUMBERS)):
            print(number, "is prime:", prime)
        calls = {{executor.submit(pow, 2, i): i for i in range(5)}}
        print(sorted((calls[done], done.result()) for done in futures.as_completed(calls)))
        print(futures.wait([executor.submit(abs, -1)]).done.pop().result())

if __name__ == "__main__":
    main()
"""

GLOBALS = """
import os
from {module}.futures import ProcessPoolExecutor

state = None
calls = 0

def begin(value):
    global state
    assert state is None, "a second time"
    state = [value]

def first():
    global calls
    calls += 1
    state.append(calls)
    return state, calls

def second():
    return state, calls

if __name__ == "__main__":
    with ProcessPoolExecutor(1, initializer=begin, initargs=("begun",)) as executor:
        print([executor.submit(each).result() for each in (first, second, first, second)])
    print(state, calls)
"""

EXIT = """
import sys
from {module}.futures import ProcessPoolExecutor

def work(x):
    return x * x

if __name__ == "__main__":
    executor = ProcessPoolExecutor(2)
    for i in range(20):
        # Whole lines, since two threads write.
        executor.submit(work, i).add_done_callback(lambda future: sys.stdout.write(f"{{future.result()}}\\n"))
    sys.stdout.write("the last line\\n")
"""

WITHOUT_GUARD = """
from {module}.futures import ThreadPoolExecutor

names = ["Ada", "Grace"]
with ThreadPoolExecutor(max_workers=2, thread_name_prefix="greeter") as executor:
    print(list(executor.map(lambda name: f"Hello, {{name}}", names)))

    def thread():
        import threading
        return threading.current_thread().name.split("_")[0]

    print(executor.submit(thread).result())
"""


CTRL_C = """
import time
from {module}.futures import ProcessPoolExecutor

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as executor:
        future = executor.submit(time.sleep, 100)
        while not future.running():
            time.sleep(0.01)
        time.sleep(0.2)
        print("running", flush=True)
        future.result()
"""


@modules
def test_the_example_of_the_documentation(module: str, run_program: RunProgram) -> None:
    lines = run_program(PRIMES.format(module=module)).stdout.splitlines()
    assert lines[0] == "112272535095293 is prime: True"
    assert lines[-2:] == ["[(0, 1), (1, 2), (2, 4), (3, 8), (4, 16)]", "1"]


@modules
def test_what_the_initializer_sets_is_global_in_the_worker(module: str, run_program: RunProgram) -> None:
    output = run_program(GLOBALS.format(module=module)).stdout.splitlines()
    assert output == [
        "[(['begun', 1], 1), (['begun', 1], 1), (['begun', 1, 2], 2), (['begun', 1, 2], 2)]",
        "None 0",
    ]


@modules
def test_the_program_does_not_end_before_its_calls(module: str, run_program: RunProgram) -> None:
    lines = run_program(EXIT.format(module=module)).stdout.splitlines()
    lines.remove("the last line")
    assert sorted(map(int, lines)) == [i * i for i in range(20)]


@modules
def test_a_program_of_threads(module: str, run_program: RunProgram) -> None:
    lines = run_program(WITHOUT_GUARD.format(module=module)).stdout.splitlines()
    assert lines == ["['Hello, Ada', 'Hello, Grace']", "greeter"]


def test_programs_are_as_silent_as_before(run_program: RunProgram) -> None:
    assert run_program(PRIMES.format(module="lithops.concurrent")).stderr == ""


@modules
def test_ctrl_c_ends_the_calls_that_run(module: str, start_program: StartProgram) -> None:
    program = start_program(CTRL_C.format(module=module), start_new_session=True)
    assert program.stdout.readline() == "running\n"
    os.killpg(program.pid, signal.SIGINT)
    _, errors = program.communicate(timeout=20)
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert program.returncode != 0

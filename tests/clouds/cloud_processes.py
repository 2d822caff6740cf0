"""What runs in processes on a cloud: in a module of its own, since functions bring along what their module imports."""

from __future__ import annotations

import time
from typing import Any

import lithops.multiprocessing as mp

_HELD_S = 60.0
"""Longer than any test waits."""

state = 0


def prepare(value: int) -> None:
    global state
    state = value


def add_state(number: int) -> int:
    return number + state


def work(todo: Any, done: Any, lock: Any, total: Any) -> None:
    while (number := todo.get()) is not None:
        with lock:
            total.value += number
        done.put((mp.current_process().name, number * number))


def echo(connection: Any, barrier: Any, event: Any) -> None:
    barrier.wait(30)
    event.set()
    while True:
        try:
            connection.send(("echo", connection.recv()))
        except EOFError:
            return


def fill(squares: Any, names: Any, number: int) -> None:
    squares[number] = number * number
    names.append(mp.current_process().name)


def fail(*_: object) -> None:
    raise ValueError("as it should")


def hold(lock: Any, event: Any) -> None:
    lock.acquire()
    event.set()
    time.sleep(_HELD_S)


def nest() -> None:
    mp.Process(target=print).start()

"""What runs in processes on a cloud: in a module of its own, since functions bring along what their module imports."""

from __future__ import annotations

import os
import time
from typing import Any

import lithops.multiprocessing as mp

state = 0


def prepare(value: int) -> None:
    global state
    state = value


def add_state(number: int) -> int:
    return number + state


def where() -> str:
    return os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")


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


def fill(shared: Any, names: Any, key: int) -> None:
    shared[key] = key * key
    names.append(where())


def fail() -> None:
    raise ValueError("as it should")


def hold(lock: Any, event: Any) -> None:
    lock.acquire()
    event.set()
    time.sleep(60)


def nested() -> None:
    mp.Process(target=print).start()

"""What processes of the tests do with locks and their relatives. It goes along to a cloud, and imports little."""

from __future__ import annotations

import json
import os
import signal
from threading import BrokenBarrierError
from typing import Any

from places import AnyPlace
from process_functions import wait_for


def count_to(number: int, path: AnyPlace, lock: Any) -> None:
    for _ in range(number):
        with lock:
            path.write_text(str(int(path.read_text()) + 1))


def look_at(lock: Any, path: AnyPlace) -> None:
    shown = [repr(lock), lock.acquire(False), lock.acquire(timeout=0.01)]
    try:
        lock.release()
    except AssertionError as error:
        shown.append(str(error))
    path.write_text(json.dumps(shown))


def acquire(*locks: Any) -> None:
    for lock in locks:
        lock.acquire()


def answer(ask: Any, tell: Any, times: int) -> None:
    for _ in range(times):
        ask.acquire()
        tell.release()


def sleep_in(condition: Any, ready: Any, woken: Any) -> None:
    with condition:
        ready.release()
        assert condition.wait(60)
        woken.release()


def echo(asked: Any, answered: Any) -> None:
    assert asked.wait(60)
    asked.clear()
    answered.set()


def meet(barrier: Any, folder: AnyPlace) -> None:
    for number in range(3):
        index = barrier.wait(60)
        (folder / f"{number}-{index}").touch()


def touch(path: AnyPlace) -> None:
    path.touch()


def wait_in(barrier: Any) -> None:
    barrier.wait(60)


def find_broken(barrier: Any) -> None:
    assert barrier.broken
    try:
        barrier.wait()
    except BrokenBarrierError:
        return
    raise AssertionError("it is not broken")


def hold(lock: Any, held: Any, die: AnyPlace) -> None:
    with lock:
        held.set()
        wait_for(die)
        os.kill(os.getpid(), signal.SIGKILL)

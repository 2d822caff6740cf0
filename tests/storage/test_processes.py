"""Each process has its own, all its threads the same, and a fork in the middle takes nothing along."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lithops.storage.processes import PerProcess

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def test_all_threads_have_the_same() -> None:
    together = threading.Barrier(16, timeout=20)
    own = PerProcess(object)

    def get(_: int) -> object:
        together.wait()
        return own.get()

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(get, range(16))) == {own.get()}


def test_what_is_taken_is_made_again_when_it_is_needed() -> None:
    own = PerProcess(object)
    assert own.take() is None
    first = own.get()
    assert own.take() is first
    assert own.take() is None
    assert own.get() is not first


def test_what_cannot_be_made_is_tried_again() -> None:
    tries = iter([ConnectionError("not yet"), None])

    def make() -> str:
        error = next(tries)
        if error is not None:
            raise error
        return "made"

    own = PerProcess(make)
    with pytest.raises(ConnectionError):
        own.get()
    assert own.get() == "made"


FORK = """
import os, signal, sys, threading
from lithops.storage.processes import PerProcess

forked, going_on = threading.Event(), threading.Event()

def make():
    if threading.current_thread() is not threading.main_thread():
        going_on.set()
        forked.wait(20)
    return os.getpid()

own, other = PerProcess(make), PerProcess(make)
assert own.get() == os.getpid()
thread = threading.Thread(target=other.get)
thread.start()
going_on.wait(20)  # the thread holds the lock of this process
child = os.fork()
if child == 0:
    signal.alarm(20)
    assert own.take() is None
    assert own.get() == other.get() == os.getpid()
    os._exit(0)
forked.set()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert own.take() == os.getpid()
thread.join()
"""


@needs_fork
def test_a_forked_process_makes_its_own(run_program: Callable[..., Any]) -> None:
    assert run_program(FORK).stderr == ""

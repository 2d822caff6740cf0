"""Executors that nobody holds any more are shut down, and never in the midst of other code."""

from __future__ import annotations

import subprocess
import sys
import threading

from lithops.janitor import look_after


class Owner:
    """Somebody whose end is looked after."""


def test_the_end_of_an_owner_waits_for_no_lock() -> None:
    """The collector may find it while the very lock is held that its shutting down needs."""
    lock, shut_down = threading.Lock(), threading.Event()

    def need_the_lock() -> None:
        with lock:
            shut_down.set()

    owner = Owner()
    look_after(owner, need_the_lock)
    with lock:
        del owner
        assert not shut_down.is_set()
    assert shut_down.wait(10)


PROGRAM = """
import os, sys
from lithops.janitor import look_after
class Owner: pass
owners = [Owner(), Owner()]
for number, owner in enumerate(owners):
    look_after(owner, lambda number=number: print("shut down", number, flush=True))
if os.fork() == 0:
    sys.exit()
os.wait()
"""


def test_the_end_of_the_program_is_the_end_of_all_and_of_a_child_of_none() -> None:
    program = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    assert program.stdout == "shut down 1\nshut down 0\n"

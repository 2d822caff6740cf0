"""Shuts down executors that nobody holds any more, and at the program's end those that are left.

The garbage collector finds an executor in the midst of anything, with any lock held by the code that it interrupts: to
shut the executor down there and then may wait for that lock for ever. So it only leaves a note, and a thread reads it.
"""

from __future__ import annotations

import atexit
import itertools
import os
import queue
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

ShutDown = Callable[[], None]

# The one queue of the standard library that can be put to from a finalizer.
_dropped: queue.SimpleQueue[int] = queue.SimpleQueue()
_living: dict[int, ShutDown] = {}
_numbers = itertools.count()
_lock = threading.Lock()
_thread: threading.Thread | None = None


def look_after(owner: Any, shut_down: ShutDown) -> ShutDown:
    """Call `shut_down`, which must not refer to `owner`, when nobody holds that any more, or when the program ends.

    Gives what does it now. It is done once, and in no child that this process forks.
    """
    global _thread
    number = next(_numbers)
    with _lock:
        _living[number] = shut_down
        if _thread is None:
            _thread = threading.Thread(target=_serve, daemon=True, name="lithops-janitor")
            _thread.start()
    weakref.finalize(owner, _dropped.put, number).atexit = False
    return partial(_end, number)


def _end(number: int) -> None:
    shut_down = _living.pop(number, None)
    if shut_down is not None:
        shut_down()


def _serve() -> None:
    while True:
        _end(_dropped.get())


@atexit.register
def _end_all() -> None:
    for number in reversed(list(_living)):
        _end(number)


def _forget() -> None:
    """In a child that this process has forked: everything is the parent's, its thread has stayed there."""
    global _thread, _dropped
    _living.clear()
    _thread, _dropped = None, queue.SimpleQueue()


os.register_at_fork(after_in_child=_forget)

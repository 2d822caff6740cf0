"""Shuts down executors that nobody holds any more, and at the program's end those that are left.

The garbage collector finds an executor in the midst of anything, with any lock held by the code that it interrupts: to
shut the executor down there and then may wait for that lock for ever. So it only leaves a note, and a thread reads it.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any

ShutDown = Callable[[], None]

# The one queue of the standard library that can be put to from a finalizer.
_dropped: queue.SimpleQueue[int] = queue.SimpleQueue()
_living: dict[int, ShutDown] = {}
_lock = threading.Lock()
_thread: threading.Thread | None = None


def look_after(owner: Any, shut_down: ShutDown) -> None:
    """Call `shut_down`, which must not refer to `owner`, when nobody holds that any more, or when the program ends."""
    global _thread
    number = id(shut_down)
    with _lock:
        _living[number] = shut_down
        if _thread is None:
            _thread = threading.Thread(target=_serve, daemon=True, name="lithops-janitor")
            _thread.start()
    weakref.finalize(owner, _dropped.put, number).atexit = False


def _serve() -> None:
    while True:
        shut_down = _living.pop(_dropped.get(), None)
        if shut_down is not None:
            shut_down()


@atexit.register
def _shut_down_all() -> None:
    while _living:
        _, shut_down = _living.popitem()
        shut_down()


def _forget() -> None:
    """In a child that this process has forked: everything is the parent's, its thread has stayed there."""
    global _thread, _dropped
    _living.clear()
    _thread, _dropped = None, queue.SimpleQueue()


os.register_at_fork(after_in_child=_forget)

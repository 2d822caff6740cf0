"""What each process has of its own, such as connections: a fork copies them, and then both would use one socket."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """One thing for each process, made when that first asks for it. Safe in threads, and after a fork.

    What a process was forked with stays untouched in it: it is not even closed.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[int, T] = {}
        self._locks: dict[int, threading.Lock] = {}

    def get(self) -> T:
        """This process's own."""
        process = os.getpid()
        if process not in self._made:
            # Another process's lock may be held by a thread that is not in this one.
            with self._locks.setdefault(process, threading.Lock()):
                if process not in self._made:
                    self._made[process] = self._make()
        return self._made[process]

    def take(self) -> T | None:
        """This process's own, to be closed: whoever asks again gets a new one. None: there is none."""
        return self._made.pop(os.getpid(), None)

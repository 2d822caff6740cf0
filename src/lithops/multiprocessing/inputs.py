"""Iterables of `imap`: read while first results are used already, but not far ahead, since they may be endless."""

from __future__ import annotations

import collections
import math
import threading
from collections.abc import Callable, Iterable
from multiprocessing import pool as standard
from typing import Any

_UNREAD = 10_000
"""So many tasks are sent ahead of what has been read of their results."""

Task = tuple[int, int, Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""As the standard library has them: the number of the result, the place in it, function and arguments."""
_standard: Any = standard
_FAILED = _standard._helper_reraises_exception
"""What the standard library has tasks call for iterables that raise an `Exception`."""


class Input:
    """The tasks of one iterable. `allowed` says how many of them may be under way at once.

    Two bounds: results that nobody reads take memory, and so do arguments that no worker has taken.
    """

    def __init__(
        self, tasks: Iterable[Task], set_length: Callable[[int], None], allowed: Callable[[], int]
    ) -> None:
        self._tasks = tasks
        self._set_length = set_length
        self._allowed = allowed
        self._unread = 0
        self._most_unread: float = _UNREAD
        self._under_way = 0
        self._changed = threading.Condition()
        self._stopped = False
        # The standard's iterator keeps its results here until they are read.
        result: Any = set_length.__self__  # type: ignore[attr-defined]
        result._items = _Unread(self._note_read)
        self.number: int = result._job
        """Of the result, as in its tasks."""

    def read(self, send: Callable[[list[Task]], None]) -> None:
        """Send all tasks, each as soon as there is room. An iterable that fails has that as its last result."""
        count = 0
        try:
            for task in self._tasks:
                if task[2] is _FAILED:
                    self._await_others()
                elif not self._await_room():
                    return
                count += 1
                send([task])
        except BaseException as error:  # noqa: BLE001 - whatever it is, somebody waits for what comes of it
            self._await_others()
            send([(self.number, count, _FAILED, (error,), {})])
            count += 1
        self._set_length(count)

    def note_end(self) -> None:
        """One of the tasks is under way no more."""
        with self._changed:
            self._under_way -= 1
            self._changed.notify()

    def unbound(self) -> None:
        """Nobody may be left to read the results."""
        with self._changed:
            self._most_unread = math.inf
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _note_read(self) -> None:
        with self._changed:
            self._unread -= 1
            self._changed.notify()

    def _await_room(self) -> bool:
        with self._changed:
            self._changed.wait_for(self._has_room)
            self._unread += 1
            self._under_way += 1
            return not self._stopped

    def _await_others(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or not self._under_way)

    def _has_room(self) -> bool:
        return self._stopped or (self._unread < self._most_unread and self._under_way < self._allowed())


class _Unread(collections.deque[Any]):
    """Results that nobody has read. Each that is read makes room for a task."""

    def __init__(self, note_read: Callable[[], None]) -> None:
        super().__init__()
        self._note_read = note_read

    def popleft(self) -> Any:
        item = super().popleft()
        self._note_read()
        return item

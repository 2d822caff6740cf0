"""Where requests to the backend are made: in the monitor's own thread, or in threads that may wait for the answers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

_T = TypeVar("_T")
_Post = Callable[[Callable[[], None]], None]


class Runner(Protocol):
    """Does work that may block."""

    def run(self, work: Callable[[], _T], then: Callable[[_T], None]) -> None:
        """Have `work` done, and `then` called with what it gave, by the monitor's thread."""
        ...

    def close(self) -> None: ...


class InlineRunner:
    """For backends whose requests do not block: everything is done at once."""

    def run(self, work: Callable[[], _T], then: Callable[[_T], None]) -> None:
        then(work())

    def close(self) -> None:
        """Nothing was started."""


class ThreadRunner:
    """Up to `most` threads, each started when it is needed. `post` leaves a message for the monitor's thread.

    They are daemons, unlike those of the standard library's pool: a program may end while a cloud is silent.
    """

    def __init__(self, most: int, post: _Post) -> None:
        self._most = most
        self._post = post
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = 0
        self._idle = threading.Semaphore(0)

    def run(self, work: Callable[[], _T], then: Callable[[_T], None]) -> None:
        if not self._idle.acquire(blocking=False) and self._threads < self._most:
            self._threads += 1
            threading.Thread(target=self._serve, daemon=True, name=f"lithops-invoke-{self._threads}").start()
        self._work.put(lambda: self._do(work, then))

    def close(self) -> None:
        """The threads end when they have answered."""
        threads, self._threads = self._threads, 0
        for _ in range(threads):
            self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            self._idle.release()

    def _do(self, work: Callable[[], _T], then: Callable[[_T], None]) -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised where somebody hears it
            self._post(lambda error=error: _raise(error))  # type: ignore[misc]
        else:
            self._post(lambda: then(result))


def _raise(error: BaseException) -> Any:
    raise error

"""`Lock`, `RLock`, `Semaphore` and `BoundedSemaphore`, as those of `multiprocessing`, for processes anywhere.

Whoever waits is served in order of arrival. A process that is killed gives back what it held of a `Lock`, an `RLock` or
a `BoundedSemaphore`, some seconds later; one that ends in order does not, as in the standard library.
"""

from __future__ import annotations

import errno
import operator
import os
import threading
from collections.abc import Sequence
from multiprocessing import process
from typing import Any

from lithops.exceptions import SharedStateError
from lithops.multiprocessing.current import current_session
from lithops.multiprocessing.permits import COUNTER, OWNED, PERSONAL, Permits
from lithops.multiprocessing.references import SharedObject, caller
from lithops.shared.session import Session

__all__ = ["BoundedSemaphore", "Lock", "RLock", "SemLock", "Semaphore"]

SEM_VALUE_MAX = 2**31 - 1


class SemLock(SharedObject):
    """What locks and semaphores have in common."""

    _kind = OWNED
    _permits: Permits

    def __init__(self, value: int, limit: int) -> None:
        session = current_session()
        self._open(session, session.key("lock"), value, limit)

    def _open(self, session: Session, key: str, *details: Any) -> None:
        first, limit = details
        self._permits = Permits(session, key, first, limit, self._kind)
        super()._open(session, key)

    def _details(self) -> tuple[Any, ...]:
        return self._permits.first, self._permits.limit

    @property
    def keys(self) -> tuple[str, ...]:
        return self._permits.keys

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take it, or give False: at once if `block` is false, or else after `timeout` seconds."""
        return self._permits.take(caller(self._session), _patience_s(block, timeout))

    def release(self) -> None:
        """Give it back. Raises `ValueError` when nobody has it."""
        self._permits.give(caller(self._session))

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


class Semaphore(SemLock):
    """A counter of permits that nobody owns: one process may give back what another has taken.

    So those of a process that is killed are not given back. See `multiprocessing.Semaphore`.
    """

    _kind = COUNTER

    def __init__(self, value: int = 1, *, ctx: object = None) -> None:  # noqa: ARG002 - as the standard's
        super().__init__(_count(value), SEM_VALUE_MAX)

    def get_value(self) -> int:
        """How often it can be acquired now."""
        return self._permits.free()

    def _shown_value(self) -> object:
        try:
            return self.get_value()
        except SharedStateError:
            return "unknown"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self._shown_value()})>"


class BoundedSemaphore(Semaphore):
    """A semaphore that cannot be released more often than it was acquired.

    The permits that a process had when it was killed are given back. See `multiprocessing.BoundedSemaphore`.
    """

    _kind = OWNED

    def __init__(self, value: int = 1, *, ctx: object = None) -> None:  # noqa: ARG002 - as above
        SemLock.__init__(self, _count(value), value)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self._shown_value()}, maxvalue={self._permits.limit})>"


class _Mutex(SemLock):
    """One permit, and a note of the thread here that has it."""

    _owner = ""
    _depth = 0

    def __init__(self, *, ctx: object = None) -> None:  # noqa: ARG002 - as above
        super().__init__(1, 1)

    def _is_mine(self) -> bool:
        return self._owner == caller(self._session)

    def _hold(self, me: str, depth: int) -> None:
        self._owner, self._depth = me, depth

    def _let_go(self) -> int:
        """Note that nobody here has it, before others can. Gives how often it was acquired."""
        depth, self._owner, self._depth = self._depth, "", 0
        return depth

    def _guarded(self, lua: str, keys: Sequence[str], *arguments: Any) -> Any:
        """Run a script while this thread has the lock: one request if it is free, or has it already.

        The script finds in KEYS and ARGV what is given here. Its answer is not an empty list.
        """
        ran, answer = self._permits.guard(caller(self._session), lua, keys, *arguments)
        if not ran:
            with self:
                return self._session.script(lua, keys, *arguments)
        return answer

    def _shown_owner(self) -> tuple[str, object]:
        """Whose it is, and how often."""
        if self._is_mine():
            name, thread = process.current_process().name, threading.current_thread().name
            return name if thread == "MainThread" else f"{name}|{thread}", self._depth
        try:
            holders = self._permits.holders()
        except SharedStateError:
            return "unknown", "unknown"
        if not holders:
            return "None", 0
        here = f"{self._session.me}/{os.getpid()}."
        return "SomeOtherThread" if holders[0].startswith(here) else "SomeOtherProcess", "nonzero"


class Lock(_Mutex):
    """A lock that any thread of any process can release. See `multiprocessing.Lock`."""

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take it, or give False: at once if `block` is false, or else after `timeout` seconds."""
        me = caller(self._session)
        if not self._permits.take(me, _patience_s(block, timeout)):
            return False
        self._hold(me, 1)
        return True

    def release(self) -> None:
        """Give it back. Raises `ValueError` when nobody has it."""
        self._let_go()
        super().release()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(owner={self._shown_owner()[0]})>"


class RLock(_Mutex):
    """A lock that its owner, a thread of a process, can acquire again and again. See `multiprocessing.RLock`."""

    _kind = PERSONAL

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take it, or give False: at once if `block` is false, or else after `timeout` seconds."""
        me = caller(self._session)
        if self._owner == me:
            self._depth += 1
            return True
        if not self._permits.take(me, _patience_s(block, timeout)):
            return False
        self._hold(me, 1)
        return True

    def release(self) -> None:
        """Give it back, as often as it was acquired. Raises `AssertionError` if it is not this thread's."""
        if not self._is_mine():
            raise AssertionError("attempt to release recursive lock not owned by thread")
        if self._depth > 1:
            self._depth -= 1
            return
        self._let_go()
        super().release()

    def __repr__(self) -> str:
        name, depth = self._shown_owner()
        return f"<{type(self).__name__}({name}, {depth})>"


def _patience_s(block: bool, timeout: float | None) -> float | None:
    """None: for ever."""
    limit_s = None if timeout is None else max(0.0, timeout)
    return limit_s if block else 0.0


def _count(value: int) -> int:
    number = operator.index(value)
    if number > SEM_VALUE_MAX:
        raise OverflowError("Python int too large to convert to C int")
    if number < 0:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return number

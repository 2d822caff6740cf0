"""What all shared objects do alike: they are keys in a server, and travel as the way to them."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterable
from typing import Any

from lithops.shared import session as sessions
from lithops.shared.server import Server
from lithops.shared.session import Session

_lock = threading.Lock()
_here: weakref.WeakValueDictionary[str, SharedObject] = weakref.WeakValueDictionary()


class SharedObject:
    """An object under a key of a server. However often it is unpickled in a process, it is one object there."""

    _session: Session
    _key: str

    def _open(self, session: Session, key: str, *details: Any) -> None:  # noqa: ARG002 - for those that have some
        """Become the object under that key, without a request. `details` are those of `_details`."""
        self._session = session
        self._key = key
        with _lock:
            _here[key] = self
        session.keep(self)

    def _details(self) -> tuple[Any, ...]:
        """What travels with the key."""
        return ()

    @property
    def keys(self) -> tuple[str, ...]:
        """All of its keys: they do not expire while a process has it."""
        return (self._key,)

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, (type(self), self._session.server, self._key, *self._details())


def rebuild(cls: type[SharedObject], server: Server, key: str, *details: Any) -> SharedObject:
    """The object that another process, or this one, has pickled."""
    with _lock:
        found = _here.get(key)
    if found is None:
        found = cls.__new__(cls)
        found._open(sessions.session_for(server), key, *details)
    return found


def caller(session: Session) -> str:
    """The name of this thread among those of all processes: the process's name, a slash, and the thread's."""
    return f"{session.me}/{os.getpid()}.{threading.get_ident()}"


class Suspects:
    """Those who say nothing. Are they gone?

    A process that was stopped for a while, as by Ctrl-Z, is as silent as a dead one. It will say that it is there once
    it goes on, so whoever finds it silent asks again a slice of time later, before it takes anything from it. One that
    was buried needs no second look.
    """

    def __init__(self) -> None:
        self._since: dict[bytes, float] = {}

    def gone(self) -> list[bytes]:
        """Those who have been silent for so long that they are gone."""
        now = time.monotonic()
        return [each for each, since in list(self._since.items()) if now - since >= sessions.SLICE_S * 0.9]

    def note(self, silent: Iterable[bytes]) -> None:
        """Who is silent now."""
        now = time.monotonic()
        self._since = {each: self._since.get(each, now) for each in silent}

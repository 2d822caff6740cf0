"""While a process has shared objects, it says that it is there, and keeps their keys from expiring."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import weakref
from typing import TYPE_CHECKING

from lithops.exceptions import SharedStateError

if TYPE_CHECKING:
    from lithops.shared.session import Session

PRESENCE_S = 60.0
"""A process that has said nothing for so long is gone. C code that holds the interpreter's lock keeps it silent; those
whose death is known are buried at once."""
_ROUND_S = 15.0
_APPEAR = """
-- KEYS: presence, grave. ARGV: milliseconds. What was buried stays dead, though a cloud may let it run on.
if redis.call('EXISTS', KEYS[2]) == 1 then return 1 end
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 0
"""


class Keeper:
    """A thread that starts with the first object."""

    def __init__(self, session: Session) -> None:
        # The thread must not keep alive what its end depends on.
        self._session = weakref.ref(session)
        self._pid = 0
        self._stopped = threading.Event()
        self._extended_at = 0.0
        self.lock = threading.Lock()
        """Held while this process says something about itself."""

    def start(self) -> None:
        """Say at once that this process is there, and again and again from now on."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._stopped = threading.Event()
        self.tend()
        threading.Thread(
            target=_tend_until, args=(weakref.ref(self), self._stopped), name="lithops-keeper", daemon=True
        ).start()

    def stop(self) -> None:
        self._stopped.set()

    def tend(self) -> None:
        """One round. The presence is short, the keys live long: they have their turn less often."""
        session = self._session()
        if session is None:
            return
        with self.lock:
            keys = [session.presence(session.me), session.grave(session.me)]
            is_buried = session.script(_APPEAR, keys, int(PRESENCE_S * 1000))
            if is_buried and session.can_be_stopped:
                _interrupt()
        now = time.monotonic()
        if now - self._extended_at > session.server.expiry_s / 4:
            self._extended_at = now
            keys = session.held_keys()
            if keys:
                session.run_all(*(("PEXPIRE", key, session.expiry_ms) for key in keys))


def _interrupt() -> None:
    """Whoever started the process that runs here has stopped it, and a cloud lets it run on."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _tend_until(keeper: weakref.ref[Keeper], stopped: threading.Event) -> None:
    while not stopped.wait(_ROUND_S):
        found = keeper()
        if found is None:
            return
        # Of a server that has failed, whoever uses it next is told; and it may come back.
        with contextlib.suppress(SharedStateError):
            found.tend()
        del found

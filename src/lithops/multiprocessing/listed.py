"""An end of a pipe of type ``redislist``: a list in the server for each direction."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import time
from collections.abc import Sequence
from multiprocessing import connection as standard
from typing import TYPE_CHECKING, Any

from lithops.exceptions import SharedStateError
from lithops.multiprocessing import messages
from lithops.multiprocessing.handles import TELL, Handles, index
from lithops.shared import session as sessions
from lithops.shared.server import Server
from lithops.shared.session import Session, session_for
from lithops.wire.pickles import Buffer

# 0: the other end is gone; 1, or where it listens | state, lane, large messages | element, expiry, other end
_SEND = (
    messages.PUSH
    + TELL
    + """
if redis.call('HEXISTS', KEYS[1], 'gone:' .. ARGV[3]) == 1 then return 0 end
push(KEYS[2], ARGV[1], KEYS[3], ARGV[2])
tell(KEYS[2], ARGV[2])
return redis.call('HGET', KEYS[1], 'direct:' .. ARGV[3]) or 1
"""
)
# The mark of the end is there for everyone who reads. | state, lane | expiry, other end
_PUT_BACK = (
    TELL
    + """
if redis.call('HEXISTS', KEYS[1], 'gone:' .. ARGV[2]) == 0 then return end
redis.call('LPUSH', KEYS[2], 'E')
redis.call('PEXPIRE', KEYS[2], ARGV[1])
tell(KEYS[2], ARGV[1])
"""
)


class Connection(standard._ConnectionBase):
    """One end of a pipe, as `multiprocessing.connection.Connection`.

    It pickles anywhere, and each process has handles of its own: an end is closed when all of them are. It has no file
    descriptor: use `poll`, or `wait` of `lithops.multiprocessing.connection`.
    """

    if TYPE_CHECKING:  # of the standard library, but in no stub

        def _check_closed(self) -> None: ...
        def _check_readable(self) -> None: ...
        def _check_writable(self) -> None: ...

    def __init__(
        self, session: Session, state: str, end: int, readable: bool, writable: bool, name: str
    ) -> None:
        # In place of the standard library's, which is given a descriptor.
        self._handle = state
        self._readable, self._writable = readable, writable
        self.session = session
        self._state, self._end = state, end
        self._name = name
        self._pid = os.getpid()
        self._handles = Handles(session, state)
        self._store = messages.Store(session, state)
        self.inbox, self._outbox = f"{state}:{end}", f"{state}:{1 - end}"
        self._send_keys = [state, self._outbox, self._store.large]
        self._looked_s = time.monotonic()
        session.keep(self)

    @property
    def keys(self) -> Sequence[str]:
        lanes = [self.inbox, self._outbox]
        watched = [f"{lane}:watch" for lane in lanes]
        return [self._state, *lanes, *watched, index(self.session, self._name), *self._store.keys]

    def __reduce__(self) -> tuple[Any, ...]:
        self._check_closed()
        token, owner = self._handles.reserve(self._end)
        place = (self.session.server, self._state, self._end)
        return _rebuild, (type(self), *place, self._readable, self._writable, token, owner)

    def fileno(self) -> int:
        self._check_closed()
        raise NotImplementedError(
            "this end of a pipe is in a server, and has no file descriptor: use poll(), or "
            "lithops.multiprocessing.connection.wait(), which takes descriptors beside it"
        )

    def send(self, obj: Any) -> None:
        self._check_closed()
        self._check_writable()
        self._put(messages.dump(obj))

    def recv(self) -> Any:
        self._check_closed()
        self._check_readable()
        return self._store.load(self._take())

    # ------------------------------------------------------------ what the standard library's methods call

    def _send_bytes(self, buf: memoryview) -> None:
        self._put([buf])

    def _recv_bytes(self, maxsize: int | None = None) -> io.BytesIO | None:
        body = self._store.read(self._take())
        return None if maxsize is not None and body.tell() > maxsize else body

    def _poll(self, timeout: float | None) -> bool:
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left_s = sessions.SLICE_S if until is None else min(sessions.SLICE_S, until - time.monotonic())
            if left_s <= 0:
                return bool(self.session.run("EXISTS", self.inbox))
            # It moves the first message to where it was: nobody else sees it away.
            lane = self.inbox
            if (
                self.session.run("BLMOVE", lane, lane, "LEFT", "LEFT", f"{max(left_s, 0.001):.3f}")
                is not None
            ):
                return True
            self.look()

    def _close(self) -> None:
        if self._pid != os.getpid() or sys.is_finalizing():
            return  # a forked child's handles are its parent's, and a process that ends has its handles closed
        # A server that has failed knows of no handles.
        with contextlib.suppress(SharedStateError):
            self._handles.release(self._end, self._name)

    # ------------------------------------------------------------ the lists

    def _put(self, segments: Sequence[Buffer]) -> None:
        self._post(self._store.wrap(segments))

    def _post(self, element: bytes) -> Any:
        """Gives where the other end listens; 1 if it does not."""
        if time.monotonic() - self._looked_s > sessions.SLICE_S:
            self.look()
        answer = self.session.script(_SEND, self._send_keys, element, self.session.expiry_ms, 1 - self._end)
        if not answer:
            self._store.drop(element)
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        return answer

    def _take(self) -> bytes:
        element = self.session.wait(self.inbox, None, self.look)
        assert element is not None
        if element == messages.END:
            self._put_back()
            raise EOFError
        return element

    def _put_back(self) -> None:
        self.session.script(_PUT_BACK, [self._state, self.inbox], self.session.expiry_ms, 1 - self._end)

    def descriptors(self) -> list[Any]:
        """Where input may come beside the list."""
        return []

    def is_ready(self) -> bool:
        """Whether `recv` has something, once there is something in the list or at a descriptor."""
        return True

    def check_readable(self) -> None:
        """Raises `OSError` where there can be nothing to wait for."""
        self._check_closed()
        self._check_readable()

    def look(self) -> None:
        """Processes that died have not closed the other end."""
        self._looked_s = time.monotonic()
        self._handles.look(1 - self._end)


def _rebuild(
    make: type[Connection], server: Server, state: str, end: int, readable: bool, writable: bool,
    token: str, owner: str,
) -> Connection:  # fmt: skip
    session = session_for(server)
    name = Handles(session, state).adopt(end, token=token, owner=owner)
    return make(session, state, end, readable, writable, name)

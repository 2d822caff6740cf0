"""`Listener` and `Client`: a way to find each other for processes of one program that share no pipe yet."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lithops.exceptions import SharedStateError
from lithops.multiprocessing.current import current_session
from lithops.multiprocessing.listed import Connection
from lithops.multiprocessing.pipes import make_pipe
from lithops.shared.server import Server
from lithops.shared.session import Session, session_for

# The list of a listener has pickled ends of pipes; `KEY:open` says which process accepts them.
_CLOSED = b"E"
# 1: it is ours; 0: a process that is there has it | list, its process | expiry, process, presence prefix
_LISTEN = """
local owner = redis.call('GET', KEYS[2])
if owner and redis.call('GET', ARGV[3] .. owner) == '1' then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[1])
redis.call('DEL', KEYS[1])
return 1
"""
# 0: nobody accepts | list, its process | expiry, presence prefix, element
_CONNECT = """
local owner = redis.call('GET', KEYS[2])
if not owner or redis.call('GET', ARGV[2] .. owner) ~= '1' then return 0 end
redis.call('RPUSH', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
"""
# Those who accept find the mark, those who connect no process. Gives what was not accepted.
_CLOSE = """
local left = redis.call('LRANGE', KEYS[1], 0, -1)
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('RPUSH', KEYS[1], 'E')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return left
"""


@dataclass(frozen=True, slots=True)
class Address:
    """Of a listener, for every process of the program. It pickles."""

    server: Server
    name: str


class Listener:
    """As `multiprocessing.connection.Listener`, for `Client`s in the same program, wherever they run.

    An `address` of one's own is any value whose repr is the same everywhere, as those of the standard library.
    `family` and `backlog` mean nothing here. `authkey` is not asked for: no other program comes to the address.
    """

    def __init__(
        self,
        address: Any = None,
        family: str | None = None,  # noqa: ARG002
        backlog: int = 1,  # noqa: ARG002
        authkey: bytes | None = None,
    ) -> None:
        self._open = False
        _check(authkey)
        session, name = (current_session(), "") if address is None else _place(address)
        self._session = session
        self._key = session.key("listener", name)
        self._address = Address(session.server, self._key.rpartition(":")[2]) if address is None else address
        self._pid = os.getpid()
        session.keep(self)
        if not session.script(_LISTEN, self.keys, session.expiry_ms, session.me, session.presence("")):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        self._open = True

    @property
    def keys(self) -> Sequence[str]:
        return _keys(self._key)

    @property
    def address(self) -> Any:
        """For `Client`."""
        return self._address

    @property
    def last_accepted(self) -> None:
        """Clients have no address."""
        return None

    def accept(self) -> Connection:
        """Wait for the next client. Raises `OSError` once the listener is closed, also by another thread."""
        if self._open:
            element = self._session.wait(self._key)
            assert element is not None
            if element != _CLOSED:
                connection: Connection = pickle.loads(element)
                return connection
            # For the next one who waits.
            self._session.run_all(
                ("RPUSH", self._key, _CLOSED), ("PEXPIRE", self._key, self._session.expiry_ms)
            )
        raise OSError("listener is closed")

    def close(self) -> None:
        """Nobody connects any more, and those who were not accepted find their connection closed."""
        if not self._open or self._pid != os.getpid():
            return
        self._open = False
        for element in self._session.script(_CLOSE, self.keys, self._session.expiry_ms):
            pickle.loads(element).close()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._open and self._pid == os.getpid() and not sys.is_finalizing():
            warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=1)
            with suppress(SharedStateError):  # then it is closed, too
                self.close()


def Client(address: Any, family: str | None = None, authkey: bytes | None = None) -> Connection:  # noqa: N802, ARG001
    """A connection to the `Listener` at that address. Raises `ConnectionRefusedError` if there is none."""
    _check(authkey)
    session, name = _place(address)
    ours, theirs = make_pipe(session)
    element = pickle.dumps(theirs)
    theirs.close()
    if not _connect(session, session.key("listener", name), element):
        ours.close()
        pickle.loads(element).close()
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    return ours


def _connect(session: Session, key: str, element: bytes) -> bool:
    return bool(session.script(_CONNECT, _keys(key), session.expiry_ms, session.presence(""), element))


def _keys(key: str) -> list[str]:
    return [key, f"{key}:open"]


def _place(address: Any) -> tuple[Session, str]:
    """The server and the name that an address stands for. One's own may have a colon in it, or be long."""
    if isinstance(address, Address):
        return session_for(address.server), address.name
    return current_session(), hashlib.sha256(repr(address).encode()).hexdigest()


def _check(authkey: bytes | None) -> None:
    if authkey is not None and not isinstance(authkey, bytes):
        raise TypeError("authkey should be a byte string")

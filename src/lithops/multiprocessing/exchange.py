"""How proxies and their manager talk::

    proxy, in any process ── request ──> one list of the manager's ── a thread sorts ──> the thread of that proxy
          ^                                                                                        │
          └───────────────────────────── a list for each proxy's thread <── answer ───────────────┘

So a manager has one connection to the server, however many processes have proxies. Those of the manager's own process
do without the server, but pickle all the same.

Here is what every process needs that has a proxy: an address, and lines to it, in place of the connections of
`multiprocessing.connection`. The manager's side is in `lithops.multiprocessing.reception`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import sys
import threading
import weakref
from dataclasses import dataclass
from multiprocessing import managers
from typing import Any, Protocol

from lithops.exceptions import SharedStateError
from lithops.multiprocessing import messages
from lithops.multiprocessing.current import current_session
from lithops.shared.server import Server
from lithops.shared.session import Session, new_name, session_for
from lithops.wire import pickles

SERIALIZER = "lithops"
"""What managers and proxies call this way of talking."""

MORE, LAST = b"+", b"."
"""The first byte of an answer: whether there may be others after it."""
RELEASE = b"R"
"""Before the name of an object, in place of a request: a proxy of it has gone."""

# `up`: whether the manager of KEYS[1] and the process that has it are there. ARGV[1]: the prefix of presences
IS_UP = """
local process = redis.call('GET', KEYS[1])
local up = process and redis.call('GET', ARGV[1] .. process) == '1'
"""
# KEYS: manager | presence prefix
_LOOK = IS_UP + "return up and 1 or 0"
# KEYS: manager, its list, large messages | presence prefix, ms of life, what comes before the element, element
_ASK = (
    IS_UP
    + messages.PUSH
    + """
if not up then return 0 end
push(KEYS[2], ARGV[4], KEYS[3], ARGV[2], ARGV[3])
return 1
"""
)


@dataclass(frozen=True)
class Address:
    """Where a manager is: it leads there from every process of the program."""

    server: Server
    name: str

    def __repr__(self) -> str:
        return f"<Address {self.name!r}>"


class Place:
    """The keys of a manager, and its large messages."""

    def __init__(self, address: Address) -> None:
        self.session: Session = session_for(address.server)
        self.up = self.session.key("manager", address.name)
        self.requests = f"{self.up}:requests"
        self.store = messages.Store(self.session, self.up)
        self.constants = self.session.presence(""), self.session.expiry_ms

    @property
    def keys(self) -> list[str]:
        """Asks the server for those of large messages."""
        return [self.up, self.requests, *self.store.keys]

    def answers(self, line: str) -> str:
        return f"{self.up}:answers:{line}"


_places: weakref.WeakValueDictionary[Address, Place] = weakref.WeakValueDictionary()
listeners: weakref.WeakValueDictionary[Address, Listener] = weakref.WeakValueDictionary()
"""The managers of this process."""
ended: set[Address] = set()
"""Those that it has had: their proxies need not ask, at a time when the program's server may have ended too."""
# Garbage is collected at any time, also while a thread has a lock: proxies that go then need lines of their own.
_lock = threading.RLock()


def find_place(address: Address) -> Place:
    with _lock:
        place = _places.get(address)
        if place is None or place.session is not session_for(address.server):
            place = _places[address] = Place(address)
    place.session.keep(place)
    return place


class Line:
    """What the standard library's managers and proxies do with a connection."""

    _is_release = False

    def send(self, value: Any) -> None:
        """Say it to the other side. Raises `ConnectionError` when there is none.

        To release an object has no answer that anybody waits for: it is done by the garbage collector, in any thread at
        any time, and thus in those that would have to answer.
        """
        self._is_release = len(value) == 4 and value[0] is None and value[1] == "decref"
        if self._is_release:
            self._release(*value[2])
        else:
            self._send(value)

    def recv(self) -> Any:
        """What the other side says next. Raises `EOFError` when it has ended."""
        return ("#RETURN", None) if self._is_release else self._recv()

    def send_bytes(self, data: bytes) -> None:
        self._send(data)

    def recv_bytes(self, maxlength: int | None = None) -> bytes:  # noqa: ARG002 - nothing long is sent this way
        return bytes(self._recv())

    def _send(self, value: Any) -> None:
        raise NotImplementedError

    def _recv(self) -> Any:
        raise NotImplementedError

    def _release(self, ident: str) -> None:
        raise NotImplementedError


class Served(Protocol):
    """The manager's end of a line within its process."""

    direct: queue.SimpleQueue[bytes | None]
    """The answers."""

    def take(self, element: bytes) -> None: ...

    def end(self) -> None: ...

    def release(self, ident: str) -> None: ...


class Listener(Protocol):
    """What takes a manager's requests: see `lithops.multiprocessing.reception`."""

    pid: int

    def dial(self) -> DirectLine: ...


def connect(address: Any, authkey: bytes | None = None) -> Line:  # noqa: ARG001 - see BaseManager.connect
    """A line to a manager. It takes no request: whether the manager is there, the first message finds out."""
    found = find_address(address)
    listener = listeners.get(found)
    if listener is None and found in ended:
        raise refusal()
    return RemoteLine(found) if listener is None or listener.pid != os.getpid() else listener.dial()


class DirectLine(Line):
    """A line within the process that has the manager."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._is_open = True

    def _send(self, value: Any) -> None:
        self._served.take(pickles.join(messages.dump(value)))

    def _recv(self) -> Any:
        body = self._served.direct.get()
        if body is None:
            self._served.direct.put(None)
            raise EOFError
        return pickles.load(body)

    def _release(self, ident: str) -> None:
        self._served.release(ident)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._served.end()

    def __del__(self) -> None:
        self.close()


class RemoteLine(Line):
    """A line through the server."""

    _state = "closed"

    def __init__(self, address: Address) -> None:
        self._place = find_place(address)
        name = new_name()
        self._prefix = (name + self._place.session.me).encode()
        self._answers = self._place.answers(name)
        self._pid = os.getpid()
        self._state = "new"

    def _release(self, ident: str) -> None:
        if not self._tell(RELEASE + ident.encode()):
            raise refusal()

    def _send(self, value: Any) -> None:
        element = self._place.store.wrap(messages.dump(value))
        if self._tell(element):
            self._state = "open"
            return
        self._place.store.drop(element)
        if self._state == "new":
            raise refusal()
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def _recv(self) -> Any:
        element = self._place.session.wait(self._answers, None, self._look)
        if element is None or element == messages.END:
            self._state = "closed"
            raise EOFError
        if element[:1] == LAST:
            self._state = "closed"
        return self._place.store.load(element[1:])

    def close(self) -> None:
        if self._state == "open" and self._pid == os.getpid() and not sys.is_finalizing():
            # A manager that cannot be reached needs not be told.
            with contextlib.suppress(SharedStateError):
                self._tell(messages.END)
        self._state = "closed"

    def __del__(self) -> None:
        self.close()

    def _tell(self, element: bytes) -> bool:
        place = self._place
        keys = place.up, place.requests, place.store.large
        return bool(place.session.script(_ASK, keys, *place.constants, self._prefix, element))

    def _look(self) -> None:
        place = self._place
        if not place.session.script(_LOOK, (place.up,), place.session.presence("")):
            self._state = "closed"
            raise EOFError


def refusal() -> ConnectionRefusedError:
    """There is no manager at the address."""
    return ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


def find_address(address: Any) -> Address:
    """The address of a new manager (None), or what a program calls one: a text, or a host and a port.

    A host has no meaning: the name is looked for in the program's server. Port 0 is a new name.
    """
    if isinstance(address, Address):
        return address
    name = str(address[1] or "") if isinstance(address, tuple) else str(address or "")
    return Address(current_session().server, name or new_name())


# Here, since an address brings this module to wherever a proxy goes: who has a proxy can connect, and need not listen.
managers.listener_client[SERIALIZER] = (None, connect)  # type: ignore[attr-defined] # it is in no stub

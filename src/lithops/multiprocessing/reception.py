"""The manager's side of the talk with proxies: see `lithops.multiprocessing.exchange`."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import threading
import time
from multiprocessing import managers
from typing import Any

from lithops.exceptions import SharedStateError
from lithops.multiprocessing import messages
from lithops.multiprocessing.exchange import (
    IS_UP,
    LAST,
    MORE,
    RELEASE,
    SERIALIZER,
    DirectLine,
    Line,
    connect,
    ended,
    find_address,
    find_place,
    listeners,
    refusal,
)
from lithops.multiprocessing.references import Suspects
from lithops.shared import session as sessions
from lithops.shared.session import new_name
from lithops.wire import pickles

_NAME_LENGTH = 32

# KEYS: manager, its list | presence prefix, ms of life, the process that has it
_CLAIM = (
    IS_UP
    + """
if up then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
redis.call('DEL', KEYS[2])
return 1
"""
)
# KEYS: list, large messages | ms of life, what comes before the element, element
_ANSWER = messages.PUSH + "push(KEYS[1], ARGV[3], KEYS[2], ARGV[1], ARGV[2])"


class Reception:
    """Takes the requests of a manager's proxies."""

    def __init__(self, address: Any = None, backlog: int = 1) -> None:  # noqa: ARG002 - as standard listeners
        self.address = find_address(address)
        self.pid = os.getpid()
        self._place = find_place(self.address)
        self._session = self._place.session
        self._lines: dict[bytes, ServedLine] = {}
        self._lock = threading.RLock()
        self._accepted: queue.SimpleQueue[ServedLine | str | None] = queue.SimpleQueue()
        self._suspects = Suspects()
        self._open = True
        keys = self._place.up, self._place.requests
        if not self._session.script(_CLAIM, keys, *self._place.constants, self._session.me):
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        self._thread = threading.Thread(target=self._sort, name="lithops-manager-requests", daemon=True)
        self._thread.start()
        listeners[self.address] = self
        ended.discard(self.address)

    def accept(self) -> ServedLine | str:
        """Wait for a new line, or the name of an object to release. Raises `OSError` when the listener is closed."""
        line = self._accepted.get()
        if line is None:
            self._accepted.put(None)
            raise OSError("listener is closed")
        return line

    def dial(self) -> DirectLine:
        """A line from this process."""
        line = ServedLine(self, new_name().encode(), b"")
        with self._lock:
            if not self._open:
                raise refusal()
            self._lines[line.name] = line
        self._accepted.put(line)
        return DirectLine(line)

    def release(self, ident: str) -> None:
        """A proxy of the object has gone."""
        self._accepted.put(ident)

    def forget(self, line: ServedLine) -> None:
        """It is closed."""
        with self._lock:
            self._lines.pop(line.name, None)

    def close(self) -> None:
        """All lines end, here and where they come from."""
        with self._lock:
            was_open, self._open = self._open, False
        if not was_open:
            return
        commands: list[tuple[Any, ...]] = [("DEL", self._place.up), ("RPUSH", self._place.requests, b"")]
        for line in self._end_lines():
            if line.owner:
                commands.append(("RPUSH", line.answers, messages.END))
                commands.append(("PEXPIRE", line.answers, self._session.expiry_ms))
        commands.append(("PEXPIRE", self._place.requests, self._session.expiry_ms))
        # A server that has failed has let go of those who wait.
        with contextlib.suppress(SharedStateError):
            self._session.run_all(*commands)
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _end_lines(self) -> list[ServedLine]:
        listeners.pop(self.address, None)
        ended.add(self.address)
        with self._lock:
            lines = list(self._lines.values())
            self._lines.clear()
        for line in lines:
            line.end()
        self._accepted.put(None)
        return lines

    def _sort(self) -> None:
        """Until it is closed: hand each request to the line that it came by."""
        looked_s = time.monotonic()
        try:
            while self._open:
                element = self._session.wait(self._place.requests, sessions.SLICE_S)
                if element:
                    self._deliver(element)
                if time.monotonic() - looked_s > sessions.SLICE_S:
                    looked_s = time.monotonic()
                    self._look()
            self._session.run("UNLINK", self._place.requests)
        except SharedStateError:
            # Nobody elsewhere can reach this manager any more.
            with self._lock:
                self._open = False
            self._end_lines()

    def _deliver(self, element: bytes) -> None:
        name, owner = element[:_NAME_LENGTH], element[_NAME_LENGTH : 2 * _NAME_LENGTH]
        body = element[2 * _NAME_LENGTH :]
        if body[:1] == RELEASE:
            self.release(body[1:].decode())
            return
        with self._lock:
            line = self._lines.get(name)
            if line is None and body != messages.END and self._open:
                line = self._lines[name] = ServedLine(self, name, owner)
                self._accepted.put(line)
        if line is None:
            return
        if body == messages.END:
            self.forget(line)
            line.end()
        else:
            line.take(body)

    def _look(self) -> None:
        """End the lines of processes that are gone."""
        with self._lock:
            owners = list({line.owner for line in list(self._lines.values()) if line.owner})
        session = self._session
        presences = [session.presence(owner.decode()) for owner in owners]
        up, *states = session.run("MGET", self._place.up, *presences)
        if up is None:
            raise SharedStateError(f"{session.server} has lost a manager")
        silent = {owner for owner, state in zip(owners, states, strict=True) if state != b"1"}
        gone = silent.intersection(self._suspects.gone())
        self._suspects.note(silent - gone)
        with self._lock:
            lost = [line for line in list(self._lines.values()) if line.owner in gone]
        for line in lost:
            self.forget(line)
            line.end()


class ServedLine(Line):
    """A thread of a process that has proxies, or a single request of it, as the manager sees it."""

    def __init__(self, reception: Reception, name: bytes, owner: bytes) -> None:
        self.name = name
        self.owner = owner
        """The process at the other end; empty: this one."""
        self.answers = reception._place.answers(name.decode())
        self.direct: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        """Answers to this process."""
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._reception = reception
        self._place = reception._place

    def take(self, element: bytes) -> None:
        """There is a request."""
        self._requests.put(element)

    def end(self) -> None:
        """There will be no more requests, and no answers."""
        self._requests.put(None)
        self.direct.put(None)

    def release(self, ident: str) -> None:
        self._reception.release(ident)

    def _recv(self) -> Any:
        element = self._requests.get()
        if element is None:
            raise EOFError
        return self._place.store.load(element) if self.owner else pickles.load(element)

    def _send(self, value: Any) -> None:
        self._answer(MORE, value)

    def send_last(self, value: Any) -> None:
        """Answer, and be done with it."""
        self._answer(LAST, value)
        self.close()

    def close(self) -> None:
        """Nobody reads requests any more."""
        self._reception.forget(self)
        self.direct.put(None)

    def _answer(self, mark: bytes, value: Any) -> None:
        segments = messages.dump(value)
        if value[0] == "#ERROR":
            # It refers to the frame that has it and the object: that circle would outlive the object's last proxy.
            value[1].__traceback__ = None
        if not self.owner:
            self.direct.put(pickles.join(segments))
            return
        store, session = self._place.store, self._place.session
        keys = self.answers, store.large
        session.script(_ANSWER, keys, session.expiry_ms, mark, store.wrap(segments))


managers.listener_client[SERIALIZER] = (Reception, connect)  # type: ignore[attr-defined] # it is in no stub

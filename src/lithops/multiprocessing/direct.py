"""Pipes of type ``direct``: they start as lists in the server, and go over to sockets between the processes.

The process that reads an end listens as soon as nobody else has that end, and says where. A process that sends finds
that in the answer to a message, connects, and puts a mark with its name into the list: what it sends from then on
comes by the socket. The reader goes over when it meets the mark, so the order is kept. Where no connection can be
made within a short time, the sender stays with the list for good.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import connection as standard
from typing import Any

from lithops.multiprocessing import messages
from lithops.multiprocessing.inlets import FAILURES, Caller, Inlet, Line, is_at_end
from lithops.multiprocessing.listed import Connection
from lithops.shared import session as sessions
from lithops.wire.pickles import Buffer

_MARK = b"S"
"""The first byte of an element that names a sender that has gone over."""
_RETRY_S = 1.0

# Only a handle that is the only one of its end: what is in a socket, one process alone can read.
# state | end, where it listens, or "" to ask whether it may
_PUBLISH = """
local handles = 0
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  if string.sub(fields[i], 1, 2) == ARGV[1] .. ':' then
    handles = handles + (string.sub(fields[i], 3, 3) == '~' and 1 or tonumber(fields[i + 1]))
  end
end
if handles ~= 1 then return 0 end
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'direct:' .. ARGV[1], ARGV[2]) end
return 1
"""


class DirectConnection(Connection):
    """An end of a pipe that uses sockets where the network lets it."""

    _inlet: Inlet | None = None
    _listens_from_s = 0.0
    _outlet: Line = None
    _has_called = False

    def __reduce__(self) -> tuple[Any, ...]:
        self._check_closed()
        if self._inlet is not None:
            self._withdraw(self._inlet)
        return super().__reduce__()

    def descriptors(self) -> list[Any]:
        return [*self._inlet.lines, self._inlet.bell] if self._inlet is not None else []

    def is_ready(self) -> bool:
        return self._poll(0)

    def _close(self) -> None:
        super()._close()
        if self._outlet is not None:
            self._outlet.close()
        if self._inlet is not None:
            self._inlet.close()
        self._inlet = self._outlet = None

    # ------------------------------------------------------------ sending

    def _put(self, segments: Sequence[Buffer]) -> None:
        if self._outlet is not None and self._send_direct(segments):
            return
        place = self._post(self._store.wrap(segments))
        if isinstance(place, bytes) and not self._has_called:
            self._has_called = True
            with suppress(*FAILURES):
                self._call(place.decode())

    def _call(self, place: str) -> None:
        caller = Caller(place)
        try:
            self._post(_MARK + caller.name.encode())
            self._outlet = caller.go()
        except BaseException:
            caller.line.close()
            raise

    def _send_direct(self, segments: Sequence[Buffer]) -> bool:
        """False: the other side does not read from the socket any more. It never sends: it can but have closed it."""
        with suppress(BrokenPipeError, ConnectionResetError):
            if not standard.wait([self._outlet], 0):
                self._outlet.send_bytes(b"".join([messages.INLINE, *segments]))
                return True
        self._outlet.close()
        self._outlet = None
        return False

    # ------------------------------------------------------------ receiving

    def _take(self) -> bytes:
        while True:
            self._listen()
            inlet = self._inlet
            if inlet is None or not inlet.lines:
                element: bytes | None = super()._take()
            else:
                element = self._take_direct(inlet)
            if element is not None and not self._go_over(element):
                return element

    def _take_direct(self, inlet: Inlet) -> bytes | None:
        """The next message of any socket, or what others have put into the list in the meantime."""
        for line in self._ready_lines(inlet, sessions.SLICE_S):
            try:
                return bytes(line.recv_bytes())
            except (EOFError, OSError):
                inlet.drop(line)
        element: bytes | None = self.session.run("LPOP", self.inbox)
        if element == messages.END:
            # It is the end of those who are in the list. First comes what is in the sockets.
            self._put_back()
            return None
        return element

    def _poll(self, timeout: float | None) -> bool:
        until = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            self._listen()
            left_s = min(sessions.SLICE_S, max(0.0, until - time.monotonic()))
            inlet = self._inlet
            if inlet is not None and inlet.lines:
                if any(not self._has_ended(inlet, line) for line in self._ready_lines(inlet, left_s)):
                    return True
            elif not super()._poll(left_s) and not left_s:
                return False
            if self._heads():
                return True
            if time.monotonic() >= until:
                return False

    def _heads(self) -> bool:
        """Whether the list has a message. Marks at its head are taken."""
        while True:
            element = self.session.run("LINDEX", self.inbox, 0)
            if element is None or element[:1] != _MARK:
                has_lines = self._inlet is not None and self._inlet.lines
                return element is not None and not (element == messages.END and has_lines)
            self.session.run("LPOP", self.inbox)
            self._go_over(element)

    def _ready_lines(self, inlet: Inlet, timeout_s: float) -> list[Line]:
        found = standard.wait(self.descriptors(), timeout_s)
        if inlet.bell in found:
            inlet.hush()
        if not found and timeout_s:
            self.look()
        return [each for each in found if each is not inlet.bell]

    def _has_ended(self, inlet: Inlet, line: Line) -> bool:
        if is_at_end(line):
            inlet.drop(line)
            return True
        return False

    def _go_over(self, element: bytes) -> bool:
        if element[:1] != _MARK:
            return False
        if self._inlet is not None:
            self._inlet.take(element[1:].decode())
        return True

    def _listen(self) -> None:
        now_s = time.monotonic()
        if self._inlet is not None or now_s < self._listens_from_s:
            return
        self._listens_from_s = now_s + _RETRY_S
        if not self.session.script(_PUBLISH, [self._state], self._end, ""):
            return
        try:
            inlet = Inlet(self.session.server)
        except OSError:  # this machine has no such network
            self._listens_from_s = math.inf
            return
        self._inlet = inlet
        self.session.script(_PUBLISH, [self._state], self._end, inlet.place)

    def _withdraw(self, inlet: Inlet) -> None:
        """It goes to another process, which reads the list."""
        self.session.run("HDEL", self._state, f"direct:{self._end}")
        if inlet.is_used:
            raise NotImplementedError(
                "this end of a pipe reads from a socket of this process already: pass it on before it is used, or "
                "set PIPE_CONNECTION_TYPE to 'redislist'"
            )
        inlet.close()
        self._inlet, self._listens_from_s = None, math.inf

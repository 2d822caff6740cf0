"""Where a process takes connections of those who send to it, and how both make sure that it is them."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing import connection as standard
from typing import Any

from lithops.shared.server import Server
from lithops.shared.session import new_name

CONNECT_S = 1.0
"""A connection that takes longer is not made."""
_standard: Any = standard
Line = Any
"""A connection of the standard library's."""
FAILURES = (OSError, EOFError, AssertionError, AuthenticationError)
"""What comes of a peer that is not there, not the right one, or gone."""


class Inlet:
    """A socket that listens. A thread accepts who knows the key, for `take` to find by its name."""

    def __init__(self, server: Server) -> None:
        self.lines: list[Line] = []
        """What is read from."""
        self._key = os.urandom(32)
        self._socket = socket.create_server((_own_host(server), 0))
        self.bell, self._rope = os.pipe()
        self._leash, self._stop = os.pipe()
        self._arrived: dict[str, Line] = {}
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._accept, name="lithops-direct", daemon=True)
        self._thread.start()

    @property
    def place(self) -> str:
        """What a sender has to know."""
        host, port = self._socket.getsockname()
        return json.dumps([host, port, self._key.hex()])

    def take(self, name: str) -> None:
        """Read from the connection of that name from now on. A sender that died before it made it never has one."""
        with self._changed:
            if self._changed.wait_for(lambda: name in self._arrived, CONNECT_S):
                self.lines.append(self._arrived.pop(name))

    def drop(self, line: Line) -> None:
        self.lines.remove(line)
        line.close()

    def hush(self) -> None:
        """The bell has been heard."""
        os.read(self.bell, 4096)

    @property
    def is_used(self) -> bool:
        """Whether anybody has come."""
        return bool(self.lines or self._arrived)

    def close(self) -> None:
        os.write(self._stop, b"1")
        self._thread.join()
        for line in [*self.lines, *self._arrived.values()]:
            line.close()
        self._socket.close()
        for descriptor in (self.bell, self._rope, self._leash, self._stop):
            os.close(descriptor)

    def _accept(self) -> None:
        while self._leash not in standard.wait([self._socket, self._leash]):
            with suppress(*FAILURES):
                self._welcome(_line(self._socket.accept()[0]))

    def _welcome(self, line: Line) -> None:
        try:
            _standard.deliver_challenge(line, self._key)
            _standard.answer_challenge(line, self._key)
            name = line.recv_bytes(64).decode()
        except BaseException:
            line.close()
            raise
        _limit(line, 0)
        with self._changed:
            self._arrived[name] = line
            self._changed.notify_all()
        os.write(self._rope, b"1")


class Caller:
    """A sender's connection to an inlet, from the call until the other side reads from it."""

    def __init__(self, place: str) -> None:
        """Raises one of `FAILURES`."""
        host, port, key = json.loads(place)
        self.name = new_name()
        self.line = _line(socket.create_connection((host, port), CONNECT_S))
        try:
            _standard.answer_challenge(self.line, bytes.fromhex(key))
            _standard.deliver_challenge(self.line, bytes.fromhex(key))
        except BaseException:
            self.line.close()
            raise

    def go(self) -> Line:
        """The other side has been told the name, and will read from the connection. Gives it."""
        self.line.send_bytes(self.name.encode())
        _limit(self.line, 0)
        return self.line


def is_at_end(line: Line) -> bool:
    """Whether a connection that can be read from has nothing more to give."""
    with socket.socket(fileno=os.dup(line.fileno())) as same:
        try:
            return not same.recv(1, socket.MSG_PEEK)
        except OSError:
            return True


def _line(connected: socket.socket) -> Line:
    connected.setblocking(True)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    line = _standard.Connection(connected.detach())
    _limit(line, CONNECT_S)
    return line


def _limit(line: Line, limit_s: float) -> None:
    """How long it blocks at most; 0: as long as it takes."""
    period = struct.pack("ll", int(limit_s), 0)
    with socket.socket(fileno=os.dup(line.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, period)
        same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, period)


def _own_host(server: Server) -> str:
    """This machine's address in the network where the server is. Nothing is sent."""
    if server.folder:
        return "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((server.host, server.port))
        return str(probe.getsockname()[0])

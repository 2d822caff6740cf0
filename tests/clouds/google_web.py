"""Google's HTTP: requests by path and method, answers as JSON, errors in the form that Google's libraries read."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
LARGEST_BYTES = 32 << 20
"""Of a request, and of a response: what Cloud Run passes on."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What it is told."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    broken: bool = False
    """The connection ends before a byte of the answer is sent."""


class Refused(Exception):
    """A request that the cloud does not carry out."""

    def __init__(self, code: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason or _STATUSES[code]

    def answer(self) -> Answer:
        error = {"code": self.code, "message": str(self), "status": self.reason}
        return as_json({"error": error}, self.code)


def as_json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json; charset=UTF-8"})


@contextmanager
def serving(answer: Callable[[Request], Answer]) -> Iterator[str]:
    """The endpoint of a server that gives these answers, each in a thread of its own."""

    class Connection(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def serve(self) -> None:
            url = urlsplit(self.path)
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if length > LARGEST_BYTES:
                self._give(Answer(413, b"Request Entity Too Large"))
                return
            query = dict(parse_qsl(url.query))
            request = Request(self.command, unquote(url.path), query, self.headers, body)
            try:
                self._give(answer(request))
            except Refused as refused:
                self._give(refused.answer())

        def _give(self, given: Answer) -> None:
            if given.broken:
                self.close_connection = True
                return
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(given.body)))
            self.end_headers()
            self.wfile.write(given.body)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = serve  # noqa: N815 - as the base calls them

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Tests look at what is asked."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        # Clients keep connections: threads that wait for them are not waited for.
        block_on_close = False
        request_queue_size = 1024

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that has gone, as a cloud's clients may, is no news."""

    server = Server(("127.0.0.1", 0), Connection)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="google")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

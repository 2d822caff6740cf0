"""A small HTTP/1.1 server: threads, connections that stay open, nothing that costs time for each request.

The standard library's own handler takes longer to read a request's headers than Lambda's clients may take for the
whole of it.
"""

from __future__ import annotations

import json
import socket
import socketserver
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

_REASONS = {200: "OK", 201: "Created", 202: "Accepted", 204: "No Content"}


@dataclass(slots=True)
class Request:
    method: str
    path: str
    """With its query."""
    headers: Mapping[str, str]
    """By their names in small letters."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body) if self.body else {}


@dataclass(slots=True)
class Reply:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def json_reply(value: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(status, json.dumps(value).encode(), headers)


Answer = Callable[[Request], Reply | None]
"""None closes the connection without an answer."""


def read_request(stream: BinaryIO, answer_expect: Callable[[bytes], object]) -> Request | None:
    """The next request of a connection; None at its end."""
    line = stream.readline(1 << 20)
    if not line.strip():
        return None
    method, path, _ = line.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while (line := stream.readline(1 << 21)) not in (b"\r\n", b"\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("expect", "").lower() == "100-continue":
        answer_expect(b"HTTP/1.1 100 Continue\r\n\r\n")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return Request(method, path, headers, _read_chunks(stream))
    return Request(method, path, headers, stream.read(int(headers.get("content-length", "0"))))


def _read_chunks(stream: BinaryIO) -> bytes:
    chunks = []
    while length := int(stream.readline().split(b";")[0], 16):
        chunks.append(stream.read(length))
        stream.readline()
    stream.readline()
    return b"".join(chunks)


def to_bytes(reply: Reply) -> bytes:
    """The whole answer, so that it is written at once: two small writes would wait for each other."""
    lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Status')}"]
    if "Content-Type" not in reply.headers:
        lines.append("Content-Type: application/json")
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    lines.append(f"Content-Length: {len(reply.body)}\r\n\r\n")
    return "\r\n".join(lines).encode("latin-1") + reply.body


def serve_connection(connection: socket.socket, answer: Answer) -> None:
    """Answer the requests of one connection until it ends."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with cast(BinaryIO, connection.makefile("rb", 1 << 16)) as stream:
        try:
            while (request := read_request(stream, connection.sendall)) is not None:
                reply = answer(request)
                if reply is None:
                    return
                connection.sendall(to_bytes(reply))
        except (ConnectionError, TimeoutError):  # the other side has left
            return


class HttpServer(socketserver.ThreadingTCPServer):
    """Answers all requests by one function, each connection in a thread of its own."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, port: int, answer: Answer) -> None:
        class Connection(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                serve_connection(self.request, answer)

        super().__init__(("127.0.0.1", port), Connection)

"""A proxy in front of an HTTP server that fails as clouds do: by chance, by seed, and on demand.

    with FaultyProxy("http://127.0.0.1:8333", seed=1, rate=0.2).running() as proxy:
        client = connect(proxy.endpoint)

It leaves requests as they are, the `Host` among their headers: signatures hold. It also counts them: see `counts`.
"""

from __future__ import annotations

import random
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from email.message import Message
from enum import Enum
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_UPSTREAM_S = 60.0
_DRIBBLES = 10


class Fault(Enum):
    """What may happen to a request."""

    ERROR = "500, and the server has heard of nothing"
    SLOW_DOWN = "503, too many requests, and the server has heard of nothing"
    RESET_BEFORE = "the connection breaks before the server has heard of the request"
    RESET_AFTER = "the connection breaks when the server has done what was asked"
    STALL = "nothing comes for a while, then the connection ends; the server has heard of nothing"
    TRUNCATE = "the answer ends in the middle of its body; without a body, before it starts"
    DRIBBLE = "the answer comes whole, but slowly"


_STATUSES = {Fault.ERROR: (500, "InternalError"), Fault.SLOW_DOWN: (503, "SlowDown")}

Answer = tuple[dict[str, str], bytes]
"""The headers and the body of an answer."""
Errors = Callable[[int, str], Answer]
"""How a cloud words an error, of its HTTP status and its code."""


def s3_error(status: int, code: str) -> Answer:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code} of the proxy</Message></Error>"
    return {"Content-Type": "application/xml"}, text.encode()


def gcs_error(status: int, code: str) -> Answer:
    text = f'{{"error": {{"code": {status}, "message": "{code}", "errors": [{{"reason": "{code}"}}]}}}}'
    return {"Content-Type": "application/json"}, text.encode()


def azure_error(status: int, code: str) -> Answer:
    headers, body = s3_error(status, code)
    return {**headers, "x-ms-error-code": code}, body


def plan(seed: int, rate: Callable[[], float], kinds: Sequence[Fault]) -> Iterator[Fault | None]:
    """What happens to each request, in the order in which they come."""
    chance = random.Random(f"faulty proxy {seed}")
    while True:
        luck, fault = chance.random(), chance.choice(kinds)
        yield fault if luck < rate() else None


def kind_of(method: str, target: str) -> str:
    """The method of a request, or `LIST` for one that lists objects: on S3, Google's storage or Azure's."""
    url = urlsplit(target)
    query = parse_qs(url.query, keep_blank_values=True)
    lists = "list-type" in query or query.get("comp") == ["list"]
    of_google = url.path.startswith("/storage/v1/b/") and url.path.endswith("/o")
    return "LIST" if method == "GET" and (lists or of_google) else method


class FaultyProxy:
    """Forwards to `upstream` (``http://host:port``), and lets the share `rate` of all requests go wrong.

    `stall_s`: how long a stall lasts, and a slow answer. `errors` words the errors as the cloud does.
    """

    def __init__(
        self, upstream: str, *, seed: int = 0, rate: float = 0.0, kinds: Sequence[Fault] = tuple(Fault),
        stall_s: float = 0.5, errors: Errors = s3_error,
    ) -> None:  # fmt: skip
        self.rate = rate
        """May be changed at any time."""
        self.stall_s = stall_s
        self.counts: Counter[str] = Counter()
        """How many requests came, by `kind_of`."""
        self.injected: Counter[Fault] = Counter()
        self.errors = errors
        self._refusal: tuple[int, str] | None = None
        self._plan = plan(seed, lambda: self.rate, kinds)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.unexpected: list[BaseException] = []
        url = urlsplit(upstream)
        self._upstream = url.hostname or "", url.port or 80
        self._server = _Server(self)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail_all(self, status: int, code: str = "") -> None:
        """From now on, answer everything with this error: the server is never asked."""
        self._refusal = status, code

    def heal(self) -> None:
        """From now on, let everything through."""
        self._refusal = None
        self.rate = 0.0

    @contextmanager
    def running(self) -> Iterator[FaultyProxy]:
        """The proxy while it runs. Raises what went wrong in it that it did not mean to."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="faulty-proxy")
        thread.start()
        try:
            yield self
        finally:
            self._closing.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()
        if self.unexpected:
            raise self.unexpected[0]

    # ------------------------------------------------------------ for its connections

    def draw(self, method: str, target: str) -> Fault | tuple[int, str] | None:
        """What happens to this request: a fault, an answer for everybody, or nothing."""
        with self._lock:
            self.counts[kind_of(method, target)] += 1
            if self._refusal is not None:
                return self._refusal
            fault = next(self._plan)
            if fault is not None:
                self.injected[fault] += 1
            return fault

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than until the proxy closes."""
        self._closing.wait(seconds)

    def ask(self, method: str, target: str, headers: Message, body: bytes) -> tuple[int, Message, bytes]:
        """The server's answer."""
        connection = HTTPConnection(*self._upstream, timeout=_UPSTREAM_S)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                if name.lower() not in ("connection", "transfer-encoding", "expect", "content-length"):
                    connection.putheader(name, value)
            if body or "content-length" in headers or "transfer-encoding" in headers:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()


class _Server(ThreadingTCPServer):
    request_queue_size = 256
    daemon_threads = False

    def __init__(self, proxy: FaultyProxy) -> None:
        self.proxy = proxy
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        # Connections that are kept alive would be waited for.
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may leave at any time; everything else is a mistake."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError):
            self.proxy.unexpected.append(error)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def __getattr__(self, name: str) -> Callable[[], None]:
        # The base looks for a method of its own for each of HTTP.
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def handle_expect_100(self) -> bool:
        goes_on = super().handle_expect_100()
        self.wfile.flush()  # the client waits for it
        return goes_on

    def _serve(self) -> None:
        proxy = self.server.proxy
        fate = proxy.draw(self.command, self.path)
        if fate is Fault.RESET_BEFORE:
            return self._reset()
        body = self._read_body()
        if fate is Fault.STALL:
            proxy.pause(proxy.stall_s)
            self.close_connection = True
            return None
        if isinstance(fate, Fault) and fate in _STATUSES:
            fate = _STATUSES[fate]
        if isinstance(fate, tuple):
            return self._refuse(*fate)
        try:
            status, headers, content = proxy.ask(self.command, self.path, self.headers, body)
        except (OSError, HTTPException):
            return self._refuse(502, "BadGateway")
        if fate is Fault.RESET_AFTER or (fate is Fault.TRUNCATE and not content):
            return self._reset()
        self._send_head(status, headers, content)
        if fate is Fault.TRUNCATE:
            self.close_connection = True
            content = content[: len(content) // 2]
        return self._write(content, proxy.stall_s if fate is Fault.DRIBBLE else 0.0)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self._read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self._read_line().split(b";")[0], 16):
            chunks.append(self._read(size))
            self._read_line()
        while self._read_line().strip():  # trailers
            pass
        return b"".join(chunks)

    def _read(self, count: int) -> bytes:
        data = self.rfile.read(count)
        if len(data) < count:
            raise ConnectionResetError("the client left in the middle of a body")
        return data

    def _read_line(self) -> bytes:
        line = self.rfile.readline()
        if not line:
            raise ConnectionResetError("the client left in the middle of a body")
        return line

    def _send_head(self, status: int, headers: Mapping[str, str] | Message, content: bytes) -> None:
        # The server's own words: its `Date` and `Server` are among the headers.
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        # What a HEAD says is the length of an object, which does not follow.
        length = headers.get("Content-Length") if self.command == "HEAD" else str(len(content))
        if length is not None and status != 204:
            self.send_header("Content-Length", length)
        self.end_headers()

    def _refuse(self, status: int, code: str) -> None:
        headers, content = self.server.proxy.errors(status, code)
        content = b"" if self.command == "HEAD" else content
        self._send_head(status, headers, content)
        self._write(content, 0.0)

    def _write(self, content: bytes, within_s: float) -> None:
        """All of it at once, or piece by piece over so many seconds."""
        step = max(1, len(content) // _DRIBBLES) if within_s else len(content) or 1
        for start in range(0, len(content), step):
            self.wfile.write(content[start : start + step])
            self.wfile.flush()
            self.server.proxy.pause(within_s / _DRIBBLES)

    def _reset(self) -> None:
        """End the connection so that the client is told of a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Not with a shutdown first, as the server does: that would be an orderly end.
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """What happened is counted, not printed."""

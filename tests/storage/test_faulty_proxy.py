"""The faulty proxy fails as it was told to, and leaves everything else as it is."""

from __future__ import annotations

import http.client
import io
import itertools
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from faulty_proxy import Fault, FaultyProxy, azure_error, gcs_error, kind_of, plan, s3_error

BODY = bytes(range(256)) * 4


class Echo(BaseHTTPRequestHandler):
    """An HTTP server that answers with what it has heard, and counts what came."""

    protocol_version = "HTTP/1.1"
    heard: Counter[str]

    def do_GET(self) -> None:
        self._answer(BODY)

    def do_PUT(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def do_HEAD(self) -> None:
        self._answer(b"", length=12345)

    def do_DELETE(self) -> None:
        self.heard[self.path] += 1
        self.send_response(204)
        self.end_headers()

    def _answer(self, content: bytes, length: int | None = None) -> None:
        self.heard[self.path] += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.send_header("X-Heard", json.dumps([self.path, *map(list, self.headers.items())]))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 256


@pytest.fixture
def heard() -> Counter[str]:
    return Counter()


@pytest.fixture
def upstream(heard: Counter[str]) -> Iterator[str]:
    handler = type("Handler", (Echo,), {"heard": heard})
    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def ask(
    proxy: FaultyProxy, method: str = "GET", target: str = "/b/k", body: Any = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    url = urlsplit(proxy.endpoint)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
    try:
        connection.request(method, target, body=body, headers=headers)
        with connection.getresponse() as answer:
            return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


# ---------------------------------------------------------------- what it lets through


@pytest.mark.parametrize(
    "body", [b"", b"some", BODY * 1000, io.BytesIO(BODY), iter([b"a", b"bc", b"d" * 70_000])]
)
def test_requests_and_answers_stay_as_they_are(upstream: str, body: Any) -> None:
    expected = (
        body if isinstance(body, bytes) else BODY if isinstance(body, io.BytesIO) else b"abc" + b"d" * 70_000
    )
    with FaultyProxy(upstream).running() as proxy:
        status, headers, content = ask(proxy, "PUT", "/b/%C3%BC%2Bk?x=1&y=", body, Authorization="signed")
    assert (status, content) == (200, expected)
    path, *heard = json.loads(headers["X-Heard"])
    assert path == "/b/%C3%BC%2Bk?x=1&y="
    assert ["Host", urlsplit(proxy.endpoint).netloc] in heard
    assert ["Authorization", "signed"] in heard


def test_who_asks_before_sending_is_told_at_once(upstream: str) -> None:
    with FaultyProxy(upstream).running() as proxy:
        place = "127.0.0.1", int(urlsplit(proxy.endpoint).port or 0)
        with socket.create_connection(place, timeout=10) as client, client.makefile("rb") as answer:
            head = "PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
            client.sendall(head.encode())
            assert answer.readline() == b"HTTP/1.1 100 Continue\r\n"
            assert answer.readline() == b"\r\n"
            client.sendall(b"body")
            assert answer.readline() == b"HTTP/1.1 200 OK\r\n"


def test_answers_without_a_body(upstream: str) -> None:
    with FaultyProxy(upstream).running() as proxy:
        status, headers, content = ask(proxy, "HEAD")
        assert (status, headers["Content-Length"], content) == (200, "12345", b"")
        status, headers, content = ask(proxy, "DELETE")
        assert (status, content) == (204, b"")


def test_a_connection_serves_many_requests(upstream: str) -> None:
    with FaultyProxy(upstream).running() as proxy:
        connection = http.client.HTTPConnection(urlsplit(proxy.endpoint).netloc, timeout=10)
        for method in ("GET", "PUT", "DELETE", "HEAD", "GET") * 3:
            connection.request(method, "/b/k", body=b"x" if method == "PUT" else None)
            sock = connection.sock
            with connection.getresponse() as answer:
                answer.read()
            assert connection.sock is sock
        # It stays open: closing the proxy does not wait for it.
    connection.close()


def test_many_clients_at_once(upstream: str) -> None:
    def work(number: int) -> bool:
        body = b"%d" % number * 1000
        return ask(proxy, "PUT", f"/b/{number}", body)[2] == body

    with FaultyProxy(upstream).running() as proxy, ThreadPoolExecutor(64) as pool:
        assert all(pool.map(work, range(256)))
    assert proxy.counts == {"PUT": 256}


def test_a_server_that_is_gone_is_a_bad_gateway() -> None:
    with FaultyProxy("http://127.0.0.1:1").running() as proxy:
        assert ask(proxy)[0] == 502


# ---------------------------------------------------------------- what it does to them


def one_fault(upstream: str, fault: Fault) -> FaultyProxy:
    return FaultyProxy(upstream, rate=1.0, kinds=[fault], stall_s=0.2)


@pytest.mark.parametrize(
    ("fault", "status", "code"), [(Fault.ERROR, 500, "InternalError"), (Fault.SLOW_DOWN, 503, "SlowDown")]
)
@pytest.mark.parametrize("errors", [s3_error, gcs_error, azure_error])
def test_errors_are_worded_as_the_cloud_does(
    upstream: str, heard: Counter[str], fault: Fault, status: int, code: str, errors: Any
) -> None:
    with FaultyProxy(upstream, rate=1.0, kinds=[fault], errors=errors).running() as proxy:
        found, headers, content = ask(proxy, "PUT", body=BODY)
        assert (found, code in content.decode()) == (status, True)
        assert ask(proxy, "HEAD")[::2] == (status, b"")
    if errors is azure_error:
        assert headers["x-ms-error-code"] == code
    assert heard == {}


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
@pytest.mark.parametrize("fault", [Fault.RESET_BEFORE, Fault.RESET_AFTER])
def test_connections_break_before_or_after_the_server_has_heard(
    upstream: str, heard: Counter[str], fault: Fault, method: str
) -> None:
    with one_fault(upstream, fault).running() as proxy, pytest.raises(ConnectionError):
        ask(proxy, method, body=BODY * 1000 if method == "PUT" else None)
    assert heard == ({"/b/k": 1} if fault is Fault.RESET_AFTER else {})
    assert proxy.injected == {fault: 1}


def test_a_stall_ends_without_an_answer(upstream: str, heard: Counter[str]) -> None:
    started = time.monotonic()
    with one_fault(upstream, Fault.STALL).running() as proxy, pytest.raises(ConnectionError):
        ask(proxy)
    assert 0.2 <= time.monotonic() - started < 5
    assert heard == {}


def test_a_stall_does_not_hold_up_the_end(upstream: str) -> None:
    started = time.monotonic()
    with (
        ThreadPoolExecutor(1) as pool,
        FaultyProxy(upstream, rate=1.0, kinds=[Fault.STALL], stall_s=60).running() as proxy,
    ):
        asking = pool.submit(ask, proxy)
        while not proxy.injected:
            assert not asking.done()
    assert isinstance(asking.exception(), ConnectionError)
    assert time.monotonic() - started < 5


def test_an_answer_may_break_off(upstream: str, heard: Counter[str]) -> None:
    with one_fault(upstream, Fault.TRUNCATE).running() as proxy:
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(proxy)
        assert caught.value.partial == BODY[: len(BODY) // 2]
        with pytest.raises(ConnectionError):
            ask(proxy, "DELETE")
    assert heard == {"/b/k": 2}


def test_an_answer_may_come_slowly(upstream: str) -> None:
    started = time.monotonic()
    with one_fault(upstream, Fault.DRIBBLE).running() as proxy:
        assert ask(proxy)[2] == BODY
    assert time.monotonic() - started >= 0.2


# ---------------------------------------------------------------- when, and how often


def test_a_seed_means_the_same_faults() -> None:
    def drawn(seed: int, rate: float) -> list[Fault | None]:
        return list(itertools.islice(plan(seed, lambda: rate, tuple(Fault)), 2000))

    assert drawn(1, 0.2) == drawn(1, 0.2) != drawn(2, 0.2)
    assert drawn(1, 0.0) == [None] * 2000
    counts = Counter(drawn(1, 0.2))
    assert 0.17 < 1 - counts[None] / 2000 < 0.23
    assert all(counts[fault] > 20 for fault in Fault)
    # What a lower rate lets happen is a part of what a higher one does.
    assert all(low in (None, high) for low, high in zip(drawn(1, 0.1), drawn(1, 0.3), strict=True))


def test_the_rate_holds_over_many_requests(upstream: str) -> None:
    kinds = [Fault.ERROR, Fault.SLOW_DOWN]
    with FaultyProxy(upstream, seed=3, rate=0.2, kinds=kinds).running() as proxy:
        statuses = Counter(ask(proxy)[0] for _ in range(300))
        assert statuses[500] + statuses[503] == proxy.injected.total()
        assert 30 < proxy.injected.total() < 90
        proxy.rate = 0.0
        assert {ask(proxy)[0] for _ in range(20)} == {200}
    assert proxy.counts == {"GET": 320}


def test_everything_can_be_made_to_fail_and_heal(upstream: str, heard: Counter[str]) -> None:
    with FaultyProxy(upstream, rate=1.0, kinds=[Fault.RESET_BEFORE]).running() as proxy:
        proxy.fail_all(403, "ExpiredToken")
        for method in ("GET", "PUT"):
            status, _, content = ask(proxy, method)
            assert (status, b"<Code>ExpiredToken</Code>" in content) == (403, True)
        assert heard == {}
        proxy.heal()
        assert ask(proxy)[0] == 200


@pytest.mark.parametrize(
    ("method", "target", "kind"),
    [
        ("GET", "/b?list-type=2&prefix=x", "LIST"),
        ("GET", "/b/k?list-type", "LIST"),
        ("GET", "/storage/v1/b/bucket/o?prefix=x", "LIST"),
        ("GET", "/account/b?restype=container&comp=list", "LIST"),
        ("GET", "/storage/v1/b/bucket/o/key?alt=media", "GET"),
        ("GET", "/b/list-type", "GET"),
        ("GET", "/account/b/k", "GET"),
        ("POST", "/b?delete", "POST"),
        ("HEAD", "/b?list-type=2", "HEAD"),
    ],
)
def test_listings_are_told_from_reads(method: str, target: str, kind: str) -> None:
    assert kind_of(method, target) == kind

"""Uploads to Google Cloud Storage, on a server that keeps to what Google writes of them where the emulator does not.

https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import io
import json
import random
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from email import message_from_bytes
from http.client import HTTPConnection
from typing import Any

import pytest
from fake_gcs_server import Answer, Request, answering
from hypothesis import given
from hypothesis import strategies as st

from lithops.exceptions import AccessDenied, AlreadyExists, StorageError, StorageUnavailable
from lithops.storage.backends.gcp_storage import backend as backend_module
from lithops.storage.backends.gcp_storage import connection
from lithops.storage.backends.gcp_storage.backend import GcpStorage
from lithops.storage.backends.gcp_storage.config import GcpStorageConfig
from lithops.storage.backends.gcp_storage.uploading import mark_last
from lithops.testing.samples import BODIES, SourceBrokeOff, unseekable

UNIT = 256 << 10
"""What Google counts pieces in."""
BUCKET = "lithops-gcp-uploads"
LOST = "done, but the answer is lost"
REFUSED = "503"
PARTLY = "a part of the piece is taken"


@dataclass
class Session:
    """An upload that goes on."""

    name: str
    only_if_absent: bool
    metadata: dict[str, str]
    data: bytearray = field(default_factory=bytearray)
    finished: Answer | None = None


class Google:
    """The objects, the uploads, and what happens to the next requests."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, dict[str, str]]] = {}
        self.sessions: dict[str, Session] = {}
        self.fates: list[str | None] = []
        self.requests: list[str] = []
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request.method)
            fate = self.fates.pop(0) if self.fates else None
            if fate == REFUSED:
                return _refusal(503)
            answer = self._serve(request, partly=fate == PARTLY)
            return Answer(sent=-1) if fate == LOST else answer

    def _serve(self, request: Request, *, partly: bool) -> Answer:
        if request.path.startswith("/session/"):
            if request.method == "DELETE":
                del self.sessions[request.path]
                return Answer(499)
            return self._continue(self.sessions[request.path], request, partly=partly)
        if request.method == "GET":
            name = request.path.rpartition("/")[2]
            return _described(name, self.objects[name][1]) if name in self.objects else _refusal(404)
        only_if_absent = request.query.get("ifGenerationMatch") == "0"
        if request.query["uploadType"] == "multipart":
            head = b"Content-Type: " + request.headers["Content-Type"].encode() + b"\r\n\r\n"
            parts: Any = message_from_bytes(head + request.body).get_payload()
            described, data = json.loads(parts[0].get_payload()), parts[1].get_payload(decode=True)
            return self._store(described["name"], data, described.get("metadata", {}), only_if_absent)
        name = request.query["name"]
        if only_if_absent and name in self.objects:
            return _refusal(412)
        path = f"/session/{len(self.sessions)}"
        self.sessions[path] = Session(name, only_if_absent, json.loads(request.body)["metadata"])
        return Answer(headers={"Location": f"http://{request.headers['Host']}{path}"})

    def _continue(self, session: Session, request: Request, *, partly: bool) -> Answer:
        if session.finished is not None:
            return session.finished
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", request.headers["Content-Range"])
        assert match is not None
        first, last = int(match[1]), int(match[2])
        assert len(request.body) == last - first + 1
        assert first <= len(session.data), "bytes are missing"
        assert match[3] != "*" or len(request.body) % UNIT == 0, "only the last piece may have any length"
        new = request.body[len(session.data) - first :]
        session.data += new[: len(new) // 2 // UNIT * UNIT] if partly else new
        if match[3] != "*" and len(session.data) == int(match[3]):
            session.finished = self._store(
                session.name, bytes(session.data), session.metadata, session.only_if_absent
            )
            return session.finished
        taken = {"Range": f"bytes=0-{len(session.data) - 1}"} if session.data else {}
        return Answer(308, headers=taken)

    def _store(self, name: str, data: bytes, metadata: dict[str, str], only_if_absent: bool) -> Answer:
        if only_if_absent and name in self.objects:
            return _refusal(412)
        self.objects[name] = data, metadata
        return _described(name, metadata)


def _described(name: str, metadata: dict[str, str]) -> Answer:
    return Answer(body=json.dumps({"name": name, "metadata": metadata}).encode())


def _refusal(status: int) -> Answer:
    return Answer(status, json.dumps({"error": {"code": status, "message": "No such object"}}).encode())


@pytest.fixture
def google() -> Google:
    return Google()


@pytest.fixture
def storage(google: Google, monkeypatch: pytest.MonkeyPatch) -> Iterator[GcpStorage]:
    monkeypatch.setattr(connection.RETRY, "_maximum", 0.001)
    monkeypatch.setattr(backend_module, "PIECE_BYTES", 2 * UNIT)
    with (
        answering(google.answer) as endpoint,
        closing(GcpStorage(GcpStorageConfig(endpoint=endpoint))) as storage,
    ):
        yield storage


# ---------------------------------------------------------------- pieces


@given(st.lists(st.binary(max_size=3)))
def test_the_last_piece_is_known_as_such(pieces: list[bytes]) -> None:
    last = [False] * (len(pieces) - 1) + [True]
    assert list(mark_last(iter(pieces))) == list(zip(pieces, last, strict=False))


# ---------------------------------------------------------------- whole, in spite of everything


@pytest.mark.parametrize("kind", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("size", [2 * UNIT, 2 * UNIT + 1, 6 * UNIT, 7 * UNIT + 5])
def test_large_bodies_arrive(google: Google, storage: GcpStorage, kind: Any, size: int) -> None:
    body = random.Random(size).randbytes(size)
    storage.put(BUCKET, "k", kind(body))
    assert google.objects == {"k": (body, {})}
    pieces = -(-size // (2 * UNIT))
    assert google.requests == ["POST"] if pieces == 1 else ["POST", *["PUT"] * pieces]


@pytest.mark.parametrize("seed", range(30))
def test_large_bodies_arrive_on_a_bad_day(google: Google, storage: GcpStorage, seed: int) -> None:
    chance = random.Random(seed)
    google.fates = chance.choices([None, LOST, REFUSED, PARTLY], k=12)
    body = chance.randbytes(chance.choice([3 * UNIT, 6 * UNIT, 7 * UNIT + 5]))
    storage.put(BUCKET, "k", unseekable(body), if_absent=seed % 2 == 0)
    assert google.objects["k"][0] == body


def test_an_upload_that_does_not_go_on_is_given_up(
    google: Google, storage: GcpStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection.RETRY, "_timeout", 0.2)
    google.fates = [None, *[PARTLY] * 100_000]
    body = io.BytesIO(bytes(3 * UNIT))
    # Of the second piece, which is one unit long, half is nothing.
    with pytest.raises(StorageUnavailable, match="does not go on"):
        storage.put(BUCKET, "k", body)
    assert (google.objects, google.sessions) == ({}, {})


def test_the_time_limit_holds_for_bits_of_a_large_body(
    google: Google, storage: GcpStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    send = HTTPConnection.send

    def record(self: HTTPConnection, data: Any) -> None:
        sent.append(len(data))
        send(self, data)

    # A socket's time limit is for all that is given to it at once.
    monkeypatch.setattr(HTTPConnection, "send", record)
    for body in (bytes(UNIT), bytes(3 * UNIT)):
        storage.put(BUCKET, "k", body)
        assert google.objects["k"][0] == body
    assert sum(sent) > 4 * UNIT
    assert max(sent) <= 65_536


# ---------------------------------------------------------------- nothing, if it is not whole


def test_a_source_that_breaks_off_leaves_no_upload(google: Google, storage: GcpStorage) -> None:
    for size in (UNIT, 5 * UNIT):
        with pytest.raises(SourceBrokeOff):
            storage.put(BUCKET, "k", unseekable(bytes(size), breaks_off=True))
        assert (google.objects, google.sessions) == ({}, {})


def test_a_refusal_in_the_middle_leaves_no_upload_and_tells_no_secret(
    google: Google, storage: GcpStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(google, "_continue", lambda session, request, partly: _refusal(403))
    with pytest.raises(AccessDenied) as caught:
        storage.put(BUCKET, "k", bytes(5 * UNIT))
    assert (google.objects, google.sessions) == ({}, {})
    # Who knows an upload's URL can write to it.
    assert "session" not in str(caught.value)


def test_an_upload_that_cannot_be_cancelled_hides_nothing(
    google: Google, storage: GcpStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    google.fates = [None, None, LOST]
    with pytest.raises(SourceBrokeOff):
        storage.put(BUCKET, "k", unseekable(bytes(5 * UNIT), breaks_off=True))
    assert google.objects == {}


# ---------------------------------------------------------------- conditions


SMALL, LARGE = b"mine", bytes(5 * UNIT)


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_the_second_of_two_conditional_puts_is_refused(
    google: Google, storage: GcpStorage, body: bytes
) -> None:
    storage.put(BUCKET, "k", b"first", if_absent=True)
    with pytest.raises(AlreadyExists):
        storage.put(BUCKET, "k", body, if_absent=True)
    assert google.objects["k"][0] == b"first"


def test_the_condition_holds_when_a_large_body_has_arrived(google: Google, storage: GcpStorage) -> None:
    def body() -> Iterator[bytes]:
        yield LARGE
        storage.put(BUCKET, "k", b"rival", if_absent=True)
        yield b"end"

    rest = body()
    with pytest.raises(AlreadyExists):
        storage.put(BUCKET, "k", _Reading(rest), if_absent=True)  # type: ignore[arg-type]
    assert google.objects["k"][0] == b"rival"


class _Reading:
    """A file made of what an iterator gives."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, size: int) -> bytes:
        return next(self._chunks, b"")


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
def test_a_conditional_put_whose_answer_is_lost_has_won(
    google: Google, storage: GcpStorage, body: bytes
) -> None:
    attempts = 1 if body is SMALL else 4
    google.fates = [*[None] * (attempts - 1), LOST]
    storage.put(BUCKET, "k", body, if_absent=True)
    assert google.objects["k"][0] == body
    assert len(google.requests) > attempts
    # The same bytes are another put all the same.
    with pytest.raises(AlreadyExists):
        storage.put(BUCKET, "k", body, if_absent=True)


def test_a_winner_that_is_deleted_at_once_was_a_winner(google: Google, storage: GcpStorage) -> None:
    serve = google._serve

    def refused(request: Request, *, partly: bool) -> Answer:
        return serve(request, partly=partly) if request.method == "GET" else _refusal(412)

    google._serve = refused  # type: ignore[method-assign]
    with pytest.raises(AlreadyExists):
        storage.put(BUCKET, "k", SMALL, if_absent=True)
    with pytest.raises(StorageError):
        storage.put(BUCKET, "k", SMALL)
    assert google.requests == ["POST", "GET", "POST"]

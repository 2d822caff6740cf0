"""What goes wrong with Google Cloud Storage: every error has one meaning, and what passes is not seen."""

from __future__ import annotations

import json
import random
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import requests
from certificates import write_service_account
from fake_gcs_server import Answer, FakeGcs, Request, answering
from faulty_proxy import Fault, FaultyProxy, gcs_error
from google.api_core.exceptions import from_http_status
from server import free_ports

from lithops.exceptions import (
    AccessDenied,
    AlreadyExists,
    InvalidKey,
    NoSuchBucket,
    StorageError,
    StorageNoSuchKeyError,
    StorageUnavailable,
)
from lithops.storage.backends.gcp_storage import connection
from lithops.storage.backends.gcp_storage.backend import GcpStorage
from lithops.storage.backends.gcp_storage.config import GcpStorageConfig
from lithops.storage.backends.gcp_storage.errors import translate

BUCKET = "lithops-gcp-failures"
Use = Callable[[GcpStorage], Any]
USES: dict[str, Use] = {
    "put": lambda storage: storage.put(BUCKET, "k", b"body"),
    "put if absent": lambda storage: storage.put(BUCKET, "k", b"body", if_absent=True),
    "put much": lambda storage: storage.put(BUCKET, "k", bytes(9_000_000)),
    "get": lambda storage: storage.get(BUCKET, "k"),
    "open": lambda storage: storage.open(BUCKET, "k"),
    "head": lambda storage: storage.head(BUCKET, "k"),
    "list": lambda storage: list(storage.list(BUCKET, "k")),
    "delete": lambda storage: storage.delete(BUCKET, ["k"]),
    "delete many": lambda storage: storage.delete(BUCKET, [f"k{number}" for number in range(10)]),
    "ensure bucket": lambda storage: storage.ensure_bucket(BUCKET),
}
NO_BUCKET = "The specified bucket does not exist."
NO_OBJECT = f"No such object: {BUCKET}/k"
DENIED = (
    "me@p.iam.gserviceaccount.com does not have storage.objects.get access to the Google Cloud Storage object. "
    "Permission 'storage.objects.get' denied on resource (or it may not exist)."
)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other at once, and are given up soon."""
    monkeypatch.setattr(connection.RETRY, "_maximum", 0.001)
    monkeypatch.setattr(connection.RETRY, "_timeout", 0.05)


@contextmanager
def storage_at(endpoint: str, **settings: Any) -> Iterator[GcpStorage]:
    with closing(GcpStorage(GcpStorageConfig(endpoint=endpoint, **settings))) as storage:
        yield storage


def refusal(status: int, reason: str, message: str) -> Answer:
    """An error as Google words it: https://cloud.google.com/storage/docs/json_api/v1/status-codes."""
    error = {"domain": "global", "reason": reason, "message": message}
    body = {"error": {"code": status, "message": message, "errors": [error]}}
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json; charset=UTF-8"})


def as_google_words_it(refused: Answer) -> Callable[[Request], Answer]:
    """Of downloads, Google refuses in plain text."""
    message = json.loads(refused.body)["error"]["message"]
    plain = Answer(refused.status, message.encode(), {"Content-Type": "text/html; charset=UTF-8"})
    return lambda request: plain if request.query.get("alt") == "media" else refused


# ---------------------------------------------------------------- one meaning for each


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize(
    ("refused", "meaning", "words"),
    [
        (refusal(400, "invalid", "Invalid argument."), StorageError, "status 400 .*Invalid argument"),
        (refusal(401, "authError", "Invalid Credentials"), AccessDenied, "credentials"),
        (refusal(403, "forbidden", DENIED), AccessDenied, r"storage\.objects\.get.*Storage Object User"),
        (refusal(405, "methodNotAllowed", "Not here"), StorageError, "status 405"),
        (refusal(408, "requestTimeout", "Too slow"), StorageUnavailable, "Too slow"),
        (refusal(413, "uploadTooLarge", "Too much"), StorageError, "status 413"),
        (refusal(429, "rateLimitExceeded", "Slow down"), StorageUnavailable, "Slow down.*try again later"),
        (refusal(500, "backendError", "Backend Error"), StorageUnavailable, "Backend Error"),
        (refusal(502, "badGateway", "Bad Gateway"), StorageUnavailable, "Bad Gateway"),
        (refusal(503, "backendError", "Unavailable"), StorageUnavailable, "Unavailable"),
        (refusal(504, "gatewayTimeout", "Timeout"), StorageUnavailable, "Timeout"),
    ],
    ids=lambda value: getattr(value, "status", None),
)
def test_each_refusal_has_one_meaning(use: Use, refused: Answer, meaning: type, words: str) -> None:
    with answering(as_google_words_it(refused)) as endpoint, storage_at(endpoint) as storage:
        with pytest.raises(StorageError, match=words) as caught:
            use(storage)
        assert type(caught.value) is meaning
        assert BUCKET in str(caught.value)
        if meaning is StorageUnavailable:
            assert endpoint in str(caught.value)


@pytest.mark.parametrize("use", sorted(USES.keys() - {"ensure bucket"}))
def test_a_missing_bucket_is_told_at_once(use: str) -> None:
    asked: list[Request] = []

    def answer(request: Request) -> Answer:
        asked.append(request)
        return as_google_words_it(refusal(404, "notFound", NO_BUCKET))(request)

    with (
        answering(answer) as endpoint,
        storage_at(endpoint) as storage,
        pytest.raises(NoSuchBucket, match=BUCKET),
    ):
        USES[use](storage)
    assert len(asked) == (10 if use == "delete many" else 1)


@pytest.mark.parametrize("use", ["get", "open", "head"])
def test_a_missing_object_is_told_from_a_missing_bucket(use: str) -> None:
    there, missing = Answer(body=b'{"kind": "storage#objects"}'), refusal(404, "notFound", "Not Found")
    cases = [
        (NO_OBJECT, there, StorageNoSuchKeyError, 1),
        (NO_BUCKET, missing, NoSuchBucket, 1),
        ("Not Found", there, StorageNoSuchKeyError, 2),
        ("Not Found", missing, NoSuchBucket, 2),
    ]
    for message, listed, meaning, requests_made in cases:
        refused = as_google_words_it(refusal(404, "notFound", message))
        asked: list[Request] = []

        def answer(
            request: Request, *, listed: Answer = listed, refused: Any = refused, asked: Any = asked
        ) -> Answer:
            asked.append(request)
            return listed if request.path.endswith("/o") else cast(Answer, refused(request))

        with answering(answer) as endpoint, storage_at(endpoint) as storage, pytest.raises(meaning):
            USES[use](storage)
        assert len(asked) == requests_made, [each.path for each in asked]


def test_a_bucket_that_cannot_be_listed_is_there() -> None:
    denied = refusal(403, "forbidden", DENIED)
    with (
        answering(lambda request: denied if request.path.endswith("/o") else Answer(404)) as endpoint,
        storage_at(endpoint) as storage,
    ):
        with pytest.raises(StorageNoSuchKeyError):
            storage.get(BUCKET, "k")
        storage.delete(BUCKET, ["k", "l"])


def test_deleting_what_is_missing_is_no_error_but_one_denied_key_is() -> None:
    def answer(request: Request) -> Answer:
        assert request.method == "DELETE"
        return refusal(403, "forbidden", "held") if request.path.endswith("/held") else missing

    missing = refusal(404, "notFound", NO_OBJECT)
    with answering(answer) as endpoint, storage_at(endpoint) as storage:
        storage.delete(BUCKET, ["k", "l", "m"])
        with pytest.raises(AccessDenied, match="'held'"):
            storage.delete(BUCKET, ["k", "held", "m"])


@pytest.mark.usefixtures("impatient")
def test_limits_of_rates_are_not_lacks_of_rights() -> None:
    refused = refusal(403, "rateLimitExceeded", "Rate limit exceeded")
    with (
        answering(lambda request: refused) as endpoint,
        storage_at(endpoint) as storage,
        pytest.raises(StorageUnavailable),
    ):
        storage.head(BUCKET, "k")


def test_a_bucket_is_made_in_its_region_unless_somebody_else_has_it() -> None:
    def answer(request: Request) -> Answer:
        if request.method == "GET":
            return probes.pop(0)
        made.append((request.query, json.loads(request.body)))
        return created

    made: list[Any] = []
    missing, denied = refusal(404, "notFound", NO_BUCKET), refusal(403, "forbidden", DENIED)
    there = Answer(body=b'{"kind": "storage#objects"}')
    conflict = refusal(409, "conflict", "Your previous request to create the named bucket succeeded.")
    with (
        answering(answer) as endpoint,
        storage_at(endpoint, region="europe-west1", project_name="p") as storage,
    ):
        probes, created = [missing], Answer(body=b'{"name": "b"}')
        storage.ensure_bucket(BUCKET)
        ((query, description),) = made
        assert query["project"] == "p"
        assert description == {"name": BUCKET, "location": "europe-west1"}
        probes, created = [missing, there], conflict
        storage.ensure_bucket(BUCKET)
        probes = [missing, denied]
        with pytest.raises(AccessDenied, match="somebody else"):
            storage.ensure_bucket(BUCKET)
        probes, created = [missing], refusal(412, "orgPolicyConstraintFailed", "Constraint violated")
        with pytest.raises(AccessDenied, match="Constraint"):
            storage.ensure_bucket(BUCKET)
        probes, created = [missing, missing], conflict
        with pytest.raises(StorageUnavailable, match="being deleted"):
            storage.ensure_bucket(BUCKET)


def test_no_status_is_without_a_meaning() -> None:
    for code in range(400, 600):
        error = from_http_status(code, "words")  # type: ignore[no-untyped-call]
        for key in ("", "k"):
            meaning = translate(error, endpoint="there", bucket="b", key=key, bucket_exists=lambda: True)
            assert isinstance(meaning, StorageError)
            assert ";" in str(meaning), "it says what to do"
            assert isinstance(meaning, StorageUnavailable) == (code >= 500 or code in (408, 410, 429))


@pytest.mark.parametrize(
    ("error", "meaning", "words"),
    [
        (requests.exceptions.InvalidSchema("no"), StorageError, "https://"),
        (requests.ConnectionError("refused"), StorageUnavailable, "refused"),
        (requests.Timeout(), StorageUnavailable, "Timeout"),
        (ConnectionResetError(104, "reset"), StorageUnavailable, "reset"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), InvalidKey, "surrogates"),
    ],
)
def test_what_is_no_answer_has_a_meaning_too(error: Exception, meaning: type, words: str) -> None:
    translated = translate(error, endpoint="there", bucket="b", key="k", bucket_exists=lambda: True)
    assert type(translated) is meaning
    assert words in str(translated)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_closed_port(use: Use) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    with storage_at(endpoint) as storage, pytest.raises(StorageUnavailable, match=re.escape(endpoint)):
        use(storage)


@pytest.mark.usefixtures("impatient")
def test_a_server_that_says_nothing_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TIMEOUT_S", (0.1, 0.1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with storage_at(endpoint) as storage, pytest.raises(StorageUnavailable, match="timed out"):
            storage.get(BUCKET, "k")


# ---------------------------------------------------------------- who asks


@pytest.mark.parametrize(
    ("status", "error", "meaning", "words"),
    [
        (400, "invalid_grant", AccessDenied, "expired or been deleted"),
        (401, "invalid_client", AccessDenied, "expired or been deleted"),
        (503, "unavailable", StorageUnavailable, "try again later"),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_a_key_that_google_does_not_accept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, error: str, meaning: type, words: str
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setattr("google.auth._exponential_backoff.time.sleep", lambda seconds: None)
    body = json.dumps({"error": error, "error_description": "Invalid JWT Signature."}).encode()
    with answering(lambda request: Answer(status, body, {"Content-Type": "application/json"})) as endpoint:
        path = write_service_account(tmp_path, f"{endpoint}/token")
        with closing(GcpStorage(GcpStorageConfig(credentials_path=str(path)))) as storage:
            for use in USES.values():
                with pytest.raises(meaning, match=words):
                    use(storage)


# ---------------------------------------------------------------- what passes


@pytest.fixture
def proxy(fake_gcs: FakeGcs) -> Iterator[FaultyProxy]:
    with FaultyProxy(fake_gcs.endpoint, errors=gcs_error, seed=7, stall_s=0.05).running() as proxy:
        yield proxy


@pytest.fixture
def storage(proxy: FaultyProxy) -> Iterator[GcpStorage]:
    with storage_at(proxy.endpoint) as storage:
        storage.ensure_bucket(BUCKET)
        yield storage
        proxy.heal()
        storage.delete(BUCKET, [info.key for info in storage.list(BUCKET)])


def test_one_failing_request_in_five_is_not_seen(
    proxy: FaultyProxy, storage: GcpStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection.RETRY, "_maximum", 0.01)

    def work(number: int) -> None:
        key, body = f"faults/{number:03d}", random.Random(number).randbytes(number * 1_000)
        storage.put(BUCKET, key, body, if_absent=number % 2 == 0)
        assert storage.head(BUCKET, key).size == len(body)
        assert storage.get(BUCKET, key) == body
        with storage.open(BUCKET, key) as stream:
            assert stream.read() == body
        if number % 2 == 0:
            with pytest.raises(AlreadyExists):
                storage.put(BUCKET, key, b"rival", if_absent=True)

    proxy.rate = 0.2
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(64)))
    assert len(list(storage.list(BUCKET, "faults/"))) == 64
    storage.delete(BUCKET, [f"faults/{number:03d}" for number in range(64)])
    assert proxy.injected.total() > 40
    assert len(proxy.injected) == len(Fault)
    assert list(storage.list(BUCKET)) == []


def test_a_body_that_always_breaks_off_is_read_on_from_there(proxy: FaultyProxy, storage: GcpStorage) -> None:
    body = random.Random(3).randbytes(3_000_000)
    storage.put(BUCKET, "k", body)
    cut_short = FaultyProxy(proxy.endpoint, rate=1.0, kinds=[Fault.TRUNCATE])
    with cut_short.running(), storage_at(cut_short.endpoint) as reader:
        # Each answer is half of what is still wanted, down to one byte, of which half is none.
        with reader.open(BUCKET, "k") as stream:
            assert stream.read(2_900_000) == body[:2_900_000]
            cut_short.heal()
            assert stream.read() == body[2_900_000:]
        cut_short.rate = 0.7
        assert reader.get(BUCKET, "k") == body
    assert proxy.counts["LIST"] == 1


@pytest.mark.usefixtures("impatient")
def test_an_answer_that_never_comes_whole_is_given_up(storage: GcpStorage) -> None:
    broken = Answer(body=b"x" * 100, headers={"X-Goog-Generation": "1"}, sent=0)
    with answering(lambda request: broken) as endpoint, storage_at(endpoint) as reader:
        with pytest.raises(StorageUnavailable):
            reader.get(BUCKET, "k")
        with reader.open(BUCKET, "k") as stream, pytest.raises(StorageUnavailable):
            stream.read()


def test_two_generations_of_an_object_are_never_mixed(proxy: FaultyProxy, storage: GcpStorage) -> None:
    storage.put(BUCKET, "k", b"o" * 2_000_000)
    cut_short = FaultyProxy(proxy.endpoint, rate=1.0, kinds=[Fault.TRUNCATE])
    with cut_short.running(), storage_at(cut_short.endpoint) as reader, reader.open(BUCKET, "k") as stream:
        assert stream.read(10) == b"o" * 10
        storage.put(BUCKET, "k", b"n" * 2_000_000)
        cut_short.heal()
        with pytest.raises(StorageUnavailable, match="replaced"):
            stream.read()


@pytest.mark.parametrize(
    "other",
    [Answer(body=b"whole"), Answer(206, b"less"), Answer(416, b"none")],
    ids=["whole", "less", "none"],
)
def test_an_answer_to_another_question_is_not_taken_for_the_rest(other: Answer) -> None:
    answers = [Answer(body=b"x" * 100, headers={"X-Goog-Generation": "1"}, sent=50), other]
    with answering(lambda request: answers.pop(0)) as endpoint, storage_at(endpoint) as reader:
        with pytest.raises(StorageUnavailable, match="not the part"):
            reader.get(BUCKET, "k")
        assert answers == []

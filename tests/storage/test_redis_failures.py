"""What a Redis server refuses becomes one of our errors; what breaks on the way to it is most often not noticed."""

from __future__ import annotations

import inspect
import io
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.exceptions
from certificates import make_certificate
from redis._parsers.base import BaseParser
from server import free_ports
from valkey_server import Valkey, running_valkey, way_to

from lithops.exceptions import AccessDenied, AlreadyExists, LithopsError, StorageError, StorageUnavailable
from lithops.storage import patience
from lithops.storage.backends.redis import backend as backend_module
from lithops.storage.backends.redis.backend import RedisStorage
from lithops.storage.backends.redis.config import RedisConfig
from lithops.storage.backends.redis.errors import translate_errors
from lithops.storage.backends.redis.layout import PART_BYTES
from lithops.wire.messages import ByteRange


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A server of this module's own: its settings are changed."""
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@contextmanager
def storage(server: Valkey, **others: Any) -> Iterator[RedisStorage]:
    backend = RedisStorage(RedisConfig(**{**server.settings, **others}))
    try:
        yield backend
    finally:
        backend.close()


@pytest.fixture
def backend(valkey: Valkey) -> Iterator[RedisStorage]:
    with storage(valkey) as backend:
        backend.ensure_bucket("bucket")
        yield backend
        backend.client().flushall()


# ---------------------------------------------------------------- what the server says


@pytest.mark.parametrize(
    ("answer", "kind", "advice"),
    [
        ("WRONGPASS invalid username-password pair or user is disabled.", AccessDenied, "`password`"),
        ("NOAUTH Authentication required.", AccessDenied, "`password`"),
        ("ERR invalid password", AccessDenied, "`password`"),
        ("ERR wrong number of arguments for 'auth' command", AccessDenied, "`username`"),
        (
            "ERR AUTH <password> called without any password configured for the default user. "
            "Are you sure your configuration is correct?",
            AccessDenied,
            "`password`",
        ),
        ("NOPERM User me has no permissions to run the 'set' command", AccessDenied, "ACL SETUSER"),
        (
            "ACL failure in script: User me has no permissions to run the 'time' command",
            AccessDenied,
            "ACL SETUSER",
        ),
        ("OOM command not allowed when used memory > 'maxmemory'.", StorageUnavailable, "`maxmemory`"),
        (
            "ERR Error running script (call to f_12): @user_script:20: -OOM command not allowed when used memory",
            StorageUnavailable,
            "`maxmemory`",
        ),
        ("READONLY You can't write against a read only replica.", StorageUnavailable, "primary"),
        ("MASTERDOWN Link with MASTER is down", StorageUnavailable, "primary"),
        ("LOADING Redis is loading the dataset in memory", StorageUnavailable, "later"),
        ("BUSY Redis is busy running a script.", StorageUnavailable, "later"),
        ("MISCONF Redis is configured to save RDB snapshots", StorageUnavailable, "disk"),
        ("NOREPLICAS Not enough good replicas to write.", StorageUnavailable, "later"),
        ("ERR max number of clients reached", StorageUnavailable, "`maxclients`"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", StorageError, "`db`"),
        ("ERR DB index is out of range", StorageError, "`db`"),
        ("ERR SELECT is not allowed in cluster mode", StorageError, "`db`"),
        ("ERR unknown command 'UNLINK'", StorageError, "Redis 5"),
        ("MOVED 3999 127.0.0.1:6381", StorageError, "Cluster"),
        ("CROSSSLOT Keys in request don't hash to the same slot", StorageError, "Cluster"),
        ("CLUSTERDOWN The cluster is down", StorageError, "Cluster"),
        ("ERR something new", StorageError, "log"),
    ],
)
def test_every_answer_of_the_server_becomes_one_of_our_errors(
    answer: str, kind: type[StorageError], advice: str
) -> None:
    error = BaseParser.parse_error(answer)  # type: ignore[no-untyped-call]
    said = r"object 'k' of bucket 'b': Redis at host:1 says "
    with pytest.raises(StorageError, match=said) as caught, translate_errors("host:1", "b", "k"):
        raise error
    assert type(caught.value) is kind
    assert advice in str(caught.value).partition("; ")[2]
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "kind",
    [
        cls
        for cls in vars(redis.exceptions).values()
        if inspect.isclass(cls) and issubclass(cls, redis.exceptions.RedisError)
    ],
)
def test_every_error_of_the_library_becomes_one_of_ours(kind: type[redis.RedisError]) -> None:
    error = kind.__new__(kind)
    said = r"bucket 'b': Redis at host:1 says '.+'; .+"
    with pytest.raises(StorageError, match=said), translate_errors("host:1", "b"):
        raise error


def test_errors_of_others_pass() -> None:
    for error in (KeyError("x"), LithopsError("x"), OSError("x")):
        with pytest.raises(type(error)) as caught, translate_errors("host:1", "b"):
            raise error
        assert caught.value is error


def test_the_rights_that_the_readme_names_suffice(valkey: Valkey, backend: RedisStorage) -> None:
    readme = Path(backend_module.__file__).with_name("README.md").read_text()
    (given,) = re.findall(r"^ACL SETUSER lithops on >password (.*)$", readme, re.MULTILINE)
    backend.client().execute_command("ACL", "SETUSER", "lithops", "on", ">password", *given.split())
    with storage(valkey, username="lithops", password="password") as limited:
        limited.ensure_bucket("theirs")
        for body in (b"small", bytes(PART_BYTES + 1), b"small"):
            limited.put("theirs", "k", body)
            assert limited.get("theirs", "k") == body
            with limited.open("theirs", "k", ByteRange(1, 3)) as stream:
                assert stream.read() == body[1:3]
            assert list(limited.list("theirs")) == [limited.head("theirs", "k")]
        limited.put("theirs", "new", b"", if_absent=True)
        limited.delete("theirs", ["k", "new"])
        with pytest.raises(redis.exceptions.NoPermissionError):
            limited.client().set("another program's", b"")
    backend.client().acl_deluser("lithops")


def test_a_full_memory(backend: RedisStorage) -> None:
    backend.put("bucket", "old", b"old")
    backend.put("bucket", "large", bytes(PART_BYTES + 1))
    before = list(backend.list("bucket"))
    backend.client().config_set("maxmemory", 1)
    try:
        for key in ("old", "new", "large"):
            for body in (b"new", bytes(PART_BYTES + 1)):
                with pytest.raises(StorageUnavailable, match=f"'{key}'.*memory is full"):
                    backend.put("bucket", key, body)
        assert list(backend.list("bucket")) == before
        assert backend.get("bucket", "old") == b"old"
        assert len(backend.client().keys("lithops:storage:part:*")) == 2
        backend.delete("bucket", ["large"])
    finally:
        backend.client().config_set("maxmemory", 0)
    backend.put("bucket", "old", b"new")
    assert backend.get("bucket", "old") == b"new"


def test_a_replica_is_read_and_not_written(backend: RedisStorage) -> None:
    backend.put("bucket", "k", b"old")
    backend.client().replicaof("127.0.0.1", str(free_ports(1)[0]))
    try:
        assert backend.get("bucket", "k") == b"old"
        changes: list[Callable[[], None]] = [
            lambda: backend.put("bucket", "k", b"new"),
            lambda: backend.delete("bucket", ["k"]),
            lambda: backend.ensure_bucket("other"),
        ]
        for change in changes:
            with pytest.raises(StorageUnavailable, match="replica"):
                change()
    finally:
        backend.client().replicaof("NO", "ONE")
    assert backend.get("bucket", "k") == b"old"


def test_a_busy_server(valkey: Valkey, backend: RedisStorage) -> None:
    backend.client().config_set("busy-reply-threshold", 10)
    stuck = threading.Thread(target=_loop_for_ever, args=(valkey,))
    stuck.start()
    try:
        with pytest.raises(StorageUnavailable, match="a script of somebody else"):
            _until_refused(lambda: backend.get_many("bucket", ["k"]))
    finally:
        backend.client().script_kill()
        stuck.join()


def _until_refused(use: Callable[[], object]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:  # the script has to begin, and to be long enough in it
        use()


def _loop_for_ever(valkey: Valkey) -> None:
    with storage(valkey) as backend, suppress(redis.ResponseError):
        backend.client().eval("while true do end", 0)


def test_a_database_that_the_server_does_not_have(valkey: Valkey) -> None:
    with storage(valkey, db=99) as backend, pytest.raises(StorageError, match=r"DB index.*set `db`"):
        backend.head("bucket", "k")


def test_another_programs_data_is_not_touched(backend: RedisStorage) -> None:
    backend.client().set("lithops:storage:index:bucket", "not ours")
    for use in (
        lambda: list(backend.list("bucket")),
        lambda: backend.head("bucket", "k"),
        lambda: backend.put("bucket", "k", b""),
    ):
        with pytest.raises(StorageError, match="another program"):
            use()
    assert backend.client().get("lithops:storage:index:bucket") == b"not ours"


# ---------------------------------------------------------------- what is not tried again, and what is


def test_wrong_credentials_are_not_tried_again(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", _no_sleep)
    others = ({"password": "wrong"}, {"username": "nobody"}, {"password": None})
    for credentials in others:
        with storage(valkey, **credentials) as backend:
            with pytest.raises(AccessDenied, match="check `username` and `password`") as caught:
                backend.get("bucket", "k")
            assert "wrong" not in str(caught.value).partition("; ")[0]


def _no_sleep(seconds: float) -> None:
    raise AssertionError("it is tried again")


def test_nobody_listens(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[float] = []
    monkeypatch.setattr(time, "sleep", delays.append)
    port = free_ports(1)[0]
    said = f"127.0.0.1:{port}.*check `host`, `port`"
    with storage(valkey, port=port) as backend, pytest.raises(StorageUnavailable, match=said):
        backend.put("bucket", "k", b"")
    assert len(delays) == 7
    assert delays[0] <= 0.1
    assert sum(delays) < 13


def test_nobody_answers(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(backend_module, "READ_S", 0.05)
    silent = socket.create_server(("127.0.0.1", 0))
    port = silent.getsockname()[1]
    with (
        closing(silent),
        storage(valkey, port=port) as backend,
        pytest.raises(StorageUnavailable, match="Timeout"),
    ):
        backend.get("bucket", "k")


# ---------------------------------------------------------------- the way to the server


def test_a_fifth_of_all_answers_breaks_off_and_nobody_notices(
    valkey: Valkey, backend: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "_LONGEST_PAUSE_S", 0.01)
    chance = random.Random(8)
    broken: list[bool] = []

    def breaks() -> bool:
        broken.append(chance.random() < 0.2)
        return broken[-1]

    with way_to(valkey, breaks) as port, storage(valkey, port=port) as shaky:
        for number in range(20):
            key = f"{number:02d}"
            shaky.put("bucket", key, key.encode() * 100, if_absent=True)
            assert shaky.get("bucket", key) == key.encode() * 100
            assert shaky.head("bucket", key).size == 200
        assert [info.key for info in shaky.list("bucket")] == [f"{number:02d}" for number in range(20)]
        shaky.delete("bucket", [f"{number:02d}" for number in range(20)])
    assert list(backend.list("bucket")) == []
    assert sum(broken) > 10


@pytest.mark.parametrize(("size", "answers"), [(5, 1), (PART_BYTES + 1, 2)])
def test_a_conditional_put_whose_answer_is_lost_has_succeeded(
    valkey: Valkey, backend: RedisStorage, size: int, answers: int
) -> None:
    """The last of the answers is lost, which is the one to the commit."""
    to_come: list[int] = []

    def breaks() -> bool:
        return bool(to_come) and to_come.pop() == 1

    class Source(io.BytesIO):
        def read(self, count: int | None = -1, /) -> bytes:
            data = super().read(count)
            if not data:  # what is still to be sent is sent after this
                to_come.extend(range(1, answers + 1))
            return data

    body = random.Random(9).randbytes(size)
    with way_to(valkey, breaks) as port, storage(valkey, port=port) as shaky:
        shaky.bucket_exists("bucket")
        shaky.put("bucket", "k", Source(body), if_absent=True)
        assert to_come == []
        with pytest.raises(AlreadyExists):
            shaky.put("bucket", "k", b"other", if_absent=True)
    assert backend.get("bucket", "k") == body
    parts = backend.client().keys("lithops:storage:part:*")
    assert len(parts) == (0 if size == 5 else 2)
    assert {backend.client().ttl(name) for name in backend.client().scan_iter()} == {-1}


def test_a_large_body_that_breaks_off_is_asked_for_again(valkey: Valkey, backend: RedisStorage) -> None:
    data = random.Random(10).randbytes(2 * PART_BYTES + 7)
    backend.put("bucket", "k", data)
    answers: list[int] = []

    def breaks() -> bool:
        answers.append(len(answers))
        return answers[-1] in (8, 30)

    with way_to(valkey, breaks) as port, storage(valkey, port=port) as shaky:
        assert shaky.get("bucket", "k") == data
        with shaky.open("bucket", "k") as stream:
            assert stream.read() == data
    assert len(answers) > 30


def test_tls_is_spoken_and_the_certificate_is_checked(
    valkey: Valkey, backend: RedisStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "ATTEMPTS", 1)
    backend.put("bucket", "k", b"over tls")
    certificate = make_certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate.certificate, certificate.key)
    with way_to(valkey, lambda: False, tls) as port:
        with storage(valkey, port=port, ssl=True) as secure:
            with pytest.raises(StorageUnavailable, match="certificate verify failed"):
                secure.get("bucket", "k")
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
            assert secure.get("bucket", "k") == b"over tls"
        with storage(valkey, port=port) as plain, pytest.raises(StorageUnavailable, match="`ssl`"):
            plain.get("bucket", "k")

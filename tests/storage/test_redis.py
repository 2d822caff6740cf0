"""The Redis storage keeps every promise of a storage on a real server, and some of its own."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from valkey_server import Valkey

from lithops.exceptions import AlreadyExists, NoSuchBucket, StorageNoSuchKeyError, StorageUnavailable
from lithops.storage import registry
from lithops.storage.backends.redis.backend import RedisStorage
from lithops.storage.backends.redis.config import RedisConfig
from lithops.storage.backends.redis.layout import PART_BYTES, pieces_within
from lithops.storage.base import StorageBackend
from lithops.testing.samples import SourceBrokeOff, unseekable
from lithops.testing.storage import StorageConformance
from lithops.wire.messages import ByteRange


def config_of(server: Valkey, **others: Any) -> RedisConfig:
    return RedisConfig(**{**server.settings, **others})


class TestRedisStorage(StorageConformance):
    large_bytes = 20_000_000

    @pytest.fixture(autouse=True)
    def server(self, valkey: Valkey) -> None:
        self.valkey = valkey

    def make_backend(self, tmp_path: Path) -> StorageBackend:
        return registry.create("redis", config_of(self.valkey))

    def make_denied_backend(self, tmp_path: Path) -> StorageBackend:
        name, password = self.valkey.read_only
        return RedisStorage(config_of(self.valkey, username=name, password=password))

    def make_stranger_backend(self, tmp_path: Path) -> StorageBackend:
        return RedisStorage(config_of(self.valkey, password="wrong"))

    def credentials(self) -> Mapping[str, Any]:
        return {"password": self.valkey.password}


@pytest.fixture
def backend(valkey: Valkey) -> Iterator[RedisStorage]:
    """A storage in a database of its own."""
    backend = RedisStorage(config_of(valkey, db=1))
    backend.ensure_bucket("bucket")
    yield backend
    backend.client().flushdb()
    backend.close()


def names(backend: RedisStorage, pattern: str = "*") -> set[str]:
    return {name.decode() for name in backend.client().keys(pattern)}


def parts(backend: RedisStorage) -> set[str]:
    return names(backend, "lithops:storage:part:*")


def commands_of(backend: RedisStorage, use: Callable[[], object]) -> dict[str, int]:
    """How often the server was given which command, those of scripts included."""
    backend.client().config_resetstat()
    use()
    counts = backend.client().info("commandstats")
    return {
        name.removeprefix("cmdstat_"): about["calls"]
        for name, about in counts.items()
        if name not in ("cmdstat_info", "cmdstat_config|resetstat")
    }


# ---------------------------------------------------------------- settings


def test_databases_are_storages_of_their_own(valkey: Valkey, backend: RedisStorage) -> None:
    backend.put("bucket", "k", b"")
    other = RedisStorage(config_of(valkey, db=2))
    assert not other.bucket_exists("bucket")
    other.close()


def test_a_reference_says_where_and_not_the_password() -> None:
    config = RedisConfig(host="redis.example.org", username="me", password="secret", db=3)
    backend = RedisStorage(config)
    assert backend.reference("b").options == {"host": "redis.example.org", "username": "me", "db": 3}
    assert RedisStorage(RedisConfig(password="secret")).reference("b").options == {}


def test_one_bucket_is_the_default() -> None:
    assert RedisStorage(RedisConfig()).default_bucket() == "lithops-data"
    assert RedisStorage(RedisConfig(storage_bucket="mine")).default_bucket() == "mine"


# ---------------------------------------------------------------- requests


def test_what_an_operation_costs(backend: RedisStorage) -> None:
    keys = [f"{number:04d}" for number in range(1_500)]
    for key in keys:
        backend.put("bucket", key, b"x")
    assert commands_of(backend, lambda: backend.get("bucket", "0000")) == {"get": 1}
    assert commands_of(backend, lambda: backend.get("bucket", "0000", ByteRange(0, 9))) == {"getrange": 1}
    assert commands_of(backend, lambda: backend.open("bucket", "0000")) == {"get": 1}
    assert commands_of(backend, lambda: backend.head("bucket", "0000")) == {"zrangebylex": 1}
    assert commands_of(backend, lambda: backend.get_many("bucket", keys)) == {"mget": 6}
    assert commands_of(backend, lambda: list(backend.list("bucket"))) == {"zrangebylex": 2}
    assert commands_of(backend, lambda: next(backend.list("bucket"))) == {"zrangebylex": 1}
    assert commands_of(backend, lambda: backend.ensure_bucket("bucket")) == {"sismember": 1}
    assert commands_of(backend, lambda: backend.delete("bucket", keys))["eval"] == 2
    assert commands_of(backend, lambda: backend.put("bucket", "k", b""))["eval"] == 1


# ---------------------------------------------------------------- what lies in the server


def test_all_lies_under_one_prefix(backend: RedisStorage) -> None:
    backend.put("bucket", "folder/small", b"s")
    backend.put("bucket", "large", bytes(PART_BYTES + 1))
    found = names(backend)
    assert {name for name in found if not name.startswith("lithops:storage:")} == set()
    assert {"lithops:storage:data:bucket/folder/small", "lithops:storage:data:bucket/large"} < found
    assert len(parts(backend)) == 2
    assert {backend.client().ttl(name) for name in found} == {-1}
    backend.delete("bucket", ["folder/small", "large"])
    assert names(backend) == {"lithops:storage:buckets"}


@pytest.mark.parametrize(
    "size", [PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 2 * PART_BYTES + 3]
)
def test_objects_around_the_size_of_a_part(backend: RedisStorage, size: int) -> None:
    data = bytes(range(251)) * (size // 251) + bytes(size % 251)
    backend.put("bucket", "k", data)
    assert len(parts(backend)) == (0 if size <= PART_BYTES else -(-size // PART_BYTES))
    assert backend.get("bucket", "k") == data
    with backend.open("bucket", "k") as stream:
        assert stream.read() == data
    for start, stop in [
        (PART_BYTES - 2, PART_BYTES + 2), (PART_BYTES, PART_BYTES + 1), (0, size), (size - 1, size + 9),
        (size, size + 1), (5, 5), (3, 2 * PART_BYTES + 1),
    ]:  # fmt: skip
        assert backend.get("bucket", "k", ByteRange(start, stop)) == data[start:stop]
        with backend.open("bucket", "k", ByteRange(start, stop)) as stream:
            assert stream.read() == data[start:stop]
    assert backend.get_many("bucket", ["k", "k"]) == [data, data]
    info = backend.head("bucket", "k")
    assert info.size == size
    assert list(backend.list("bucket")) == [info]


def test_a_range_of_a_missing_object_is_an_error_even_if_it_is_empty(backend: RedisStorage) -> None:
    for byte_range in (ByteRange(0, 0), ByteRange(7, 7), ByteRange(0, 9)):
        with pytest.raises(StorageNoSuchKeyError):
            backend.get("bucket", "missing", byte_range)


def test_no_part_is_left_behind(backend: RedisStorage) -> None:
    large = bytes(PART_BYTES + 1)
    backend.put("bucket", "k", large)
    before = parts(backend)
    with pytest.raises(AlreadyExists):
        backend.put("bucket", "k", large, if_absent=True)
    with pytest.raises(SourceBrokeOff):
        backend.put("bucket", "k", unseekable(bytes(3 * PART_BYTES), breaks_off=True))
    with pytest.raises(NoSuchBucket):
        backend.put("missing", "k", large)
    assert parts(backend) == before
    backend.put("bucket", "k", large)
    assert len(parts(backend)) == 2
    assert not parts(backend) & before
    backend.put("bucket", "k", b"small")
    assert parts(backend) == set()
    assert backend.get("bucket", "k") == b"small"
    backend.put("bucket", "k", large)
    assert backend.get("bucket", "k") == large


def test_parts_of_a_writer_that_dies_expire(backend: RedisStorage) -> None:
    seen: list[int] = []

    class Source(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            seen.extend(backend.client().ttl(name) for name in parts(backend))
            return super().read(size)

    backend.put("bucket", "k", Source(bytes(2 * PART_BYTES + 1)))
    assert seen
    assert all(86_000 < ttl <= 86_400 for ttl in seen)
    assert {backend.client().ttl(name) for name in parts(backend)} == {-1}


def test_an_object_whose_parts_were_dropped_meanwhile_is_not_stored(backend: RedisStorage) -> None:
    class Source(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            for name in parts(backend):
                backend.client().delete(name)
            return super().read(size)

    with pytest.raises(StorageUnavailable, match="noeviction"):
        backend.put("bucket", "k", Source(bytes(2 * PART_BYTES + 1)))
    assert names(backend) == {"lithops:storage:buckets"}


# ---------------------------------------------------------------- while others write


def test_readers_see_an_object_of_parts_whole_or_are_told(backend: RedisStorage) -> None:
    bodies = [bytes([digit]) * (PART_BYTES + digit) for digit in range(4)]
    backend.put("bucket", "k", bodies[0])
    replaced = threading.Event()

    def replace() -> None:
        try:
            for turn in range(12):
                backend.put("bucket", "k", bodies[turn % 4])
        finally:
            replaced.set()

    writer = threading.Thread(target=replace)
    writer.start()
    while not replaced.is_set():
        with suppress(StorageUnavailable):  # replaced faster than it could be read
            assert backend.get("bucket", "k") in bodies
    writer.join()
    assert backend.get("bucket", "k") == bodies[3]


def test_a_stream_whose_object_is_replaced_says_so(backend: RedisStorage) -> None:
    backend.put("bucket", "k", b"1" * (2 * PART_BYTES))
    with backend.open("bucket", "k") as stream:
        assert stream.read(10) == b"1" * 10
        backend.put("bucket", "k", b"2" * (2 * PART_BYTES))
        with pytest.raises(StorageUnavailable, match="replaced or deleted while it was read"):
            stream.read()


def test_an_object_that_is_replaced_again_and_again_is_not_read_for_ever(
    backend: RedisStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.put("bucket", "k", bytes(PART_BYTES + 1))
    getrange = backend.client().getrange

    def replace_and_read(*arguments: Any) -> Any:
        backend.put("bucket", "k", bytes(PART_BYTES + 1))
        return getrange(*arguments)

    monkeypatch.setattr(backend.client(), "getrange", replace_and_read)
    with pytest.raises(StorageUnavailable, match="read it again"):
        backend.get("bucket", "k")


def test_an_object_that_changes_between_two_pages_is_listed_once(backend: RedisStorage) -> None:
    keys = [f"{number:04d}" for number in range(1_200)]
    for key in keys:
        backend.put("bucket", key, b"x")
    listing = backend.list("bucket")
    listed = [next(listing).key for _ in range(1_000)]
    for key in listed[-3:]:
        backend.put("bucket", key, bytes(5_000))
    backend.put("bucket", "0500\x01", b"")
    assert [*listed, *(info.key for info in listing)] == keys


@given(st.lists(st.integers(1, 20), max_size=6), st.integers(0, 130), st.integers(0, 130))
def test_pieces_are_those_bytes_of_the_parts(sizes: list[int], start: int, stop: int) -> None:
    whole = bytes(range(sum(sizes)))
    offsets = [sum(sizes[:number]) for number in range(len(sizes))]
    stored = {b"part %d" % number: whole[at : at + sizes[number]] for number, at in enumerate(offsets)}
    listed = [b"%d %s" % (len(data), name) for name, data in stored.items()]
    pieces = pieces_within(listed, ByteRange(start, stop))
    assert b"".join(stored[piece.name][piece.start : piece.stop] for piece in pieces) == whole[start:stop]
    assert b"".join(stored[piece.name] for piece in pieces_within(listed, None)) == whole

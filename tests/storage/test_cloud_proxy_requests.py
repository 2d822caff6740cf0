"""What files in object storage cost, and what comes of it when the storage refuses."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import pytest

from lithops import Storage
from lithops.exceptions import AccessDenied, NoSuchBucket, StorageError, StorageUnavailable
from lithops.storage import cloud_tree
from lithops.storage.base import Body, ObjectInfo
from lithops.storage.cloud_proxy import CloudFileProxy
from lithops.testing.memory import MemoryStorage
from lithops.wire.messages import ByteRange


class Counting(MemoryStorage):
    """Counts requests, and refuses those that it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []
        self.refusals: dict[str, StorageError] = {}

    def _count(self, name: str) -> None:
        self.requests.append(name)
        if name in self.refusals:
            raise self.refusals[name]

    def put(self, bucket: str, key: str, body: Body, *, if_absent: bool = False) -> None:
        self._count("put")
        super().put(bucket, key, body, if_absent=if_absent)

    def get(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> bytes:
        self._count("get")
        return super().get(bucket, key, byte_range)

    def open(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> BinaryIO:
        self._count("open")
        return io.BytesIO(super().get(bucket, key, byte_range))

    def head(self, bucket: str, key: str) -> ObjectInfo:
        self._count("head")
        return super().head(bucket, key)

    def list(self, bucket: str, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        self._count("list")
        return super().list(bucket, prefix, start_after)

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        self._count("delete")
        super().delete(bucket, keys)


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def counted(counting: Counting) -> CloudFileProxy:
    return CloudFileProxy(Storage.over(counting))


def requests_of(counting: Counting, use: Callable[[], object]) -> list[str]:
    counting.requests.clear()
    use()
    return list(counting.requests)


def write(cloud: CloudFileProxy, path: str, data: bytes = b"") -> None:
    with cloud.open(path, "wb") as file:
        file.write(data)


def read(cloud: CloudFileProxy, path: str) -> bytes:
    with cloud.open(path, "rb") as file:
        content: bytes = file.read()
        return content


# ---------------------------------------------------------------- requests


def test_what_reading_costs(counting: Counting, counted: CloudFileProxy) -> None:
    write(counted, "d/small", b"x" * 100)
    write(counted, "d/large", b"y" * 5_000_000)
    assert requests_of(counting, lambda: read(counted, "d/small")) == ["open"]
    assert requests_of(counting, lambda: read(counted, "d/large")) == ["open"]

    def read_the_end() -> None:
        with counted.open("d/large", "rb") as file:
            file.seek(-100, io.SEEK_END)
            assert file.read() == b"y" * 100
            file.seek(-50_000, io.SEEK_CUR)
            assert file.read(10) == b"y" * 10

    assert requests_of(counting, read_the_end) == ["open", "head", "get", "get"]

    def read_on_after_a_seek() -> None:
        with counted.open("d/large", "rb") as file:
            file.seek(3_000_000)
            while file.read(10_000):
                pass
            assert file.tell() == 5_000_000

    assert requests_of(counting, read_on_after_a_seek) == ["open", "get", "open"]

    def skip_a_little() -> None:
        with counted.open("d/large", "rb") as file:
            for position in range(0, 1_000_000, 100_000):
                file.seek(position)
                assert file.read(1) == b"y"

    assert requests_of(counting, skip_a_little) == ["open"]


def test_what_writing_costs(counting: Counting, counted: CloudFileProxy) -> None:
    write(counted, "a/b/c")
    # Whether it is a folder. What was found of those that it lies in is remembered.
    assert requests_of(counting, lambda: write(counted, "a/b/d")) == ["list", "put"]
    assert requests_of(counting, lambda: write(counted, "a/b/d")) == ["list", "put"]
    assert requests_of(counting, lambda: counted.remove("a/b/d")) == ["head", "delete"]


def test_a_tree_is_walked_with_one_request(counting: Counting, counted: CloudFileProxy) -> None:
    for number in range(50):
        write(counted, f"t/{number}/deep/file")
    assert requests_of(counting, lambda: list(counted.walk("t"))) == ["list"]
    assert requests_of(counting, lambda: counted.listdir("t")) == ["list"]


def test_large_subfolders_are_not_listed_through(
    counting: Counting, counted: CloudFileProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud_tree, "_SKIP_AFTER", 10)
    monkeypatch.setattr(cloud_tree, "_HELD_AT_ONCE", 30)
    storage = counted._tree.storage
    keys = [f"t/{folder}/{number:02d}" for folder in ("a", "b", "\U0010ffff") for number in range(25)]
    for key in [*keys, "t/a-file", "t/z", *(f"t/c/\U0010ffff{number}" for number in range(25))]:
        storage.put_object(storage.bucket, key, "")
    assert sorted(counted.listdir("t")) == sorted(["a", "a-file", "b", "c", "z", "\U0010ffff"])
    assert len(requests_of(counting, lambda: counted.listdir("t"))) == 5
    for topdown in (True, False):
        walked = {root: (sorted(below), len(files)) for root, below, files in counted.walk("t", topdown)}
        assert walked == {
            "t": (["a", "b", "c", "\U0010ffff"], 2),
            "t/a": ([], 25),
            "t/b": ([], 25),
            "t/c": ([], 25),
            "t/\U0010ffff": ([], 25),
        }


# ---------------------------------------------------------------- what storage refuses


@pytest.mark.parametrize(
    ("refusal", "kind", "number"),
    [
        (AccessDenied("not yours; ask for it"), PermissionError, errno.EACCES),
        (StorageUnavailable("down; try later"), OSError, errno.EIO),
        (NoSuchBucket("no bucket 'b'; create it"), FileNotFoundError, errno.ENOENT),
        (StorageError("broken; look at it"), OSError, errno.EIO),
    ],
)
def test_what_storage_refuses_is_an_error_of_the_system(
    counting: Counting, counted: CloudFileProxy, refusal: StorageError, kind: type[OSError], number: int
) -> None:
    write(counted, "d/f", b"x" * 1_000_000)
    reader, writer = counted.open("d/f", "rb"), counted.open("d/g", "w")
    counting.refusals = dict.fromkeys(("put", "get", "open", "head", "list", "delete"), refusal)
    uses: list[Callable[[], object]] = [
        lambda: reader.seek(0, io.SEEK_END),
        lambda: (reader.seek(900_000), reader.read()),
        writer.close,
        lambda: counted.listdir("d"),
        lambda: counted.scandir("d"),
        lambda: counted.remove("d/f"),
        lambda: counted.mkdir("e"),
        lambda: counted.makedirs("e/f"),
        lambda: counted.rmdir("d"),
        lambda: counted.rename("d/f", "d/h"),
        lambda: counted.stat("d/f"),
        lambda: counted.path.getsize("d/f"),
        lambda: counted.open("d/f", "w"),
        lambda: counted.open("d/f", "a"),
        lambda: counted.open("d/f"),
    ]
    for position, use in enumerate(uses):
        with pytest.raises(OSError) as caught:
            use()
        assert type(caught.value) is kind, position
        assert caught.value.errno == number
        assert str(refusal) in str(caught.value)
        assert caught.value.__cause__ is refusal
    reader.close()
    errors: list[OSError] = []
    assert list(counted.walk("d", onerror=errors.append)) == []
    assert [type(error) for error in errors] == [kind]
    if kind is not FileNotFoundError:
        with pytest.raises(kind):
            counted.path.exists("d/f")

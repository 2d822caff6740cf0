"""`Storage` does what the public contract says, over any backend."""

from __future__ import annotations

import array
import inspect
import io
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lithops.storage
from lithops.exceptions import InvalidCall, NoSuchBucket, StorageNoSuchKeyError
from lithops.prepare.names import read_name
from lithops.storage import Storage
from lithops.storage.backends.localhost.backend import LocalhostStorage
from lithops.storage.backends.localhost.config import LocalhostStorageConfig
from lithops.storage.base import ObjectInfo
from lithops.storage.utils import CloudObject, CloudObjectLocal, CloudObjectUrl
from lithops.testing.memory import MemoryStorage


@pytest.fixture
def storage() -> Storage:
    return Storage.over(MemoryStorage(clock=lambda: 784_111_777.0), "mine")


@pytest.fixture
def on_disk(tmp_path: Path) -> Storage:
    config = LocalhostStorageConfig(storage_bucket="mine", root=str(tmp_path))
    return Storage.over(LocalhostStorage(config))


# ---------------------------------------------------------------- the shape programs rely on


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        (Storage, "config=None, backend=None, storage_config=None"),
        (Storage.put_object, "self, bucket, key, body"),
        (Storage.get_object, "self, bucket, key, stream=False, extra_get_args={}"),
        (Storage.upload_file, "self, file_name, bucket, key=None, extra_args={}, config=None"),
        (Storage.download_file, "self, bucket, key, file_name=None, extra_args={}, config=None"),
        (Storage.head_object, "self, bucket, key"),
        (Storage.head_bucket, "self, bucket"),
        (Storage.create_bucket, "self, bucket"),
        (Storage.delete_object, "self, bucket, key"),
        (Storage.delete_objects, "self, bucket, key_list"),
        (Storage.list_objects, "self, bucket, prefix=None, match_pattern=None"),
        (Storage.list_keys, "self, bucket, prefix=None"),
        (Storage.put_cloudobject, "self, body, bucket=None, key=None"),
        (Storage.get_cloudobject, "self, cloudobject, stream=False"),
    ],
)
def test_parameters_have_their_names_order_and_defaults(method: Any, parameters: str) -> None:
    shown = [
        name if parameter.default is parameter.empty else f"{name}={_plain(parameter.default)!r}"
        for name, parameter in inspect.signature(method).parameters.items()
    ]
    assert ", ".join(shown) == parameters


def _plain(default: Any) -> Any:
    return {} if default == {} else default


def test_the_configuration_is_taken_whole(tmp_path: Path) -> None:
    config = {
        "lithops": {"backend": "localhost", "storage": "localhost"},
        "localhost": {"storage_bucket": "configured", "root": str(tmp_path)},
    }
    storage = Storage(config)
    assert (storage.backend, storage.bucket) == ("localhost", "configured")
    assert isinstance(storage.storage_handler, LocalhostStorage)
    assert list(tmp_path.iterdir()) == []
    storage.put_object("configured", "k.txt", "x")
    assert (tmp_path / "configured" / "k.txt").read_text() == "x"
    again = Storage(storage_config=storage.get_storage_config())
    assert again.get_object(again.bucket, "k.txt") == b"x"


def test_attributes_and_configuration(on_disk: Storage, tmp_path: Path) -> None:
    assert (on_disk.bucket, on_disk.backend) == ("mine", "localhost")
    assert on_disk.get_client() is on_disk.storage_handler
    assert on_disk.get_storage_config() == {
        "backend": "localhost",
        "bucket": "mine",
        "localhost": {"storage_bucket": "mine", "root": str(tmp_path)},
    }


# ---------------------------------------------------------------- bodies


def test_bodies_of_all_kinds(storage: Storage) -> None:
    with tempfile.NamedTemporaryFile("w+", encoding="utf-8", suffix=".txt") as text_file:
        text_file.write("zwölf")
        text_file.seek(0)
        bodies: list[tuple[Any, bytes]] = [
            ("zwölf", "zwölf".encode()),
            (b"bytes", b"bytes"),
            (bytearray(b"array"), b"array"),
            (memoryview(b"view"), b"view"),
            (array.array("B", [1, 2, 3]), b"\1\2\3"),
            (io.StringIO("zwölf\n" * 300_000), "zwölf\n".encode() * 300_000),
            (text_file, "zwölf".encode()),
            (io.BytesIO(b"file"), b"file"),
            ("", b""),
        ]
        for body, expected in bodies:
            assert storage.put_object("mine", "k", body) is None  # type: ignore[func-returns-value]
            assert storage.get_object("mine", "k") == expected


@pytest.mark.parametrize("body", [123, None, {"a": 1}, ["text"]])
def test_other_bodies_are_refused(storage: Storage, body: Any) -> None:
    with pytest.raises(InvalidCall, match=type(body).__name__):
        storage.put_object("mine", "k", body)
    assert storage.list_keys("mine") == []


# ---------------------------------------------------------------- ranges


@given(size=st.integers(1, 30), first=st.integers(0, 40), length=st.integers(1, 40))
def test_ranges_include_both_ends(size: int, first: int, length: int) -> None:
    storage = Storage.over(MemoryStorage(), "mine")
    data = bytes(range(size))
    storage.put_object("mine", "k", data)

    def get(text: str) -> Any:
        return storage.get_object("mine", "k", extra_get_args={"Range": text})

    assert get(f"bytes={first}-{first + length - 1}") == data[first : first + length]
    assert get(f"bytes={first}-") == data[first:]
    assert get(f"bytes=-{length}") == data[-length:]
    assert get("bytes=-0") == b""


def test_only_a_range_from_the_end_has_to_ask_for_the_size(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    head = storage.storage_handler.head

    def ask(bucket: str, key: str) -> ObjectInfo:
        asked.append(key)
        return head(bucket, key)

    storage.put_object("mine", "k", b"0123456789")
    monkeypatch.setattr(storage.storage_handler, "head", ask)
    for text in ("bytes=0-3", "bytes=4-", "bytes=20-30"):
        storage.get_object("mine", "k", extra_get_args={"Range": text})
    assert asked == []
    assert storage.get_object("mine", "k", extra_get_args={"Range": "bytes=-3"}) == b"789"
    assert asked == ["k"]


@pytest.mark.parametrize(
    "text", ["bytes=-", "bytes=9-3", "0-99", "bytes=a-b", "bytes=0-1,4-5", "bytes=1", ""]
)
def test_a_range_that_cannot_be_read(storage: Storage, text: str) -> None:
    storage.put_object("mine", "k", b"x")
    with pytest.raises(InvalidCall, match="bytes=0-99"):
        storage.get_object("mine", "k", extra_get_args={"Range": text})


def test_other_arguments_of_get_are_refused(storage: Storage) -> None:
    storage.put_object("mine", "k", b"x")
    with pytest.raises(InvalidCall, match="'VersionId'"):
        storage.get_object("mine", "k", extra_get_args={"VersionId": "1", "Range": "bytes=0-1"})


def test_a_stream_is_a_file(storage: Storage) -> None:
    storage.put_object("mine", "k", b"one\ntwo\n")
    with storage.get_object("mine", "k", stream=True, extra_get_args={"Range": "bytes=1-"}) as stream:
        assert stream.readline() == b"ne\n"
        assert stream.read() == b"two\n"


# ---------------------------------------------------------------- what is there


def test_head_object_gives_headers_as_text(storage: Storage) -> None:
    storage.put_object("mine", "k", b"12345")
    headers = storage.head_object("mine", "k")
    assert headers["content-length"] == "5"
    assert headers["last-modified"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert headers["etag"]


@pytest.mark.parametrize(
    ("backend", "url"),
    [
        ("aws_s3", "s3://mine/a/k"),
        ("minio", "s3://mine/a/k"),
        ("gcp_storage", "gs://mine/a/k"),
        ("azure_storage", "az://mine/a/k"),
        ("ibm_cos", "cos://mine/a/k"),
        ("redis", "redis://mine/a/k"),
    ],
)
def test_a_missing_object_is_named_as_users_name_it(backend: str, url: str) -> None:
    class Named(MemoryStorage):
        name = backend

    storage = Storage.over(Named(), "mine")
    storage.create_bucket("mine")
    with pytest.raises(StorageNoSuchKeyError, match=f"no object 'a/k' in bucket 'mine' \\({url}\\); check"):
        storage.get_object("mine", "a/k")
    # The same name says what data is meant.
    assert read_name(url, backend=backend).query.name == "a/k"


def test_buckets(storage: Storage) -> None:
    with pytest.raises(NoSuchBucket, match="other"):
        storage.head_bucket("other")
    with pytest.raises(NoSuchBucket, match="other"):
        storage.put_object("other", "k", b"")
    storage.create_bucket("other")
    storage.create_bucket("other")
    assert storage.head_bucket("other")["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize(
    "use",
    [
        lambda storage: storage.put_object("mine", "k", b""),
        lambda storage: storage.list_objects("mine"),
        lambda storage: storage.list_keys("mine"),
        lambda storage: storage.head_bucket("mine"),
        lambda storage: storage.put_cloudobject(b""),
    ],
)
def test_the_own_bucket_is_made_when_it_is_first_used(storage: Storage, use: Any) -> None:
    assert not storage.storage_handler.bucket_exists("mine")
    use(storage)
    assert storage.storage_handler.bucket_exists("mine")


def test_listing_with_patterns(storage: Storage) -> None:
    for key in ("a.csv", "d/b.csv", "d/e/c.csv", "d/e/c.txt"):
        storage.put_object("mine", key, key)

    def found(**arguments: str) -> list[str]:
        return [found["Key"] for found in storage.list_objects("mine", **arguments)]

    assert storage.list_objects("mine", "d/", "**/c.*") == [
        {"Key": "d/e/c.csv", "Size": 9},
        {"Key": "d/e/c.txt", "Size": 9},
    ]
    assert found() == ["a.csv", "d/b.csv", "d/e/c.csv", "d/e/c.txt"]
    assert found(match_pattern="*.csv") == ["a.csv"]
    assert found(match_pattern="**.csv") == ["a.csv", "d/b.csv", "d/e/c.csv"]
    assert found(match_pattern="d/?.csv") == ["d/b.csv"]
    assert found(prefix="d/e/", match_pattern="d/**") == ["d/e/c.csv", "d/e/c.txt"]
    assert found(prefix="a", match_pattern="d/**") == []
    assert storage.list_keys("mine", "d/e") == ["d/e/c.csv", "d/e/c.txt"]


def test_a_pattern_lists_no_more_than_its_prefix(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def listed(bucket: str, prefix: str = "", start_after: str = "") -> Any:
        asked.append(prefix)
        return iter(())

    monkeypatch.setattr(storage.storage_handler, "list", listed)
    storage.list_objects("mine", match_pattern="logs/2024-*/x")
    storage.list_objects("mine", prefix="logs/2024-05", match_pattern="logs/*")
    assert asked == ["logs/2024-", "logs/2024-05"]


def test_deleting(storage: Storage) -> None:
    for key in ("a", "b", "c"):
        storage.put_object("mine", key, b"")
    storage.delete_object("mine", "a")
    storage.delete_objects("mine", ["b", "missing"])
    assert storage.list_keys("mine") == ["c"]


# ---------------------------------------------------------------- cloud objects


def test_cloud_objects(storage: Storage) -> None:
    first, second = storage.put_cloudobject("one"), storage.put_cloudobject(b"two")
    assert (first.backend, first.bucket) == ("memory", "mine")
    assert first.key.startswith("lithops.objects/user/")
    assert first.key != second.key
    assert str(first) == f"<CloudObject at memory://mine/{first.key}>"
    assert storage.get_cloudobject(pickle.loads(pickle.dumps(first))) == b"one"
    with storage.get_cloudobject(second, stream=True) as stream:
        assert stream.read() == b"two"
    storage.create_bucket("other")
    third = storage.put_cloudobject("three", "other", "chosen/key")
    assert (third.bucket, third.key) == ("other", "chosen/key")
    storage.delete_cloudobject(first)
    with pytest.raises(StorageNoSuchKeyError):
        storage.get_cloudobject(first)
    storage.delete_cloudobjects([second, third])
    assert storage.list_keys("mine") == storage.list_keys("other") == []


def test_cloud_objects_of_a_job_lie_together() -> None:
    storage = Storage.over(MemoryStorage(), "mine", job_key="3f9a1c-0-M000")
    assert storage.put_cloudobject(b"").key.startswith("lithops.objects/3f9a1c-0-M000/")


def test_a_cloud_object_of_another_storage_is_refused(storage: Storage) -> None:
    with pytest.raises(InvalidCall, match=r"Storage\(backend='aws_s3'\)"):
        storage.get_cloudobject(CloudObject("aws_s3", "mine", "k"))


def test_names_of_other_data() -> None:
    assert CloudObjectUrl("http://x/y").url == "http://x/y"
    local = CloudObjectLocal("/data/file.txt")
    assert (local.path, local.bucket, local.key) == ("/data/file.txt", "/data", "file.txt")


# ---------------------------------------------------------------- across processes


def test_another_process_finds_the_same_storage(on_disk: Storage) -> None:
    on_disk.put_object("mine", "k", b"from here")
    program = """
import pickle, sys
storage = pickle.load(sys.stdin.buffer)
assert storage.get_object("mine", "k") == b"from here"
storage.put_cloudobject("from there", key="reply")
"""
    subprocess.run([sys.executable, "-c", program], input=pickle.dumps(on_disk), timeout=60, check=True)
    assert on_disk.get_object("mine", "reply") == b"from there"


def test_its_job_goes_along(on_disk: Storage) -> None:
    storage = Storage.over(on_disk.storage_handler, "mine", job_key="job")
    assert pickle.loads(pickle.dumps(storage)).put_cloudobject(b"").key.startswith("lithops.objects/job/")


def test_the_package_has_one_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        lithops.storage.Other


def test_importing_the_package_loads_no_client() -> None:
    program = "import lithops.storage, sys; print('lithops.storage.client' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"

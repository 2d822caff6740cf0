"""Many small objects come from obstore where it leads to them, and from the SDK everywhere else."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azurite_server import Azurite
from obstore.store import MemoryStore
from seaweedfs_server import SeaweedFS

from lithops.exceptions import AccessDenied, StorageNoSuchKeyError, StorageUnavailable
from lithops.storage import many
from lithops.storage.many import ManyReader, read_each


class Sdk:
    """Reads what it holds, and remembers what it was asked for."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.objects = objects
        self.asked: list[str] = []

    def get(self, bucket: str, key: str) -> bytes:
        self.asked.append(key)
        if key not in self.objects:
            raise StorageNoSuchKeyError(bucket, key)
        return self.objects[key]


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    for key in ("a", "b/c.json", "d-e_f=g"):
        store.put(key, b"quick")
    return store


@pytest.fixture
def sdk() -> Sdk:
    return Sdk({"slow": b"slow", "odd key": b"odd", "a": b"slow"})


@pytest.fixture
def reader(sdk: Sdk, store: MemoryStore) -> Iterator[ManyReader]:
    reader = ManyReader(sdk.get, lambda bucket: store)
    yield reader
    reader.close()


# ---------------------------------------------------------------- who is asked


def test_plain_keys_are_obstores(reader: ManyReader, sdk: Sdk) -> None:
    assert reader.get_many("bucket", ["d-e_f=g", "a", "b/c.json", "a"]) == [b"quick"] * 4
    assert sdk.asked == []


def test_what_obstore_does_not_give_is_asked_of_the_sdk_once(reader: ManyReader, sdk: Sdk) -> None:
    slow, missing, quick, again = reader.get_many("bucket", ["slow", "missing", "a", "slow"])
    assert (slow, quick, again) == (b"slow", b"quick", b"slow")
    assert isinstance(missing, StorageNoSuchKeyError)
    assert sorted(sdk.asked) == ["missing", "slow"]


@pytest.mark.parametrize(
    "key",
    [
        "odd key",
        "a%2Fb",
        "100%",
        "ü",
        "a//b",
        "/a",
        "a/",
        "./a",
        "a/./b",
        "a/..",
        "...",
        "a\n",
        "b\\c",
        "a:b",
    ],
)
def test_keys_that_it_could_change_are_the_sdks(
    reader: ManyReader, sdk: Sdk, store: MemoryStore, key: str
) -> None:
    sdk.objects[key] = b"the SDK's"
    assert reader.get_many("bucket", [key, "a"]) == [b"the SDK's", b"quick"]
    assert sdk.asked == [key]


def test_no_keys_are_no_requests(reader: ManyReader, sdk: Sdk) -> None:
    assert reader.get_many("bucket", []) == []
    assert sdk.asked == []


# ---------------------------------------------------------------- where it does not lead


def test_a_way_that_leads_nowhere_is_given_up(sdk: Sdk) -> None:
    tried: list[str] = []

    class Nowhere:
        def get(self, key: str) -> Any:
            tried.append(key)
            raise OSError("no way")

    reader = ManyReader(sdk.get, lambda bucket: Nowhere())  # type: ignore[arg-type,return-value]
    for _ in range(3):
        assert reader.get_many("bucket", ["slow"]) == [b"slow"]
    assert tried == ["slow"]


def test_a_way_that_was_not_tried_or_misses_what_nobody_has_is_kept(reader: ManyReader, sdk: Sdk) -> None:
    assert reader.get_many("bucket", ["odd key"]) == [b"odd"]
    assert isinstance(reader.get_many("bucket", ["missing"])[0], StorageNoSuchKeyError)
    sdk.asked.clear()
    assert reader.get_many("bucket", ["a"]) == [b"quick"]
    assert sdk.asked == []


def test_each_bucket_has_its_way_and_keeps_it_until_it_is_closed(sdk: Sdk, store: MemoryStore) -> None:
    opened: list[str] = []

    def open_store(bucket: str) -> MemoryStore | None:
        opened.append(bucket)
        return store if bucket == "there" else None

    reader = ManyReader(sdk.get, open_store)
    for _ in range(2):
        assert reader.get_many("there", ["a"]) == [b"quick"]
        assert reader.get_many("elsewhere", ["a"]) == [b"slow"]
    assert opened == ["there", "elsewhere"]
    reader.close()
    assert reader.get_many("there", ["a"]) == [b"quick"]
    assert opened == ["there", "elsewhere", "there"]


def test_without_obstore_the_sdk_reads_them(
    reader: ManyReader, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    assert reader.get_many("bucket", ["a", "a"]) == [b"slow", b"slow"]


FORK = """
import os, signal, sys
from lithops.storage import many
from lithops.storage.backends.aws_s3.backend import S3Storage
from lithops.storage.backends.aws_s3.config import AwsS3Config
from lithops.storage.backends.azure_storage.backend import AzureStorage
from lithops.storage.backends.azure_storage.config import AzureStorageConfig

endpoint, key, secret, account, account_key = sys.argv[1:]
s3 = S3Storage(AwsS3Config(endpoint=endpoint, access_key_id=key, secret_access_key=secret))
azure = AzureStorage(AzureStorageConfig(endpoint=account, storage_account_key=account_key))
keys = [f"fork/{number}" for number in range(50)]
expected = [name.encode() for name in keys]

def is_quick(storage):
    return storage._many._stores.get()["forked"] is not None

for storage in (s3, azure):
    storage.ensure_bucket("forked")
    for name in keys:
        storage.put("forked", name, name.encode())
assert s3.get_many("forked", keys) == expected  # Azure's was not read by obstore yet.
child = os.fork()
if child == 0:
    signal.alarm(30)
    for storage in (azure, s3):
        assert storage.get_many("forked", keys) == expected
        assert not is_quick(storage)
        storage.close()
    sys.exit()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
for storage in (azure, s3):
    assert storage.get_many("forked", keys) == expected
    assert is_quick(storage)
    storage.delete("forked", keys)
    storage.close()
"""


def test_a_process_forked_after_its_start_in_any_storage_has_the_sdks_read_them(
    seaweedfs: SeaweedFS, azurite: Azurite, run_program: Callable[..., Any]
) -> None:
    done = run_program(
        FORK,
        *(seaweedfs.endpoint, seaweedfs.access_key_id, seaweedfs.secret_access_key),
        *(azurite.endpoint, azurite.account_key),
    )
    assert done.stderr == ""


# ---------------------------------------------------------------- by the SDK, in threads


def test_each_has_its_own_error(sdk: Sdk) -> None:
    def get(key: str) -> bytes:
        if key == "secret":
            raise AccessDenied("no")
        return sdk.get("bucket", key)

    there, missing, denied = read_each(get, ["slow", "missing", "secret"])
    assert there == b"slow"
    assert isinstance(missing, StorageNoSuchKeyError)
    assert isinstance(denied, AccessDenied)


def test_what_is_no_error_of_the_storage_is_raised() -> None:
    def get(key: str) -> bytes:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read_each(get, ["k"])


def test_threads_read_at_once() -> None:
    together = threading.Barrier(many._THREADS, timeout=20)

    def get(key: str) -> bytes:
        together.wait()
        return key.encode()

    keys = [f"{number}" for number in range(2 * many._THREADS)]
    assert read_each(get, keys) == [key.encode() for key in keys]


def test_a_storage_that_is_down_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "_THREADS", 4)
    asked: list[str] = []

    def get(key: str) -> bytes:
        asked.append(key)
        raise StorageUnavailable("down")

    outcomes = read_each(get, [f"{number}" for number in range(500)])
    assert len(outcomes) == 500
    assert all(isinstance(outcome, StorageUnavailable) for outcome in outcomes)
    assert 4 <= len(asked) <= 7


def test_a_storage_that_often_fails_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "_THREADS", 4)

    def get(key: str) -> bytes:
        if key.endswith("7"):
            raise StorageUnavailable("not now")
        return b"there"

    outcomes = read_each(get, [f"{number}" for number in range(1_000)])
    assert outcomes.count(b"there") == 900

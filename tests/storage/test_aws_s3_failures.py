"""What breaks on the way to S3 is most often not noticed, and never makes a mess."""

from __future__ import annotations

import hashlib
import io
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from faulty_proxy import Fault, FaultyProxy
from seaweedfs_server import SeaweedFS

from lithops.exceptions import AlreadyExists, NoSuchBucket, StorageError, StorageUnavailable
from lithops.storage import patience
from lithops.storage.backends.aws_s3 import multipart
from lithops.storage.backends.aws_s3.backend import S3Storage
from lithops.storage.backends.aws_s3.config import AwsS3Config
from lithops.testing.samples import SourceBrokeOff, unseekable
from lithops.wire.messages import ByteRange

BUCKET = "failures"
PART = 5 << 20


@contextmanager
def storage_at(server: SeaweedFS, endpoint: str) -> Iterator[S3Storage]:
    storage = S3Storage(AwsS3Config(**{**server.settings, "endpoint": endpoint}))
    try:
        yield storage
    finally:
        storage.close()


@pytest.fixture
def direct(seaweedfs: SeaweedFS) -> Iterator[S3Storage]:
    with storage_at(seaweedfs, seaweedfs.endpoint) as storage:
        storage.ensure_bucket(BUCKET)
        yield storage
        storage.delete(BUCKET, [info.key for info in storage.list(BUCKET)])
        for upload in _uploads(storage):
            # Where the answer to the very first request of an upload was lost, nobody knows the upload's name.
            storage.client().abort_multipart_upload(
                Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"]
            )


@pytest.fixture
def proxy(seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    monkeypatch.setattr(patience, "_LONGEST_PAUSE_S", 0.02)
    monkeypatch.setattr(multipart, "PART_BYTES", PART)
    with FaultyProxy(seaweedfs.endpoint, seed=7, stall_s=0.05).running() as proxy:
        yield proxy


@pytest.fixture
def storage(seaweedfs: SeaweedFS, direct: S3Storage, proxy: FaultyProxy) -> Iterator[S3Storage]:
    with storage_at(seaweedfs, proxy.endpoint) as storage:
        yield storage


def _uploads(storage: S3Storage) -> list[dict[str, Any]]:
    return list(storage.client().list_multipart_uploads(Bucket=BUCKET).get("Uploads", ()))


def unfinished_uploads(storage: S3Storage) -> list[str]:
    return [upload["Key"] for upload in _uploads(storage)]


# ---------------------------------------------------------------- failures that pass


def test_a_fifth_of_all_requests_fails_and_nobody_notices(storage: S3Storage, proxy: FaultyProxy) -> None:
    proxy.rate = 0.2
    keys = [f"k/{number:03d}" for number in range(80)]
    others = [f"o/{number:03d}" for number in range(80)]
    large = random.Random(1).randbytes(2 * PART + 12345)

    def use(key: str) -> None:
        storage.put(BUCKET, key, key.encode() * 100)
        assert storage.get(BUCKET, key) == key.encode() * 100
        assert storage.get(BUCKET, key, ByteRange(1, 5)) == key.encode()[1:5]
        assert storage.head(BUCKET, key).size == 500

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, others, timeout=60))
        list(pool.map(lambda key: storage.put(BUCKET, key, b"x", if_absent=True), keys, timeout=60))
    assert [info.key for info in storage.list(BUCKET)] == [*keys, *others]
    assert list(storage.get_many(BUCKET, keys)) == [b"x"] * len(keys)
    storage.put(BUCKET, "large", unseekable(large))
    assert storage.get(BUCKET, "large") == large
    with storage.open(BUCKET, "large") as stream:
        assert hashlib.sha256(stream.read()).digest() == hashlib.sha256(large).digest()
    storage.delete(BUCKET, keys)
    assert sum(proxy.injected.values()) > 50
    assert not proxy.unexpected


@pytest.mark.parametrize("fault", Fault)
def test_each_failure_is_survived(
    seaweedfs: SeaweedFS, direct: S3Storage, proxy: FaultyProxy, fault: Fault
) -> None:
    direct.put(BUCKET, "k", b"0123456789" * 1000)
    bad = FaultyProxy(seaweedfs.endpoint, rate=0.5, seed=3, kinds=[fault], stall_s=0.05)
    with bad.running(), storage_at(seaweedfs, bad.endpoint) as broken:
        for _ in range(5):
            assert broken.get(BUCKET, "k") == b"0123456789" * 1000
            with broken.open(BUCKET, "k") as stream:
                assert stream.read() == b"0123456789" * 1000
            assert broken.head(BUCKET, "k").size == 10_000
            assert broken.bucket_exists(BUCKET)
            broken.put(BUCKET, "other", b"other")
    assert bad.injected[fault] > 3


def test_who_wrote_an_object_and_lost_the_answer_is_told_of_success(
    seaweedfs: SeaweedFS, direct: S3Storage, proxy: FaultyProxy
) -> None:
    bad = FaultyProxy(proxy.endpoint, rate=0.3, seed=5, kinds=[Fault.RESET_AFTER])
    with bad.running(), storage_at(seaweedfs, bad.endpoint) as unlucky:
        for number in range(30):
            body = bytes(PART + 1) if number == 0 else b"%d" % number
            unlucky.put(BUCKET, f"once/{number}", body, if_absent=True)
            with pytest.raises(AlreadyExists):
                unlucky.put(BUCKET, f"once/{number}", body, if_absent=True)
    assert bad.injected[Fault.RESET_AFTER] > 10


def test_a_stream_goes_on_where_it_broke_off(
    seaweedfs: SeaweedFS, direct: S3Storage, proxy: FaultyProxy
) -> None:
    data = random.Random(2).randbytes(3_000_000)
    direct.put(BUCKET, "k", data)
    bad = FaultyProxy(seaweedfs.endpoint, rate=0.6, seed=1, kinds=[Fault.TRUNCATE])
    with bad.running(), storage_at(seaweedfs, bad.endpoint) as broken:
        with broken.open(BUCKET, "k", ByteRange(1000, 2_900_000)) as stream:
            assert b"".join(iter(partial(stream.read, 70_001), b"")) == data[1000:2_900_000]
        assert bad.injected[Fault.TRUNCATE] > 0


def test_a_stream_never_mixes_two_objects(storage: S3Storage, direct: S3Storage) -> None:
    direct.put(BUCKET, "k", b"a" * 3_000_000)
    with storage.open(BUCKET, "k") as stream:
        assert stream.read(10) == b"a" * 10
        stream.raw._disconnect()  # type: ignore[attr-defined] # as if the connection broke
        direct.put(BUCKET, "k", b"b" * 3_000_000)
        with pytest.raises(StorageUnavailable, match="replaced while it was read"):
            stream.read()


# ---------------------------------------------------------------- failures that stay


def test_what_stays_broken_is_told_after_eight_attempts(storage: S3Storage, proxy: FaultyProxy) -> None:
    storage.bucket_exists(BUCKET)
    proxy.fail_all(503, "SlowDown")
    uses: dict[str, Callable[[], Any]] = {
        "PUT": lambda: storage.put(BUCKET, "k", b""),
        "GET": lambda: storage.get(BUCKET, "k"),
        "HEAD": lambda: storage.head(BUCKET, "k"),
        "LIST": lambda: list(storage.list(BUCKET)),
        "POST": lambda: storage.delete(BUCKET, ["a", "b"]),
        "DELETE": lambda: storage.delete(BUCKET, ["a"]),
    }
    for method, use in uses.items():
        proxy.counts.clear()
        with pytest.raises(StorageUnavailable, match=f"{proxy.endpoint} is overloaded"):
            use()
        assert proxy.counts == Counter({method: 8})


def test_what_a_later_attempt_is_told_is_what_is_raised(storage: S3Storage, proxy: FaultyProxy) -> None:
    proxy.rate = 0.4
    for number in range(20):
        with pytest.raises(NoSuchBucket):
            storage.put(f"{BUCKET}-missing", "k", b"", if_absent=number % 2 == 0)


def test_a_storage_that_is_down_is_not_waited_for_once_a_key(storage: S3Storage, proxy: FaultyProxy) -> None:
    proxy.fail_all(500, "InternalError")
    started = time.monotonic()
    outcomes = storage.get_many(BUCKET, [f"k/{number}" for number in range(100)])
    assert all(isinstance(outcome, StorageUnavailable) for outcome in outcomes)
    assert time.monotonic() - started < 20


# ---------------------------------------------------------------- large bodies


def test_a_large_body_that_breaks_off_leaves_nothing(storage: S3Storage, direct: S3Storage) -> None:
    direct.put(BUCKET, "old", b"old")
    for key in ("old", "new"):
        with pytest.raises(SourceBrokeOff):
            storage.put(BUCKET, key, unseekable(bytes(3 * PART), breaks_off=True))
    assert direct.get(BUCKET, "old") == b"old"
    assert [info.key for info in direct.list(BUCKET)] == ["old"]
    assert unfinished_uploads(direct) == []


def test_a_large_conditional_put_that_comes_second_leaves_nothing(storage: S3Storage) -> None:
    body = bytes(PART) + b"end"
    storage.put(BUCKET, "k", body, if_absent=True)
    with pytest.raises(AlreadyExists):
        storage.put(BUCKET, "k", body, if_absent=True)
    assert unfinished_uploads(storage) == []
    assert storage.get(BUCKET, "k") == body


def test_an_upload_that_fails_says_why(
    storage: S3Storage, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = io.BytesIO(bytes(4 * PART))
    read = failing.read

    def read_and_break(size: int | None = -1, /) -> bytes:
        if failing.tell() > 2 * PART:
            proxy.fail_all(403, "AccessDenied")
        return read(size)

    source = _Source(read_and_break)
    with pytest.raises(StorageError, match="give this identity the right"):
        storage.put(BUCKET, "k", source)  # type: ignore[arg-type] # all that is used of a file


class _Source:
    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read


def test_parts_suffice_for_the_largest_object() -> None:
    sizes = multipart.part_sizes()
    assert sum(next(sizes) for _ in range(10_000)) >= 5 << 40


# ---------------------------------------------------------------- requests are money


def test_operations_make_one_request(storage: S3Storage, proxy: FaultyProxy) -> None:
    storage.put(BUCKET, "k", b"0123456789")
    expected: list[tuple[Callable[[], Any], dict[str, int]]] = [
        (lambda: storage.put(BUCKET, "k", b"0123456789"), {"PUT": 1}),
        (lambda: storage.put(BUCKET, "new", b"", if_absent=True), {"PUT": 1}),
        (lambda: storage.get(BUCKET, "k"), {"GET": 1}),
        (lambda: storage.get(BUCKET, "k", ByteRange(2, 5)), {"GET": 1}),
        (lambda: storage.get(BUCKET, "k", ByteRange(10, 20)), {"GET": 1}),
        (lambda: storage.get(BUCKET, "k", ByteRange(5, 5)), {}),
        (lambda: storage.open(BUCKET, "k").close(), {"GET": 1}),
        (lambda: storage.head(BUCKET, "k"), {"HEAD": 1}),
        (lambda: list(storage.list(BUCKET)), {"LIST": 1}),
        (lambda: storage.ensure_bucket(BUCKET), {"HEAD": 1}),
        (lambda: storage.bucket_exists(BUCKET), {"HEAD": 1}),
        (lambda: storage.get_many(BUCKET, ["k", "new", "k"]), {"GET": 2}),
        (lambda: storage.delete(BUCKET, ["k"]), {"DELETE": 1}),
        (lambda: storage.delete(BUCKET, ["k", "new"]), {"POST": 1}),
        (lambda: storage.delete(BUCKET, []), {}),
        (lambda: storage.put(BUCKET, "k", bytes(2 * PART)), {"POST": 2, "PUT": 2}),
        (
            lambda: storage.put(BUCKET, "l", bytes(2 * PART), if_absent=True),
            {"POST": 2, "PUT": 2, "HEAD": 1},
        ),
        (lambda: storage.reference(BUCKET), {}),
        (lambda: storage.default_bucket(), {}),
    ]
    for use, counts in expected:
        proxy.counts.clear()
        use()
        assert proxy.counts == Counter(counts)

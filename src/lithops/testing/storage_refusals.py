"""What is not there, and what is not allowed: one class of error for each, the same on every storage."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lithops.exceptions import AccessDenied, InvalidKey, NoSuchBucket, StorageNoSuchKeyError
from lithops.storage.base import StorageBackend
from lithops.storage.client import Storage
from lithops.testing.samples import unseekable
from lithops.testing.storage_suite import StorageSuite
from lithops.wire.messages import ByteRange

_ADVICE = re.compile(r"\b(allow|ask|check|give|grant|log in|renew|set|take|use)\b")
"""What a message says that also says what to do."""


class StorageRefusals(StorageSuite):
    def test_a_missing_key(self, backend: StorageBackend) -> None:
        backend.put(self.bucket, "folder/there", b"")
        for key in ("missing", "folder", "folder/", "folder/missing", "folder/there/below"):
            for read in (backend.get, backend.open, backend.head):
                with pytest.raises(StorageNoSuchKeyError) as caught:
                    read(self.bucket, key)
                assert (caught.value.bucket, caught.value.key) == (self.bucket, key)
            backend.delete(self.bucket, [key])
        with pytest.raises(StorageNoSuchKeyError):
            backend.get(self.bucket, "missing", ByteRange(0, 1))
        with pytest.raises(StorageNoSuchKeyError):
            backend.open(self.bucket, "missing", ByteRange(0, 1))

    def test_a_missing_bucket(self, backend: StorageBackend) -> None:
        missing = self.bucket + "-missing"
        uses: list[Callable[[], Any]] = [
            lambda: backend.put(missing, "k", b""),
            lambda: backend.put(missing, "k", b"", if_absent=True),
            lambda: backend.put(missing, "k", unseekable(bytes(self.large_bytes))),
            lambda: backend.get(missing, "k"),
            lambda: backend.get(missing, "k", ByteRange(0, 1)),
            lambda: backend.open(missing, "k"),
            lambda: backend.head(missing, "k"),
            lambda: backend.delete(missing, ["k"]),
            lambda: list(backend.list(missing)),
            lambda: list(backend.list(missing, "a/b")),
        ]
        for use in uses:
            with pytest.raises(NoSuchBucket, match=missing):
                use()
        assert not backend.bucket_exists(missing)

    def test_making_a_bucket_again_keeps_its_objects(self, backend: StorageBackend) -> None:
        backend.put(self.bucket, "k", b"kept")
        backend.ensure_bucket(self.bucket)
        assert backend.bucket_exists(self.bucket)
        assert backend.get(self.bucket, "k") == b"kept"

    def test_the_default_bucket_is_stable_and_usable(self, backend: StorageBackend) -> None:
        bucket = backend.default_bucket()
        assert bucket == backend.default_bucket()
        backend.ensure_bucket(bucket)
        assert backend.bucket_exists(bucket)

    def test_names_that_are_not_allowed(self, backend: StorageBackend) -> None:
        names = [(self.bucket, key) for key in self.invalid_keys] + [
            (name, "k") for name in self.invalid_buckets
        ]
        for bucket, key in names:
            uses: list[Callable[..., Any]] = [backend.get, backend.open, backend.head]
            for use in uses:
                with pytest.raises(InvalidKey):
                    use(bucket, key)
            with pytest.raises(InvalidKey):
                backend.put(bucket, key, b"")
            with pytest.raises(InvalidKey):
                backend.delete(bucket, [key])
        for bucket in self.invalid_buckets:
            for of_bucket in (
                backend.ensure_bucket,
                backend.bucket_exists,
                lambda name: list(backend.list(name)),
            ):
                with pytest.raises(InvalidKey):
                    of_bucket(bucket)
        assert list(backend.list(self.bucket)) == []

    # ---------------------------------------------------------------- rights

    @pytest.fixture
    def denied(self, backend: StorageBackend, tmp_path: Path) -> Iterator[StorageBackend]:
        backend.put(self.bucket, "there", b"before")
        yield from _opened(self.make_denied_backend(tmp_path), "nobody here may read and not write")

    @pytest.fixture
    def stranger(self, backend: StorageBackend, tmp_path: Path) -> Iterator[StorageBackend]:
        backend.put(self.bucket, "there", b"before")
        yield from _opened(self.make_stranger_backend(tmp_path), "this storage asks for no secret")

    def test_who_may_only_read_cannot_write(self, backend: StorageBackend, denied: StorageBackend) -> None:
        self._check_denied(
            lambda: denied.put(self.bucket, "there", b"after"),
            lambda: denied.put(self.bucket, "new", b"new", if_absent=True),
            lambda: denied.put(self.bucket, "new", unseekable(bytes(self.large_bytes))),
            lambda: denied.delete(self.bucket, ["there"]),
            lambda: denied.delete(self.bucket, ["there", "missing"]),
            lambda: denied.ensure_bucket(self.bucket + "-not-mine"),
        )
        assert denied.get(self.bucket, "there") == b"before"
        assert [info.key for info in backend.list(self.bucket)] == ["there"]
        assert not backend.bucket_exists(self.bucket + "-not-mine")

    def test_who_may_only_read_can_read(self, denied: StorageBackend) -> None:
        assert denied.get(self.bucket, "there", ByteRange(0, 3)) == b"bef"
        with denied.open(self.bucket, "there") as stream:
            assert stream.read() == b"before"
        assert denied.head(self.bucket, "there").size == 6
        assert [info.key for info in denied.list(self.bucket)] == ["there"]
        assert denied.bucket_exists(self.bucket)
        with pytest.raises(StorageNoSuchKeyError):
            denied.get(self.bucket, "missing")

    def test_a_wrong_secret_opens_nothing(self, backend: StorageBackend, stranger: StorageBackend) -> None:
        self._check_denied(
            lambda: stranger.put(self.bucket, "there", b"after"),
            lambda: stranger.put(self.bucket, "new", b"new", if_absent=True),
            lambda: stranger.put(self.bucket, "new", unseekable(bytes(self.large_bytes))),
            lambda: stranger.get(self.bucket, "there"),
            lambda: stranger.get(self.bucket, "there", ByteRange(0, 1)),
            lambda: stranger.get(self.bucket, "missing"),
            lambda: stranger.open(self.bucket, "there"),
            lambda: stranger.head(self.bucket, "there"),
            lambda: stranger.delete(self.bucket, ["there"]),
            lambda: list(stranger.list(self.bucket)),
            lambda: stranger.bucket_exists(self.bucket),
            lambda: stranger.ensure_bucket(self.bucket),
            lambda: Storage.over(stranger, self.bucket).get_object(self.bucket, "there"),
        )
        assert backend.get(self.bucket, "there") == b"before"
        assert [info.key for info in backend.list(self.bucket)] == ["there"]

    def _check_denied(self, *uses: Callable[[], Any]) -> None:
        """Each of these is refused, with an advice and without a secret in it."""
        for number, use in enumerate(uses):
            with pytest.raises(AccessDenied) as caught:
                use()
            message = str(caught.value)
            assert _ADVICE.search(message), f"use {number} gives no advice: {message}"
            for secret in self.credentials().values():
                assert str(secret) not in message


def _opened(backend: StorageBackend | None, none: str) -> Iterator[StorageBackend]:
    if backend is None:
        pytest.skip(none)
    try:
        yield backend
    finally:
        backend.close()

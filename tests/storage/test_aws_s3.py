"""S3 keeps the promises of every storage, on a real server.

SeaweedFS is a tree of folders below its S3: it lists folder by folder, knows no key that is no path, and finds its
folders where an object is asked for. What depends on that is tested on the gateway of Ceph (`test_aws_s3_ceph`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from seaweedfs_server import SeaweedFS

from lithops.storage.backends.aws_s3.backend import S3Storage
from lithops.storage.backends.aws_s3.config import AwsS3Config
from lithops.testing.samples import NASTY_KEYS
from lithops.testing.storage import StorageConformance


def is_path(key: str) -> bool:
    segments = key.split("/")
    return "\\" not in key and all(name not in ("", ".") and len(name.encode()) < 256 for name in segments)


NEED_A_FLAT_STORE = {
    "test_a_missing_key",
    "test_long_listings_are_whole_and_in_order",
    "test_nasty_keys_are_found_by_prefix",
    "test_nasty_keys_are_listed_one_after_another",
    "test_nasty_keys_live_side_by_side",
    "test_users_list_with_prefixes_and_globs",
}


class TestConformance(StorageConformance):
    server: SeaweedFS
    deleted_keys = 1_200
    bulk_keys = 300
    nasty_keys = tuple(filter(is_path, NASTY_KEYS))
    races: ClassVar[int] = 1
    """It makes writers of one key wait for each other, by the second."""

    @pytest.fixture(autouse=True)
    def use_server(self, seaweedfs: SeaweedFS, request: pytest.FixtureRequest) -> None:
        if request.node.originalname in NEED_A_FLAT_STORE:
            pytest.skip("SeaweedFS is a tree of folders; Ceph runs this one")
        self.server = seaweedfs

    def make_backend(self, tmp_path: Path) -> S3Storage:
        return self._make()

    def make_denied_backend(self, tmp_path: Path) -> S3Storage:
        access_key_id, secret_access_key = self.server.read_only
        return self._make(access_key_id=access_key_id, secret_access_key=secret_access_key)

    def make_stranger_backend(self, tmp_path: Path) -> S3Storage:
        return self._make(secret_access_key="not the secret")

    def credentials(self) -> Mapping[str, Any]:
        return self.server.secrets

    def _make(self, **others: str) -> S3Storage:
        return S3Storage(AwsS3Config(**{**self.server.settings, **others}))

    def test_keys_that_are_paths_live_side_by_side(self, backend: S3Storage) -> None:
        for key in self.nasty_keys:
            backend.put(self.bucket, key, f"body of {key}".encode())
        assert {info.key for info in backend.list(self.bucket)} == set(self.nasty_keys)
        for key in self.nasty_keys:
            assert backend.get(self.bucket, key) == f"body of {key}".encode()
            assert backend.head(self.bucket, key).key == key
        backend.delete(self.bucket, self.nasty_keys)
        assert list(backend.list(self.bucket)) == []

    def test_long_listings_go_on_where_a_page_ends(self, backend: S3Storage) -> None:
        keys = [f"d{number % 3}/{number:05d}" for number in range(self.listed_keys)]
        self.in_threads(16, lambda key: backend.put(self.bucket, key, key.encode()), keys)
        assert [info.key for info in backend.list(self.bucket)] == sorted(keys)
        for prefix, start_after in (("d1/", ""), ("d", "d1/00004"), ("d1/", "d1/00007"), ("e", "")):
            expected = [key for key in sorted(keys) if key.startswith(prefix) and key > start_after]
            assert [info.key for info in backend.list(self.bucket, prefix, start_after)] == expected

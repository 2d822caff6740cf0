"""Objects as block blobs of an Azure storage account: a bucket is a container, a key is a blob's name."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import BlobProperties, BlobServiceClient

from lithops.exceptions import NoSuchBucket, StorageError, StorageNoSuchKeyError
from lithops.storage.backends.azure_storage.account import find_account
from lithops.storage.backends.azure_storage.config import AzureStorageConfig
from lithops.storage.backends.azure_storage.connection import Connection
from lithops.storage.backends.azure_storage.errors import translate_errors
from lithops.storage.backends.azure_storage.names import check_blob, check_container
from lithops.storage.backends.azure_storage.quick import open_store
from lithops.storage.backends.azure_storage.reading import download, open_stream
from lithops.storage.backends.azure_storage.uploading import upload
from lithops.storage.base import Body, ObjectInfo
from lithops.storage.credentials import public_options
from lithops.storage.many import ManyReader
from lithops.wire.messages import ByteRange, StorageRef

if TYPE_CHECKING:
    from azure.core.pipeline.transport import HttpResponse

_PAGE = 5_000
"""Objects that Azure lists in one request."""
_BATCH = 256
"""Deletions that Azure takes in one request."""
_BATCHES_AT_ONCE = 4


class AzureStorage:
    """Implements `StorageBackend` and `SupportsBulk`. Safe in threads and after a fork."""

    name = "azure_storage"

    def __init__(self, config: AzureStorageConfig) -> None:
        account = find_account(config, os.environ)
        self._connection = Connection(account)
        self._many = ManyReader(self.get, partial(open_store, self._connection))
        # A process elsewhere is told of the account even if only this one's environment named it.
        self._place = config
        if not (config.storage_account_name or config.endpoint):
            self._place = dataclasses.replace(
                config, storage_account_name=account.name, endpoint=account.endpoint
            )

    def put(self, bucket: str, key: str, body: Body, *, if_absent: bool = False) -> None:
        _check(bucket, key)
        blob, target = self._connection.blob(bucket, key), self._connection.target(bucket, key)
        upload(blob, body, target, if_absent=if_absent)

    def get(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> bytes:
        _check(bucket, key)
        return download(self._connection.blob(bucket, key), self._connection.target(bucket, key), byte_range)

    def open(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> BinaryIO:
        _check(bucket, key)
        blob, target = self._connection.blob(bucket, key), self._connection.target(bucket, key)
        return open_stream(blob, target, byte_range)

    def get_many(self, bucket: str, keys: Sequence[str]) -> Sequence[bytes | StorageError]:
        for key in keys:
            _check(bucket, key)
        return self._many.get_many(bucket, keys)

    def head(self, bucket: str, key: str) -> ObjectInfo:
        _check(bucket, key)
        with translate_errors(self._connection.target(bucket, key)):
            return _info(key, self._connection.blob(bucket, key).get_blob_properties())

    def list(self, bucket: str, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        check_container(bucket)
        with translate_errors(self._connection.target(bucket)):
            # Emulators may not know `start_from`, which includes its key: what comes before is skipped here too.
            for blob in self._connection.container(bucket).list_blobs(
                name_starts_with=prefix or None,
                start_from=start_after if start_after > prefix else None,
                results_per_page=_PAGE,
            ):
                if blob.name > start_after:
                    yield _info(blob.name, blob)

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        check_container(bucket)
        for key in keys:
            check_blob(key)
        unique = list(dict.fromkeys(keys))
        batches = [unique[start : start + _BATCH] for start in range(0, len(unique), _BATCH)]
        with ThreadPoolExecutor(_BATCHES_AT_ONCE, "lithops-delete") as pool:
            for _ in pool.map(partial(self._delete_batch, bucket), batches):
                pass

    def _delete_one(self, bucket: str, key: str) -> None:
        try:
            with translate_errors(self._connection.target(bucket, key)):
                self._connection.blob(bucket, key).delete_blob("include")
        except StorageNoSuchKeyError:
            return

    def _delete_batch(self, bucket: str, keys: Sequence[str]) -> None:
        if len(keys) == 1:
            self._delete_one(bucket, keys[0])
            return
        with translate_errors(self._connection.target(bucket)):
            answers = list(
                self._connection.container(bucket).delete_blobs(
                    *keys, delete_snapshots="include", raise_on_any_failure=False
                )
            )
        # Answers may come in another order than the keys: deleted one by one, each is tried again, or told of.
        if not all(map(_is_gone, answers)):
            for key in keys:
                self._delete_one(bucket, key)

    def ensure_bucket(self, bucket: str) -> None:
        # Asking needs fewer rights than creating, and one request where there is a bucket.
        if self.bucket_exists(bucket):
            return
        with translate_errors(self._connection.target(bucket)), suppress(ResourceExistsError):
            self._connection.container(bucket).create_container()

    def bucket_exists(self, bucket: str) -> bool:
        check_container(bucket)
        try:
            with translate_errors(self._connection.target(bucket)):
                self._connection.container(bucket).get_container_properties()
        except NoSuchBucket:
            return False
        return True

    def default_bucket(self) -> str:
        return self._place.storage_bucket or f"lithops-{self._connection.account.name}"

    def reference(self, bucket: str) -> StorageRef:
        return StorageRef(self.name, bucket, public_options(self._place))

    def client(self) -> BlobServiceClient:
        """The SDK's client of the account."""
        return self._connection.service()

    def close(self) -> None:
        self._many.close()
        self._connection.close()


def _check(bucket: str, key: str) -> None:
    check_container(bucket)
    check_blob(key)


def _is_gone(answer: HttpResponse) -> bool:
    return answer.status_code == 202 or answer.headers.get("x-ms-error-code") == "BlobNotFound"


def _info(key: str, properties: BlobProperties) -> ObjectInfo:
    # A listing gives the tag without the quotes that a header has.
    return ObjectInfo(key, properties.size, properties.etag.strip('"'), properties.last_modified.timestamp())

"""Objects of Google Cloud Storage, by Google's own SDK and its JSON API."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, repeat
from typing import Any, BinaryIO, cast
from urllib.parse import quote

from google.api_core.exceptions import Conflict, NotFound

from lithops.exceptions import (
    AccessDenied,
    AlreadyExists,
    InvalidKey,
    NoSuchBucket,
    StorageError,
    StorageNoSuchKeyError,
    StorageUnavailable,
)
from lithops.storage.backends.gcp_storage.config import GcpStorageConfig
from lithops.storage.backends.gcp_storage.connection import RETRY, TIMEOUT_S, Connection, connect, endpoint_of
from lithops.storage.backends.gcp_storage.errors import FOREIGN, translate
from lithops.storage.backends.gcp_storage.reading import ObjectReader
from lithops.storage.backends.gcp_storage.uploading import (
    CONTENT_TYPE,
    PIECE_BYTES,
    ResumableUpload,
    mark_last,
)
from lithops.storage.base import Body, ObjectInfo
from lithops.storage.bodies import pieces
from lithops.storage.credentials import public_options
from lithops.storage.many import read_each
from lithops.storage.naming import check_dns_bucket, check_key
from lithops.storage.processes import PerProcess
from lithops.wire.messages import ByteRange, StorageRef

_PATIENT: dict[str, Any] = {"retry": RETRY, "timeout": TIMEOUT_S}
"""Every request may be repeated: a put stores the same bytes under the same name again."""
_BUFFER_BYTES = 262_144
_THREADS = 32
_LISTED_FIELDS = "nextPageToken,items(name,size,generation,updated)"
_WRITER = "lithops-writer"
"""The metadata of an object that was put conditionally: whose put it was."""


class GcpStorage:
    """Implements `StorageBackend` and `SupportsBulk`. Safe in threads; each process has a connection of its own."""

    name = "gcp_storage"

    def __init__(self, config: GcpStorageConfig) -> None:
        self._config = config
        self._connections = PerProcess(partial(connect, config))

    def put(self, bucket: str, key: str, body: Body, *, if_absent: bool = False) -> None:
        _check(bucket, key)
        metadata = {_WRITER: os.urandom(16).hex()} if if_absent else {}
        marked = mark_last(pieces(body, repeat(PIECE_BYTES)))
        first, is_whole = next(marked)
        try:
            if is_whole:
                self._put_whole(bucket, key, first, metadata)
            else:
                self._put_pieces(bucket, key, chain([(first, False)], marked), metadata)
        except AlreadyExists:
            # An attempt whose answer was lost may have won, and the next one have lost against it.
            if not (metadata and self._wrote(bucket, key, metadata)):
                raise

    def _put_whole(self, bucket: str, key: str, body: bytes, metadata: dict[str, str]) -> None:
        with self._errors(bucket, key):
            blob = self._blob(bucket, key)
            if metadata:
                blob.metadata = metadata
            condition = {"if_generation_match": 0} if metadata else {}
            blob.upload_from_string(body, CONTENT_TYPE, checksum="crc32c", **condition, **_PATIENT)

    def _put_pieces(
        self, bucket: str, key: str, marked: Iterator[tuple[bytes, bool]], metadata: dict[str, str]
    ) -> None:
        with self._errors(bucket, key):
            connection = self._connection()
            url = f"{connection.endpoint}/upload/storage/v1/b/{bucket}/o"
            condition = {"ifGenerationMatch": "0"} if metadata else {}
            upload = ResumableUpload(connection, url, {"name": key, **condition}, metadata)
        try:
            # What goes wrong while the body is read is the caller's, and is not translated.
            for piece, is_last in marked:
                with self._errors(bucket, key):
                    upload.send(piece, is_last=is_last)
        except BaseException:
            upload.cancel()
            raise

    def _wrote(self, bucket: str, key: str, metadata: dict[str, str]) -> bool:
        """Whether the object is the one that the put with this metadata stored."""
        try:
            with self._errors(bucket, key):
                blob = self._blob(bucket, key)
                blob.reload(**_PATIENT)
        except StorageNoSuchKeyError:
            return False
        return bool((blob.metadata or {}).get(_WRITER) == metadata[_WRITER])

    def get(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> bytes:
        if _is_empty(byte_range):
            self.head(bucket, key)
            return b""
        with self._reader(bucket, key, byte_range) as reader:
            return reader.readall()

    def get_many(self, bucket: str, keys: Sequence[str]) -> Sequence[bytes | StorageError]:
        return read_each(partial(self.get, bucket), keys)

    def open(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> BinaryIO:
        if _is_empty(byte_range):
            self.head(bucket, key)
            return io.BytesIO()
        return io.BufferedReader(self._reader(bucket, key, byte_range), _BUFFER_BYTES)

    def _reader(self, bucket: str, key: str, byte_range: ByteRange | None) -> ObjectReader:
        _check(bucket, key)
        connection = self._connection()
        # The SDK's own readers take the whole object into memory, or ask again for each piece.
        url = f"{connection.endpoint}/download/storage/v1/b/{bucket}/o/{quote(key, safe='')}"
        return ObjectReader(connection, url, byte_range, partial(self._errors, bucket, key))

    def head(self, bucket: str, key: str) -> ObjectInfo:
        _check(bucket, key)
        with self._errors(bucket, key):
            blob = self._blob(bucket, key)
            blob.reload(**_PATIENT)
            return _info(blob)

    def list(self, bucket: str, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        check_dns_bucket(bucket)
        offset = {"prefix": prefix or None, "start_offset": start_after or None}
        with self._errors(bucket):
            for blob in self.client().list_blobs(bucket, fields=_LISTED_FIELDS, **offset, **_PATIENT):
                # Google starts with the offset itself.
                if blob.name != start_after:
                    yield _info(blob)

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        check_dns_bucket(bucket)
        for key in keys:
            _check(bucket, key)
        if not keys:
            return
        # Not in the SDK's batches: they are not repeated when they fail, and emulators do not know them.
        with ThreadPoolExecutor(min(_THREADS, len(keys))) as pool:
            missing = [*pool.map(partial(self._delete_one, bucket), keys)]
        first_missing = next(filter(None, missing), None)
        if first_missing is not None:
            # It may be the bucket that is missing.
            with suppress(StorageNoSuchKeyError), self._errors(bucket, keys[0]):
                raise first_missing

    def _delete_one(self, bucket: str, key: str) -> NotFound | None:
        with self._errors(bucket, key):
            try:
                self._blob(bucket, key).delete(**_PATIENT)
            except NotFound as error:
                return error
        return None

    def ensure_bucket(self, bucket: str) -> None:
        if self.bucket_exists(bucket):
            return
        connection = self._connection()
        if connection.project is None:
            raise StorageError(
                f"there is no bucket '{bucket}', and no project to create it in; set `project_name` in the section "
                "gcp, or create the bucket"
            )
        with self._errors(bucket):
            try:
                connection.client.create_bucket(bucket, location=self._config.region, **_PATIENT)
            except Conflict as conflict:
                self._check_ours(bucket, conflict)

    def _check_ours(self, bucket: str, conflict: Conflict) -> None:
        """A bucket of this name was created meanwhile, or is somebody else's."""
        try:
            if self.bucket_exists(bucket):
                return
        except AccessDenied:
            raise AccessDenied(
                f"there is a bucket '{bucket}' of somebody else, for names are the whole world's; set `storage_bucket` "
                "to another name"
            ) from conflict
        raise StorageUnavailable(
            f"bucket '{bucket}' can be neither found nor created: it is being deleted; try again later"
        ) from conflict

    def bucket_exists(self, bucket: str) -> bool:
        check_dns_bucket(bucket)
        try:
            # Who may use the objects may list them, but often not read the bucket's own description.
            with self._errors(bucket):
                next(self.client().list_blobs(bucket, max_results=1, fields="kind", **_PATIENT).pages, None)
        except NoSuchBucket:
            return False
        return True

    def default_bucket(self) -> str:
        if self._config.storage_bucket:
            return self._config.storage_bucket
        project = self._config.project_name
        if project is None:
            project = self._connection().project
        if project is None:
            raise StorageError(
                "there is no bucket in the configuration, and no project to derive its name from; set `storage_bucket` "
                "in the section gcp_storage, or `project_name` in the section gcp"
            )
        # A digest, because names of buckets must not contain some words that names of projects may.
        digest = hashlib.sha256(project.encode()).hexdigest()[:16]
        return "-".join(filter(None, ["lithops", self._config.region, digest])).lower()

    def reference(self, bucket: str) -> StorageRef:
        return StorageRef(self.name, bucket, public_options(self._config))

    def client(self) -> Any:
        """The `google.cloud.storage.Client` of this process."""
        return self._connection().client

    def close(self) -> None:
        """Close this process's sockets. What is used afterwards opens new ones."""
        connection = self._connections.take()
        if connection is not None:
            connection.close()

    def _connection(self) -> Connection:
        with self._errors():
            return self._connections.get()

    def _blob(self, bucket: str, key: str) -> Any:
        return self.client().bucket(bucket).blob(key)

    @contextmanager
    def _errors(self, bucket: str = "", key: str = "") -> Iterator[None]:
        """Whatever Google's libraries raise is a `StorageError` outside."""
        try:
            yield
        except FOREIGN as error:
            raise translate(
                error,
                endpoint=endpoint_of(self._config),
                bucket=bucket,
                key=key,
                bucket_exists=partial(self.bucket_exists, bucket),
            ) from error


def _check(bucket: str, key: str) -> None:
    check_dns_bucket(bucket)
    check_key(key)
    if key == "." or "\r" in key or "\n" in key or key.startswith(".well-known/acme-challenge/"):
        raise InvalidKey(
            f"Google allows no key {key[:80]!r}: take one without line breaks that is not '.' and does not start with "
            "'.well-known/acme-challenge/'"
        )


def _is_empty(byte_range: ByteRange | None) -> bool:
    return byte_range is not None and byte_range.stop <= max(0, byte_range.start)


def _info(blob: Any) -> ObjectInfo:
    # The generation is Google's own number of an object's content: the same in every answer, and never used again.
    return ObjectInfo(blob.name, cast(int, blob.size), str(blob.generation), blob.updated.timestamp())

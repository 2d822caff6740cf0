"""Objects in buckets of S3, or of a service that speaks S3.

Every request goes through `_call` or `persistently`: a failure that may pass is tried again, and what is left is one
of our own errors. The SDK itself does not try again.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from functools import partial
from itertools import chain
from typing import Any, BinaryIO

from botocore.exceptions import ClientError

from lithops.exceptions import NoSuchBucket, StorageError, StorageNoSuchKeyError, StorageUnavailable
from lithops.storage.backends.aws_s3 import multipart
from lithops.storage.backends.aws_s3.config import S3Config
from lithops.storage.backends.aws_s3.connection import Connection
from lithops.storage.backends.aws_s3.errors import (
    code_of,
    of_entry,
    status_of,
    translate_errors,
    translated,
)
from lithops.storage.backends.aws_s3.quick import open_store
from lithops.storage.backends.aws_s3.streams import open_stream
from lithops.storage.base import Body, ObjectInfo
from lithops.storage.bodies import pieces
from lithops.storage.credentials import public_options
from lithops.storage.errors import already_exists
from lithops.storage.many import ManyReader
from lithops.storage.naming import check_dns_bucket, check_key
from lithops.storage.patience import persistently
from lithops.wire.messages import ByteRange, StorageRef

_DELETED_AT_ONCE = 1000
_OPEN_END = sys.maxsize >> 1
"""A range that stops here or later means: to the end. Not every server reads such numbers."""
_WRITER = "lithops-writer"
"""The metadata by which a writer knows its own object again, when the answer to its put was lost."""
_NOT_IN_XML = re.compile("[\x00-\x1f\x7f\ufffe\uffff]")


class S3Storage:
    """Implements `StorageBackend` and `SupportsBulk`. Safe in threads, and after a fork."""

    def __init__(self, config: S3Config) -> None:
        """Makes no request. Raises `ConfigError` if nothing says where the service is."""
        self.name = config.name
        self._config = config
        self._connection = Connection(config, config.endpoint_url())
        self._many = ManyReader(self.get, partial(open_store, self._connection))
        self._default_bucket = config.storage_bucket

    # ---------------------------------------------------------------- writing

    def put(self, bucket: str, key: str, body: Body, *, if_absent: bool = False) -> None:
        _check(bucket, key)
        # What goes wrong while the body is read is the caller's, and is not translated.
        parts = pieces(body, multipart.part_sizes())
        first, second = next(parts), next(parts, None)
        condition = {"IfNoneMatch": "*"} if if_absent else {}
        writer = {_WRITER: os.urandom(16).hex()}
        if second is None:
            arguments = {"Body": first, **condition, **({"Metadata": writer} if if_absent else {})}
            self._commit("put_object", bucket, key, writer, arguments)
        else:

            def complete(upload: dict[str, Any]) -> None:
                if if_absent and not self._connection.is_aws:
                    self._check_absent(bucket, key)
                self._commit("complete_multipart_upload", bucket, key, writer, upload | condition)

            call = partial(self._call, bucket=bucket, key=key)
            multipart.upload(call, chain((first, second), parts), writer, complete)

    def _commit(
        self, operation: str, bucket: str, key: str, writer: dict[str, str], arguments: dict[str, Any]
    ) -> None:
        """The request that makes an object. It may succeed and its answer be lost: the next attempt is refused then."""
        attempts = 0

        def attempt() -> None:
            nonlocal attempts
            attempts += 1
            self._once(operation, bucket, key, arguments)

        try:
            persistently(attempt)
        except StorageUnavailable:
            raise
        except StorageError:
            if attempts == 1 or not self._is_written_by(writer, bucket, key):
                raise

    def _is_written_by(self, writer: dict[str, str], bucket: str, key: str) -> bool:
        try:
            found = self._call("head_object", bucket, key)["Metadata"]
        except StorageError:
            return False  # what the put itself was told is what its caller has to know
        return bool(found.get(_WRITER) == writer[_WRITER])

    def _check_absent(self, bucket: str, key: str) -> None:
        """Older relations heed the condition of a put, but not that of a completion."""
        try:
            self._call("head_object", bucket, key)
        except StorageNoSuchKeyError:
            return
        raise already_exists(bucket, key)

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        check_dns_bucket(bucket)
        for key in keys:
            check_key(key)
        # A request for many is XML, which some characters cannot be written in.
        together = [key for key in keys if not _NOT_IN_XML.search(key)]
        alone = [key for key in keys if _NOT_IN_XML.search(key)]
        if len(together) == 1:
            alone, together = [*alone, *together], []
        for key in alone:
            self._call("delete_object", bucket, key)
        for start in range(0, len(together), _DELETED_AT_ONCE):
            persistently(partial(self._delete_batch, bucket, together[start : start + _DELETED_AT_ONCE]))

    def _delete_batch(self, bucket: str, keys: Sequence[str]) -> None:
        batch = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        for entry in self._once("delete_objects", bucket, "", {"Delete": batch}).get("Errors", ()):
            if entry.get("Code") != "NoSuchKey":
                raise translated(of_entry(entry), self._connection.endpoint, bucket, entry.get("Key", ""))

    # ---------------------------------------------------------------- reading

    def get(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> bytes:
        _check(bucket, key)
        if byte_range is not None and not len(byte_range) > 0:
            return b""
        return persistently(partial(self._get_once, bucket, key, byte_range))

    def _get_once(self, bucket: str, key: str, byte_range: ByteRange | None) -> bytes:
        with self._translation(bucket, key):
            answer = self._request_object(bucket, key, byte_range)
            if answer is None:
                return b""
            with closing(answer["Body"]) as body:
                data: bytes = body.read()
                return data

    def get_many(self, bucket: str, keys: Sequence[str]) -> Sequence[bytes | StorageError]:
        check_dns_bucket(bucket)
        return self._many.get_many(bucket, keys)

    def open(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> BinaryIO:
        _check(bucket, key)
        if byte_range is not None and not len(byte_range) > 0:
            return io.BytesIO()
        start = 0 if byte_range is None else byte_range.start
        stop = _OPEN_END if byte_range is None else byte_range.stop

        def request(offset: int, etag: str) -> dict[str, Any]:
            whole = byte_range is None and offset == 0
            rest = None if whole else ByteRange(start + offset, stop)
            answer = self._request_object(bucket, key, rest, **({"IfMatch": etag} if etag else {}))
            return {"Body": io.BytesIO(), "ETag": ""} if answer is None else answer

        return open_stream(request, lambda: self._translation(bucket, key))

    def _request_object(
        self, bucket: str, key: str, byte_range: ByteRange | None, **condition: str
    ) -> dict[str, Any] | None:
        """The SDK's answer, with a body to read; None where the range starts behind the end of the object."""
        if byte_range is not None:
            last = "" if byte_range.stop >= _OPEN_END else byte_range.stop - 1
            condition["Range"] = f"bytes={byte_range.start}-{last}"
        try:
            answer: dict[str, Any] = self.client().get_object(Bucket=bucket, Key=key, **condition)
            return answer
        except ClientError as error:
            if code_of(error) == "InvalidRange" or status_of(error) == 416:
                return None
            raise

    def head(self, bucket: str, key: str) -> ObjectInfo:
        _check(bucket, key)

        def explain() -> None:
            self.client().get_object(Bucket=bucket, Key=key)["Body"].close()

        found = self._head("head_object", bucket, key, explain)
        return _info(key, found["ContentLength"], found["ETag"], found["LastModified"])

    def list(self, bucket: str, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        check_dns_bucket(bucket)
        arguments = {"Prefix": prefix, **({"StartAfter": start_after} if start_after else {})}
        while True:
            page = self._call("list_objects_v2", bucket, **arguments)
            for entry in page.get("Contents", ()):
                yield _info(entry["Key"], entry["Size"], entry["ETag"], entry["LastModified"])
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    # ---------------------------------------------------------------- buckets

    def ensure_bucket(self, bucket: str) -> None:
        if self.bucket_exists(bucket):
            return
        region = self.client().meta.region_name
        elsewhere = self._connection.is_aws and region != "us-east-1"
        place = {"CreateBucketConfiguration": {"LocationConstraint": region}} if elsewhere else {}

        def create() -> bool:
            with self._translation(bucket):
                try:
                    self.client().create_bucket(Bucket=bucket, **place)
                except ClientError as error:
                    if code_of(error) not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                        raise
                    return False
            return True

        if not persistently(create):
            # Somebody was faster. Whether the bucket is ours to use is told by using it.
            self._head_bucket(bucket)

    def bucket_exists(self, bucket: str) -> bool:
        check_dns_bucket(bucket)
        try:
            self._head_bucket(bucket)
        except NoSuchBucket:
            return False
        return True

    def _head_bucket(self, bucket: str) -> None:
        self._head("head_bucket", bucket, "", lambda: self.client().list_objects_v2(Bucket=bucket, MaxKeys=1))

    def default_bucket(self) -> str:
        """Asks AWS who we are, once, if neither the bucket nor the account is configured."""
        if self._default_bucket is None:
            self._default_bucket = f"lithops-{self._place_and_account()}"
        return self._default_bucket

    def _place_and_account(self) -> str:
        if not self._connection.is_aws:
            with self._translation(""):
                credentials = self._connection.session().get_credentials()
            return _short_hash(f"{credentials and credentials.access_key}@{self._connection.endpoint}")
        account = self._config.account_id or persistently(self._connection.ask_account)
        return f"{self.client().meta.region_name}-{_short_hash(account)}"

    # ---------------------------------------------------------------- the rest

    def reference(self, bucket: str) -> StorageRef:
        return StorageRef(self.name, bucket, public_options(self._config))

    def client(self) -> Any:
        """boto3's client for S3."""
        return self._connection.client()

    def close(self) -> None:
        self._many.close()
        self._connection.close()

    # ---------------------------------------------------------------- requests

    def _call(self, operation: str, bucket: str, key: str = "", **arguments: Any) -> dict[str, Any]:
        """One request by the name of the client's method, tried again where that may help."""
        return persistently(partial(self._once, operation, bucket, key, arguments))

    def _once(self, operation: str, bucket: str, key: str, arguments: dict[str, Any]) -> dict[str, Any]:
        target = {"Bucket": bucket, **({"Key": key} if key else {})}
        with self._translation(bucket, key):
            answer: dict[str, Any] = getattr(self.client(), operation)(**target, **arguments)
            return answer

    def _head(self, operation: str, bucket: str, key: str, explain: Callable[[], Any]) -> dict[str, Any]:
        """A HEAD request. Its errors have no text, so `explain` asks again in a way that has one."""
        target = {"Bucket": bucket, **({"Key": key} if key else {})}

        def attempt() -> dict[str, Any]:
            with self._translation(bucket, key):
                try:
                    answer: dict[str, Any] = getattr(self.client(), operation)(**target)
                    return answer
                except ClientError as error:
                    if 400 <= status_of(error) < 500 and (key or status_of(error) != 404):
                        explain()
                    raise

        return persistently(attempt)

    def _translation(self, bucket: str, key: str = "") -> AbstractContextManager[None]:
        return translate_errors(self._connection.endpoint, bucket, key)


def _check(bucket: str, key: str) -> None:
    check_dns_bucket(bucket)
    check_key(key)


def _info(key: str, size: int, etag: str, modified: Any) -> ObjectInfo:
    # Answers to HEAD have whole seconds, listings of some services have more.
    return ObjectInfo(key, size, etag.strip('"'), modified.replace(microsecond=0).timestamp())


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]

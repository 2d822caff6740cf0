"""`Storage`: what users do with objects, on any backend."""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from types import MappingProxyType
from typing import Any, BinaryIO, TextIO, cast

from lithops.exceptions import InvalidCall, NoSuchBucket, StorageError, StorageNoSuchKeyError
from lithops.storage.base import Body, StorageBackend
from lithops.storage.cloudobject import CloudObject
from lithops.storage.globs import compile_glob, literal_prefix
from lithops.storage.registry import from_reference
from lithops.storage.urls import object_url
from lithops.wire.keys import cloudobject_key
from lithops.wire.messages import ByteRange, StorageRef
from lithops.wire.pickles import Buffer

logger = logging.getLogger(__name__)

UserBody = str | Buffer | TextIO | BinaryIO
"""What users put: text is stored as UTF-8."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_CHUNK_BYTES = 1 << 20
_OPEN_END = (1 << 63) - 1
"""Where a range that has no end stops: no object is longer."""


class Storage:
    """Objects in buckets, on one storage backend.

    Safe in threads and after a fork. Its pickle names the storage and holds no credentials.

    `config` is a complete configuration, as a configuration file holds it; without it, the one that an
    executor would find is taken. `backend` names another storage than the configuration does, and
    `storage_config` is that backend's section.

    Every method raises `StorageError`s only: the same for the same reason on every backend.
    """

    bucket: str
    """The configuration's bucket; where it names none, one that is made when it is first used."""
    backend: str
    """The name of the backend."""
    storage_handler: StorageBackend

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        backend: str | None = None,
        storage_config: Mapping[str, Any] | None = None,
    ) -> None:
        # Configuration is a higher layer than storage, and a worker has none: it is loaded here alone.
        loader = import_module("lithops.config.loader")
        self._take(loader.resolve_storage(config, backend, storage_config), None, "user")

    @classmethod
    def over(cls, backend: StorageBackend, bucket: str | None = None, *, job_key: str = "user") -> Storage:
        """A `Storage` of a backend that is there already. Its cloud objects belong to the job `job_key`."""
        storage = cls.__new__(cls)
        storage._take(backend, bucket, job_key)
        return storage

    def _take(self, backend: StorageBackend, bucket: str | None, job_key: str) -> None:
        self.storage_handler = backend
        self.backend = backend.name
        self.bucket = bucket or backend.default_bucket()
        self._job_key = job_key
        self._bucket_made = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.storage_handler.reference(self.bucket), self._job_key, self._bucket_made)

    def get_client(self) -> Any:
        """The SDK's own client, for what `Storage` does not do."""
        return self.storage_handler.client()

    def get_storage_config(self) -> dict[str, Any]:
        """Which storage this is. It holds no credentials."""
        options = {"storage_bucket": self.bucket, **self.storage_handler.reference(self.bucket).options}
        return {"backend": self.backend, "bucket": self.bucket, self.backend: options}

    # ---------------------------------------------------------------- buckets

    def create_bucket(self, bucket: str) -> None:
        """Create the bucket unless it exists."""
        self.storage_handler.ensure_bucket(bucket)

    def head_bucket(self, bucket: str) -> dict[str, Any]:
        """Raises `NoSuchBucket` unless the bucket exists."""
        if not self.storage_handler.bucket_exists(self._ready(bucket)):
            raise NoSuchBucket(
                f"there is no bucket '{bucket}'; check the name, or create it with create_bucket"
            )
        return {"ResponseMetadata": {"HTTPStatusCode": 200}}

    def _ready(self, bucket: str) -> str:
        """The bucket, made if it is our own and this is its first use."""
        if bucket == self.bucket and not self._bucket_made:
            self.storage_handler.ensure_bucket(bucket)
            self._bucket_made = True
        return bucket

    # ---------------------------------------------------------------- objects

    def put_object(self, bucket: str, key: str, body: UserBody) -> None:
        """Store text, bytes, or what a text or binary file holds from its position on."""
        self.storage_handler.put(self._ready(bucket), key, _encoded(body))

    def get_object(
        self, bucket: str, key: str, stream: bool = False, extra_get_args: Mapping[str, Any] = _NOTHING
    ) -> Any:
        """The object's bytes; with `stream`, a binary file to read them from, which the caller closes.

        `extra_get_args` may hold ``{'Range': 'bytes=0-99'}``: both ends are included, and the second may be
        left out; ``bytes=-100`` are the last 100 bytes. The result has those of the bytes that exist.
        """
        with self._naming_urls():
            byte_range = self._range(bucket, key, extra_get_args)
            read = self.storage_handler.open if stream else self.storage_handler.get
            return read(bucket, key, byte_range)

    def _range(self, bucket: str, key: str, extra_get_args: Mapping[str, Any]) -> ByteRange | None:
        others = sorted(set(extra_get_args) - {"Range"})
        if others:
            raise InvalidCall(f"extra_get_args takes 'Range' only, not {', '.join(map(repr, others))}")
        if "Range" not in extra_get_args:
            return None
        first, last = _parse_range(extra_get_args["Range"])
        if first is not None:
            return ByteRange(first, _OPEN_END if last is None else last + 1)
        size = self.storage_handler.head(bucket, key).size
        return ByteRange(max(0, size - (last or 0)), size)

    @contextmanager
    def _naming_urls(self) -> Iterator[None]:
        """An object that is missing is named by its URL, as its users write it."""
        try:
            yield
        except StorageNoSuchKeyError as error:
            url = object_url(self.backend, error.bucket, error.key)
            raise StorageNoSuchKeyError(error.bucket, error.key, url) from error

    def head_object(self, bucket: str, key: str) -> dict[str, str]:
        """The headers ``content-length`` (bytes), ``etag`` and ``last-modified``, as text."""
        # Slow to import.
        from email.utils import formatdate

        with self._naming_urls():
            info = self.storage_handler.head(bucket, key)
        modified = formatdate(info.last_modified, usegmt=True)
        return {"content-length": str(info.size), "etag": info.etag, "last-modified": modified}

    def delete_object(self, bucket: str, key: str) -> None:
        """Delete the object; it is no error if there is none."""
        self.storage_handler.delete(bucket, [key])

    def delete_objects(self, bucket: str, key_list: Sequence[str]) -> None:
        """Delete these objects; those that do not exist are no error."""
        self.storage_handler.delete(bucket, key_list)

    def list_objects(
        self, bucket: str, prefix: str | None = None, match_pattern: str | None = None
    ) -> list[dict[str, Any]]:
        """The objects as ``{'Key': ..., 'Size': bytes}``, in the order of their keys.

        `match_pattern` is a glob that the whole key has to match: ``?`` and ``*`` stay between two slashes,
        ``**`` does not.
        """
        start = prefix or ""
        matches = None
        if match_pattern is not None:
            matches = compile_glob(match_pattern).fullmatch
            start = max(start, literal_prefix(match_pattern), key=len)
        return [
            {"Key": info.key, "Size": info.size}
            for info in self.storage_handler.list(self._ready(bucket), start)
            if info.key.startswith(prefix or "") and (matches is None or matches(info.key))
        ]

    def list_keys(self, bucket: str, prefix: str | None = None) -> list[str]:
        """The keys that start with `prefix`, in order."""
        return [info.key for info in self.storage_handler.list(self._ready(bucket), prefix or "")]

    # ---------------------------------------------------------------- files

    def upload_file(
        self,
        file_name: str,
        bucket: str,
        key: str | None = None,
        extra_args: Mapping[str, Any] = _NOTHING,  # noqa: ARG002 - the backend chooses how it transfers
        config: Any = None,  # noqa: ARG002 - as above
    ) -> bool:
        """Store a file's content, by default under the file's name. False, and a warning, where that failed.

        `extra_args` and `config` are taken for programs that give them to other backends, and have no effect.
        """
        try:
            with open(file_name, "rb") as file:
                self.put_object(bucket, key or os.path.basename(file_name), file)
        except (OSError, StorageError) as error:
            logger.warning("'%s' was not uploaded to bucket '%s': %s", file_name, bucket, error)
            return False
        return True

    def download_file(
        self,
        bucket: str,
        key: str,
        file_name: str | None = None,
        extra_args: Mapping[str, Any] = _NOTHING,  # noqa: ARG002 - the backend chooses how it transfers
        config: Any = None,  # noqa: ARG002 - as above
    ) -> bool:
        """Write an object to a file, by default named as its key is. False, and a warning, where that failed.

        Folders are made. The file is there whole or not at all. `extra_args` and `config` have no effect.
        """
        # A key may hold '..': its file stays below the current folder all the same.
        target = os.path.abspath(file_name or os.path.normpath(f"/{key}").lstrip("/"))
        partial = f"{target}.{os.urandom(4).hex()}.part"
        try:
            with self.get_object(bucket, key, stream=True) as stream:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                _write_file(partial, stream, target)
        except (OSError, StorageError) as error:
            logger.warning("'%s' of bucket '%s' was not downloaded to '%s': %s", key, bucket, target, error)
            return False
        return True

    # ---------------------------------------------------------------- cloud objects

    def put_cloudobject(
        self, body: UserBody, bucket: str | None = None, key: str | None = None
    ) -> CloudObject:
        """Store an object under a new name, unless `key` gives one, and give what others can find it by."""
        target = bucket or self.bucket
        name = key or cloudobject_key(self._job_key, os.urandom(8).hex())
        self.put_object(target, name, body)
        return CloudObject(self.backend, target, name)

    def get_cloudobject(self, cloudobject: CloudObject, stream: bool = False) -> Any:
        """Its bytes; with `stream`, a binary file to read them from."""
        return self.get_object(*self._place(cloudobject), stream=stream)

    def delete_cloudobject(self, cloudobject: CloudObject) -> None:
        """Delete the object; it is no error if there is none."""
        self.delete_cloudobjects([cloudobject])

    def delete_cloudobjects(self, cloudobjects: Iterable[CloudObject]) -> None:
        """Delete these objects, of whatever buckets; those that do not exist are no error."""
        keys: dict[str, list[str]] = {}
        for bucket, key in map(self._place, cloudobjects):
            keys.setdefault(bucket, []).append(key)
        for bucket, bucket_keys in keys.items():
            self.storage_handler.delete(bucket, bucket_keys)

    def _place(self, cloudobject: CloudObject) -> tuple[str, str]:
        if cloudobject.backend != self.backend:
            raise InvalidCall(
                f"{cloudobject} is not on this storage, '{self.backend}'; "
                f"take a Storage(backend='{cloudobject.backend}')"
            )
        return cloudobject.bucket, cloudobject.key


def _restore(reference: StorageRef, job_key: str, bucket_made: bool) -> Storage:
    storage = Storage.over(from_reference(reference), reference.bucket, job_key=job_key)
    storage._bucket_made = bucket_made
    return storage


def _encoded(body: UserBody) -> Body:
    if isinstance(body, str):
        return body.encode()
    # Wrappers of the standard library are text files without being a `TextIOBase`.
    if isinstance(body, io.TextIOBase) or getattr(body, "encoding", None):
        text = cast(TextIO, body)
        return [chunk.encode() for chunk in iter(lambda: text.read(_CHUNK_BYTES), "")]
    if callable(getattr(body, "read", None)):
        return cast(BinaryIO, body)
    try:
        return memoryview(cast(Buffer, body))
    except TypeError:
        raise InvalidCall(
            f"an object's body cannot be a {type(body).__name__}; give str, bytes, or an open file"
        ) from None


def _parse_range(text: str) -> tuple[int | None, int | None]:
    """The first and the last byte, or None where one is left out."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", text)
    first, last = (int(end) if end else None for end in match.groups()) if match else (None, None)
    backwards = first is not None and last is not None and last < first
    if backwards or (first is None and last is None):
        raise InvalidCall(
            f"the range '{text}' cannot be read; give 'bytes=0-99', 'bytes=100-' or 'bytes=-100'"
        )
    return first, last


def _write_file(partial: str, stream: BinaryIO, target: str) -> None:
    """Write to `partial`, and rename it to `target` once it is whole."""
    try:
        with open(partial, "xb") as file:
            while chunk := stream.read(_CHUNK_BYTES):
                file.write(chunk)
        os.replace(partial, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(partial)
        raise

"""Objects on their way from Azure: in one request where they are small, in several parts where they are not."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient

from lithops.exceptions import StorageError, StorageUnavailable
from lithops.storage.backends.azure_storage.errors import Target, translate_errors
from lithops.storage.streams import open_pieces
from lithops.wire.messages import ByteRange

_WHOLE_BYTES = 32 << 20
"""Up to here, one request reads an object."""
_PART_BYTES = 8 << 20
_FIRST_PART_BYTES = 1 << 20
"""Of a stream: often the head of a file is all that is wanted."""
_AT_ONCE = 4
_ATTEMPTS = 3
"""Of bodies that break off. The SDK, too, asks three times for each, and tries each request again."""
_END = 1 << 60


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of an object from `start` on, and what is known of the whole."""

    data: bytes
    start: int
    size: int
    """Of the whole object."""
    etag: str


class Replaced(StorageUnavailable):
    """The object is no longer the one whose first part was read."""


def download(blob: BlobClient, target: Target, byte_range: ByteRange | None) -> bytes:
    """The object's bytes, or those of the range that exist; all of them are of one version of the object."""
    start, stop = _bounds(byte_range)
    for _ in range(_ATTEMPTS - 1):
        with suppress(Replaced):
            return _download(blob, target, start, stop)
    return _download(blob, target, start, stop)


def _download(blob: BlobClient, target: Target, start: int, stop: int) -> bytes:
    first = _fetch(blob, target, start, min(stop, start + _WHOLE_BYTES))
    stop = min(stop, first.size)
    starts = range(start + len(first.data), stop, _PART_BYTES)
    if not starts:
        return first.data
    with ThreadPoolExecutor(_AT_ONCE, "lithops-download") as pool:
        parts = pool.map(
            lambda at: _fetch(blob, target, at, min(at + _PART_BYTES, stop), first.etag).data, starts
        )
        return b"".join((first.data, *parts))


def open_stream(blob: BlobClient, target: Target, byte_range: ByteRange | None) -> BinaryIO:
    """The object, or a range of it, as a file that is read as far as it is asked for."""
    start, stop = _bounds(byte_range)
    first = _fetch(blob, target, start, min(stop, start + _FIRST_PART_BYTES))
    return open_pieces(_growing(blob, target, first, min(stop, first.size)), _FIRST_PART_BYTES)


def _growing(blob: BlobClient, target: Target, part: Part, stop: int) -> Iterator[bytes]:
    """Parts, each twice the last: a request for a few bytes costs little, and a long object few requests."""
    size = _FIRST_PART_BYTES
    while part.data:
        yield part.data
        size = min(2 * size, _PART_BYTES)
        start = part.start + len(part.data)
        if start >= stop:
            return
        part = _fetch(blob, target, start, min(start + size, stop), part.etag)


def _fetch(blob: BlobClient, target: Target, start: int, stop: int, etag: str = "") -> Part:
    """One request, for the bytes from `start` to `stop`; repeated where its answer breaks off."""
    if start >= stop:
        with translate_errors(target):
            properties = blob.get_blob_properties()
        return Part(b"", start, properties.size, properties.etag)
    for _ in range(_ATTEMPTS - 1):
        try:
            return _fetch_once(blob, target, start, stop, etag)
        except StorageUnavailable as error:
            # What was refused has been tried often enough by now.
            if not _broke_off(error.__cause__):
                raise
    return _fetch_once(blob, target, start, stop, etag)


def _fetch_once(blob: BlobClient, target: Target, start: int, stop: int, etag: str) -> Part:
    options: dict[str, Any] = {"etag": etag, "match_condition": MatchConditions.IfNotModified} if etag else {}
    try:
        with translate_errors(target):
            # Bytes are wanted as they were put, even if they say of themselves that they are compressed.
            answer = blob.download_blob(start, stop - start, decompress=False, **options)
            size = int((answer.properties.content_range or "").rpartition("/")[2])
            return Part(answer.readall(), start, size, answer.properties.etag)
    except StorageError as error:
        match _status(error.__cause__):
            case 416:
                return Part(b"", start, start, "")
            case 412:
                raise Replaced(f"{target} was replaced while it was read; read it again") from error
        raise


def _status(cause: BaseException | None) -> int | None:
    return cause.status_code if isinstance(cause, HttpResponseError) else None


def _broke_off(cause: BaseException | None) -> bool:
    """Whether an answer had begun to arrive: such errors of the SDK have no answer's status."""
    return isinstance(cause, HttpResponseError) and cause.status_code is None


def _bounds(byte_range: ByteRange | None) -> tuple[int, int]:
    return (0, _END) if byte_range is None else (max(0, byte_range.start), min(byte_range.stop, _END))

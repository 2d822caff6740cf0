"""URLs over HTTP: what their servers say of them, and their bytes. Standard library only.

No server is believed when it offers ranges: it is asked for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.client import HTTPException, HTTPResponse, IncompleteRead, InvalidURL
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from lithops.exceptions import AccessDenied, StorageError, StorageUnavailable
from lithops.wire.messages import ByteRange
from lithops.wire.parts import DataKind, DataPart, show_url
from lithops.worker.reading import BLOCK_BYTES, DELAYS_S, Blocks, Sleep, changed

TIMEOUT_S = 60.0
"""How long a server may be silent."""
_TRY_AGAIN = (408, 425, 429)
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")


def look_up(url: str, *, sleep: Sleep) -> DataPart:
    """The URL's data as one part. Raises `StorageError` when it cannot be had."""
    delays_s = iter(DELAYS_S)
    while True:
        try:
            return _look_up(url)
        except StorageUnavailable:
            delay_s = next(delays_s, None)
            if delay_s is None:
                raise
            sleep(delay_s)


def read_url(part: DataPart, start: int, stop: int | None) -> Blocks:
    """The bytes from `start` up to `stop`, or more where the server sends only the whole.

    Raises `StorageUnavailable` when the connection breaks off, `StorageError` when the data changed.
    """
    whole = not part.has_ranges or stop is None or (start, stop) == (0, part.size)
    wanted = None if whole or stop is None else ByteRange(start, stop)
    with _translated_errors(part.url), _get(part.url, wanted) as response:
        _check(response, part, wanted)
        if wanted is None:
            _skip(response, start)
        while block := response.read(BLOCK_BYTES):
            yield block
        if response.length:
            raise IncompleteRead(b"", response.length)


def is_missing(error: StorageError) -> bool:
    """Whether the error is a server's answer that there is nothing at the URL."""
    answer = error.__context__
    return isinstance(answer, HTTPError) and answer.code in (404, 410)


def _look_up(url: str) -> DataPart:
    with _translated_errors(url):
        try:
            response = _get(url, ByteRange(0, 1))
        except HTTPError as error:
            # There is no first byte in what is empty.
            if error.code != 416:
                raise
            with error:
                is_empty = _content_range(error.headers)[1] == 0
                return _whole(url, 0 if is_empty else None, error.headers, has_ranges=False)
        with response:
            if response.status != 206:
                return _whole(url, response.length, response.headers, has_ranges=False)
            byte_range, size = _content_range(response.headers)
            has_ranges = byte_range == ByteRange(0, 1) and size is not None
            return _whole(url, size if has_ranges else None, response.headers, has_ranges=has_ranges)


def _whole(url: str, size: int | None, headers: Message, *, has_ranges: bool) -> DataPart:
    byte_range = None if size is None else ByteRange(0, size)
    return DataPart(DataKind.URL, size, _validator(headers), byte_range, url=url, has_ranges=has_ranges)


def _get(url: str, byte_range: ByteRange | None) -> HTTPResponse:
    # A compressed answer has other bytes, and other ranges, than the data.
    headers = {"Accept-Encoding": "identity", "User-Agent": "lithops"}
    if byte_range is not None:
        headers["Range"] = f"bytes={byte_range.start}-{byte_range.stop - 1}"
    escaped = quote(url, safe="%/:=&?~#+!$,;'@()*[]")
    response: HTTPResponse = urlopen(Request(escaped, headers=headers), timeout=TIMEOUT_S)
    return response


def _check(response: HTTPResponse, part: DataPart, wanted: ByteRange | None) -> None:
    """That the answer is of the data that was partitioned, and is what was asked for."""
    validator = _validator(response.headers)
    if validator and part.etag and validator != part.etag:
        raise changed(part)
    if wanted is None:
        if None not in (response.length, part.size) and response.length != part.size:
            raise changed(part)
        return
    sent, size = _content_range(response.headers)
    if size is not None and size != part.size:
        raise changed(part)
    if response.status != 206 or sent is None or sent.start != wanted.start:
        raise StorageError(
            f"the server of {part.name} was asked for the bytes from {wanted.start} and sent others, "
            "though it has sent ranges before; set obj_chunk_number=1 to have it send the whole"
        )


def _skip(response: HTTPResponse, count: int) -> None:
    while count:
        skipped = len(response.read(min(count, BLOCK_BYTES)))
        if not skipped:
            raise IncompleteRead(b"", count)
        count -= skipped


def _content_range(headers: Message) -> tuple[ByteRange | None, int | None]:
    """Which bytes an answer has, and of how many; None for what it does not say."""
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if match is None:
        return None, None
    first, last, size = match.groups()
    return None if first is None else ByteRange(int(first), int(last) + 1), int(size)


def _validator(headers: Message) -> str:
    return str(headers.get("ETag") or headers.get("Last-Modified") or "")


@contextmanager
def _translated_errors(url: str) -> Iterator[None]:
    name = f"'{show_url(url)}'"
    try:
        yield
    except HTTPError as error:
        with error:
            raise _refusal(name, error.code, error.reason) from None
    except (InvalidURL, ValueError) as error:
        raise StorageError(f"{name} is not a URL that can be read; check how it is written") from error
    except (OSError, HTTPException) as error:
        raise StorageUnavailable(
            f"{name} cannot be read: {error}; check the address, or try again later"
        ) from error


def _refusal(name: str, status: int, reason: str) -> StorageError:
    answer = f"{name} cannot be read: its server answers {status} {reason}"
    if status in (401, 403):
        return AccessDenied(f"{answer}; sign the URL anew, or ask for access")
    if status in _TRY_AGAIN or status >= 500:
        return StorageUnavailable(f"{answer}; try again later")
    return StorageError(f"{answer}; check the address")

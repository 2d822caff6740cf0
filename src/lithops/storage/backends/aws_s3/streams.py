"""An object as a stream that goes on where it broke off."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

from lithops.exceptions import AlreadyExists, StorageUnavailable
from lithops.storage.patience import persistently

_BUFFER_BYTES = 1 << 18

Request = Callable[[int, str], Any]
"""Asks for the object from an offset on, if its ETag still is the one named (any, for ""): the SDK's answer."""
Translation = Callable[[], AbstractContextManager[None]]


def open_stream(request: Request, translation: Translation) -> BinaryIO:
    """The object, opened: what is not there is told now."""
    return io.BufferedReader(_Object(request, translation), _BUFFER_BYTES)


class _Object(io.RawIOBase):
    def __init__(self, request: Request, translation: Translation) -> None:
        super().__init__()
        self._request = request
        self._translation = translation
        self._position = 0
        self._etag = ""
        self._body: Any = None
        persistently(self._connect)

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override] # as `io` calls it
        try:
            count = persistently(lambda: self._read(buffer))
        except AlreadyExists as error:  # the answer to the condition on the ETag
            raise StorageUnavailable(
                f"{error.args[0].split(';')[0]}, but it was replaced while it was read; open it again"
            ) from error
        self._position += count
        return count

    def close(self) -> None:
        self._disconnect()
        super().close()

    def _read(self, buffer: bytearray | memoryview) -> int:
        if self._body is None:
            self._connect()
        try:
            with self._translation():
                return int(self._body.readinto(buffer))
        except StorageUnavailable:
            self._disconnect()
            raise

    def _connect(self) -> None:
        with self._translation():
            answer = self._request(self._position, self._etag)
        self._body = answer["Body"]
        self._etag = answer["ETag"]

    def _disconnect(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

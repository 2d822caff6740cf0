"""An object read as it arrives, from where it broke off if the connection does."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar, cast

from google.api_core.exceptions import NotFound
from requests import Response

from lithops.exceptions import StorageUnavailable
from lithops.storage.backends.gcp_storage.connection import RETRY, Connection
from lithops.wire.messages import ByteRange

_PIECE_BYTES = 8 << 20
"""What is read at once into memory: so much is read again when a connection breaks."""
_NOT_SATISFIABLE = 416
_Result = TypeVar("_Result")


class ObjectReader(io.RawIOBase):
    """The bytes of an object, or of a part of it. All of one generation, also when the object is replaced meanwhile."""

    def __init__(
        self,
        connection: Connection,
        url: str,
        byte_range: ByteRange | None,
        errors: Callable[[], AbstractContextManager[None]],
    ) -> None:
        super().__init__()
        self._connection = connection
        self._url = url
        self._errors = errors
        self._position = max(0, byte_range.start) if byte_range else 0
        self._stop = byte_range.stop if byte_range else None
        self._is_begun = False
        self._generation: str | None = None
        self._response: Response | None = None
        self._repeated(self._request)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override] # as `io` calls it
        data = self._read_piece(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self._read_piece(_PIECE_BYTES), b""))

    def close(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            if self._left == 0:
                # All was read: the connection serves the next request.
                response.raw.release_conn()
            response.close()
        super().close()

    @property
    def _left(self) -> int:
        return max(0, cast(int, self._stop) - self._position)

    def _read_piece(self, size: int) -> bytes:
        size = min(size, self._left)
        if size <= 0:
            return b""
        data = self._repeated(lambda: self._receive(size))
        self._position += len(data)
        return data

    def _repeated(self, step: Callable[[], _Result]) -> _Result:
        with self._errors():
            return cast(_Result, RETRY(step)())

    def _receive(self, size: int) -> bytes:
        response = self._request() if self._response is None else self._response
        try:
            data = response.raw.read(size, decode_content=False)
            if not data:
                raise ConnectionError(f"the answer ended {self._left} bytes too early")
        except BaseException:
            self._response = None
            response.close()
            raise
        return cast(bytes, data)

    def _request(self) -> Response:
        """Ask for what is still wanted."""
        # Objects that were stored compressed are given as they were stored: ranges and sizes are of that.
        headers = {"Accept-Encoding": "gzip"}
        if self._position or self._stop is not None:
            last = "" if self._stop is None else self._stop - 1
            headers["Range"] = f"bytes={self._position}-{last}"
        parameters = {"alt": "media"} | ({"generation": self._generation} if self._generation else {})
        try:
            response = self._connection.request(
                "GET", self._url, good=(_NOT_SATISFIABLE,), headers=headers, params=parameters, stream=True
            )
        except NotFound as error:
            if not self._is_begun:
                raise
            raise StorageUnavailable(
                f"{self._url}: the object was replaced or deleted while it was read, and the connection broke; read "
                "it again"
            ) from error
        try:
            self._take(response, ranged="Range" in headers)
        except BaseException:
            response.close()
            raise
        return response

    def _take(self, response: Response, *, ranged: bool) -> None:
        if response.status_code == _NOT_SATISFIABLE and not self._is_begun:
            response.close()
            self._stop = self._position
            return
        length = response.headers.get("Content-Length")
        stop = None if length is None else self._position + int(length)
        if (
            stop is None
            or (ranged and response.status_code != 206)
            or (self._is_begun and stop != self._stop)
        ):
            raise StorageUnavailable(
                f"{self._url}: the answer is not the part that was asked for, or does not tell its length; check "
                "what lies between this machine and the storage"
            )
        self._response, self._stop, self._is_begun = response, stop, True
        self._generation = response.headers.get("X-Goog-Generation")

"""Objects as open files: what `cloud_proxy.open` gives.

Reading is lazy: one stream from the start on, and ranges where the program seeks. What is written lies in a temporary
file of this machine until the file is closed, and becomes an object then, whole.
"""

from __future__ import annotations

import errno
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import IO, Any, BinaryIO, cast

from lithops.exceptions import (
    AccessDenied,
    AlreadyExists,
    InvalidKey,
    NoSuchBucket,
    StorageError,
    StorageNoSuchKeyError,
)
from lithops.storage.base import StorageBackend
from lithops.wire.messages import ByteRange

_BUFFER_BYTES = 1 << 16
_COPY_BYTES = 1 << 20
_WINDOW_BYTES = 1 << 18
"""What is asked for after a seek, at least. Who reads on behind it gets all the rest as one stream."""
_SKIP_BYTES = 1 << 18
"""So much is sooner read and dropped than asked for anew."""
_OPEN_END = (1 << 63) - 1


@contextmanager
def os_errors(name: str) -> Iterator[None]:
    """What storage refuses, as the system would say it of a file. A name that is no key's stays a `ValueError`."""
    try:
        yield
    except InvalidKey:
        raise
    except StorageError as error:
        number, text = _as_os_error(error)
        raise OSError(number, text, name) from error


def _as_os_error(error: StorageError) -> tuple[int, str]:
    match error:
        case StorageNoSuchKeyError():
            return errno.ENOENT, os.strerror(errno.ENOENT)
        case NoSuchBucket():
            return errno.ENOENT, str(error)
        case AlreadyExists():
            return errno.EEXIST, os.strerror(errno.EEXIST)
        case AccessDenied():
            return errno.EACCES, str(error)
    return errno.EIO, str(error)


def parse_mode(mode: str, buffering: int, *, text_options: bool) -> str:
    """The letter of the mode: r, w, x or a. Raises `ValueError` as the built-in `open` does."""
    if not set(mode) <= set("rwxab+t") or len(set(mode)) < len(mode):
        raise ValueError(f"invalid mode: {mode!r}")
    letters = [letter for letter in mode if letter in "rwxa"]
    if len(letters) != 1:
        raise ValueError("must have exactly one of create/read/write/append mode")
    if "b" in mode and "t" in mode:
        raise ValueError("can't have text and binary mode at once")
    if "b" in mode and text_options:
        raise ValueError("binary mode doesn't take an encoding, errors or newline argument")
    if "b" not in mode and buffering == 0:
        raise ValueError("can't have unbuffered text I/O")
    return letters[0]


class ObjectReader(io.RawIOBase):
    """An object, read from where the program is in it. It is asked for once, if the program does not seek."""

    def __init__(self, backend: StorageBackend, bucket: str, key: str, name: str) -> None:
        super().__init__()
        self.name = name
        self.mode = "rb"
        self._backend = backend
        self._place = bucket, key
        self._position = self._stream_position = 0
        self._window_end: int | None = None
        self._size: int | None = None
        with os_errors(name):
            self._stream = backend.open(bucket, key)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_END and self._size is None:
            with os_errors(self.name):
                self._size = self._backend.head(*self._place).size
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size or 0}[whence]
        if origin + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), self.name)
        self._position = origin + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        view = memoryview(buffer).cast("B")
        with os_errors(self.name):
            self._move(len(view))
            data = self._stream.read(len(view))
            if not data and self._stream_position == self._window_end:
                rest = ByteRange(self._position, _OPEN_END)
                self._replace_stream(self._backend.open(*self._place, rest), None)
                data = self._stream.read(len(view))
        view[: len(data)] = data
        self._position = self._stream_position = self._position + len(data)
        return len(data)

    def write(self, data: Any, /) -> int:  # noqa: ARG002 - as in `io`
        raise io.UnsupportedOperation("File not open for writing")

    def readall(self) -> bytes:
        buffer = memoryview(bytearray(_COPY_BYTES))
        return b"".join(bytes(buffer[:count]) for count in iter(lambda: self.readinto(buffer), 0))

    def _move(self, wanted: int) -> None:
        """Bring the stream to where the program is."""
        gap = self._position - self._stream_position
        if 0 < gap <= _SKIP_BYTES and self._window_end is None:
            self._stream_position += len(self._stream.read(gap))
        if self._position != self._stream_position:
            window = ByteRange(self._position, self._position + max(wanted, _WINDOW_BYTES))
            self._replace_stream(io.BytesIO(self._backend.get(*self._place, window)), window.stop)

    def _replace_stream(self, stream: BinaryIO, window_end: int | None) -> None:
        self._stream.close()
        self._stream = stream
        self._stream_position = self._position
        self._window_end = window_end

    def close(self) -> None:
        # It is not there if the object was not.
        if not self.closed and hasattr(self, "_stream"):
            self._stream.close()
        super().close()


class ObjectWriter(io.FileIO):
    """A temporary file that `store`s itself when it is closed, unless something went wrong before."""

    def __init__(self, name: str, letter: str, mode: str, store: Callable[[BinaryIO], None]) -> None:
        self._appends = letter == "a"
        self._store = store
        self._is_discarded = False
        with tempfile.TemporaryFile(buffering=0) as file:
            super().__init__(os.dup(file.fileno()), f"{letter}b+" if "+" in mode else f"{letter}b")
        self.name: str = name

    def load(self, source: io.RawIOBase) -> None:
        """Begin with what the object holds."""
        while chunk := source.read(_COPY_BYTES):
            rest = memoryview(chunk)
            while rest:
                rest = rest[super().write(rest) :]
        if not self._appends:
            self.seek(0)

    def write(self, data: Any, /) -> int:
        try:
            if self._appends:
                self.seek(0, io.SEEK_END)
            return super().write(data)
        except OSError:
            self.discard()
            raise

    def discard(self) -> None:
        """What was written is not to be stored."""
        self._is_discarded = True

    def abandon(self) -> None:
        """Close the file, and store nothing."""
        self.discard()
        self.close()

    def close(self) -> None:
        if self.closed:
            return
        try:
            if not self._is_discarded:
                with os.fdopen(os.dup(self.fileno()), "rb") as content, os_errors(self.name):
                    content.seek(0)
                    self._store(content)
        finally:
            super().close()

    def __exit__(self, kind: type[BaseException] | None, *about: Any) -> None:
        if kind is not None:
            self.discard()
        super().__exit__(kind, *about)


class _Buffered(io.BufferedWriter):
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _discard(self.raw, kind)
        super().__exit__(kind, error, trace)


class _BufferedBothWays(io.BufferedRandom):
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _discard(self.raw, kind)
        super().__exit__(kind, error, trace)


class _Text(io.TextIOWrapper):
    mode = ""  # the wrapper has none of its own, and users look at it

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _discard(cast("io.BufferedWriter", self.buffer).raw, kind)
        super().__exit__(kind, error, trace)


def _discard(raw: Any, kind: type[BaseException] | None) -> None:
    if kind is not None and isinstance(raw, ObjectWriter):
        raw.discard()


def dress(
    raw: io.RawIOBase,
    mode: str,
    *,
    buffering: int,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
) -> IO[Any]:
    """The file that a program gets: the standard library's own, over `raw`."""
    try:
        buffered: Any = raw
        if buffering != 0:
            wrap = _BufferedBothWays if "+" in mode else _Buffered if raw.writable() else io.BufferedReader
            buffered = wrap(raw, buffering if buffering > 1 else _BUFFER_BYTES)
        if "b" in mode:
            return cast("IO[Any]", buffered)
        text = _Text(buffered, encoding or "utf-8", errors, newline, line_buffering=buffering == 1)
        text.mode = mode
        return text
    except BaseException:
        _discard(raw, BaseException)
        with suppress(ValueError):  # the wrapper may have closed it
            raw.close()
        raise

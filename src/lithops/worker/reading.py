"""Bytes of a part's object, file or URL in blocks, as they were when the data was partitioned.

Data that was replaced in the meantime is refused: its parts would no longer fit together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing

from lithops.exceptions import StorageError, StorageUnavailable
from lithops.storage.base import StorageBackend
from lithops.wire.messages import ByteRange
from lithops.wire.parts import DataPart

BLOCK_BYTES = 1 << 20
DELAYS_S = (0.5, 1.0, 2.0)
"""How long to wait before each further attempt, where one fails without having read anything."""

Sleep = Callable[[float], None]
Blocks = Generator[bytes, None, None]
Read = Callable[[int, int | None], Blocks]
"""Reads from a start up to a stop, or beyond; None for the end of what has no known size."""


def read_object(storage: StorageBackend, part: DataPart, start: int, stop: int) -> Blocks:
    """Raises `StorageNoSuchKeyError` when the object is gone, `StorageError` when it changed."""
    byte_range = None if (start, stop) == (0, part.size) else ByteRange(start, stop)
    with storage.open(part.bucket, part.key, byte_range) as stream:
        # Asked after it was opened: what is replaced later does not change an open stream.
        now = storage.head(part.bucket, part.key)
        if (now.size, now.etag) != (part.size, part.etag):
            raise changed(part)
        while block := stream.read(BLOCK_BYTES):
            yield block


def read_path(part: DataPart, start: int, stop: int) -> Blocks:
    """Raises `StorageError` when the file is gone, cannot be read, or changed."""
    try:
        with open(part.path, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if (status.st_size, file_etag(status)) != (part.size, part.etag):
                raise changed(part)
            file.seek(start)
            while block := file.read(min(BLOCK_BYTES, stop - start)):
                start += len(block)
                yield block
    except OSError as error:
        raise StorageError(
            f"the file {part.name} cannot be read on the worker: {error.strerror or error}; "
            "files are for workers that share the client's disk, others need the data in storage"
        ) from error


def resumed(read: Read, part: DataPart, start: int, stop: int | None, *, sleep: Sleep) -> Blocks:
    """The bytes from `start` up to `stop`, all of them; what breaks off is asked for again from there.

    Raises `StorageUnavailable` when that does not help.
    """
    failures = 0
    while True:
        before = start
        try:
            with closing(read(start, stop)) as blocks:
                for block in blocks:
                    wanted = block if stop is None else block[: stop - start]
                    start += len(wanted)
                    if wanted:
                        yield wanted
                    if start == stop:
                        break
            if stop is None or start == stop:
                return
            raise StorageUnavailable(
                f"{part.name} ended at byte {start}, {stop - start} bytes too early; try again later"
            )
        except StorageUnavailable:
            failures = 1 if start > before else failures + 1
            if failures > len(DELAYS_S):
                raise
            sleep(DELAYS_S[failures - 1])


def file_etag(status: os.stat_result) -> str:
    """What tells that a file was changed, beside its size."""
    return str(status.st_mtime_ns)


def changed(part: DataPart) -> StorageError:
    return StorageError(
        f"{part.name} changed after it was partitioned; run the job again, on data that stays"
    )

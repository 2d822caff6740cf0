"""What runs in a worker: a batch of calls is unpickled and run. Its large arrays come from the storage.

Where the storage can map objects into memory, an array is a view of its object, and all workers of a machine share it.
Elsewhere a worker reads each object once, and keeps it while calls of the same run follow.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from lithops.storage.base import SupportsMapping
from lithops.wire.pickles import Buffer

if TYPE_CHECKING:
    import numpy

    from lithops.storage.client import Storage
    from lithops.worker.initializer import Initializer

_KEEP_BYTES = 128 << 20
"""What a worker keeps beyond what its latest call has used: half of the memory of the smallest functions."""


class Reader:
    """Reads the objects that calls name, and keeps them for the calls that follow."""

    def __init__(self, keep_bytes: int = _KEEP_BYTES) -> None:
        self._keep_bytes = keep_bytes
        self._kept: dict[str, bytes] = {}
        self._used: set[str] = set()
        self._storage: Storage | None = None

    def start_call(self, storage: Storage) -> None:
        """What follows is read from this storage."""
        self._storage = storage
        self._used.clear()

    def read(self, key: str, *, writable: bool = False) -> Buffer:
        """The bytes of an object; `writable` ones are the caller's own."""
        assert self._storage is not None
        handler, bucket = self._storage.storage_handler, self._storage.bucket
        if isinstance(handler, SupportsMapping):
            mapped = memoryview(handler.map(bucket, key))
            return mapped if writable else mapped.toreadonly()
        body = self._kept.pop(key, None)
        if body is None:
            body = handler.get(bucket, key)
        self._kept[key] = body  # as the latest
        self._used.add(key)
        return bytearray(body) if writable else body

    def end_call(self) -> None:
        """Let go of what is of another run, and of the oldest of what is too much; what the call used stays."""
        runs = {_run_of(key) for key in self._used}
        total = sum(map(len, self._kept.values()))
        for key in [key for key in self._kept if key not in self._used]:
            if total > self._keep_bytes or _run_of(key) not in runs:
                total -= len(self._kept.pop(key))


def _run_of(key: str) -> str:
    return key.rpartition("/")[0]


_reader = Reader()
"""A process runs one call at a time."""


def run(message: bytes, modules: object = ()) -> Any:  # noqa: ARG001 - what it names was sent along
    """Run a batch. Its pickle holds all that it needs."""
    return pickle.loads(message)()


def run_stored(message: bytes | str, storage: Storage, modules: object = ()) -> Any:  # noqa: ARG001 - as above
    """Run a batch parts of which are in the storage: arrays, or the whole message, which is the object's key then."""
    _reader.start_call(storage)
    try:
        batch = pickle.loads(_reader.read(message) if isinstance(message, str) else message)
    finally:
        _reader.end_call()
    return batch()


def initialized(initializer: Initializer, batch: Callable[[], Any]) -> Any:
    """Run a batch in a worker that has run the initializer. Raises `BrokenExecutor` if that has failed."""
    initializer.apply()
    return batch()


def stored_array(
    key: str, dtype: numpy.dtype[Any], shape: tuple[int, ...], order: Literal["C", "F"], writable: bool
) -> numpy.ndarray[Any, Any]:
    """The array that lies in the storage as the object `key`: its elements in C or Fortran order, nothing else."""
    import numpy

    buffer = _reader.read(key, writable=writable)
    array: numpy.ndarray[Any, Any] = numpy.ndarray(shape, dtype, buffer, order=order)
    return array


def mapped_array(
    path: str, mode: str, start: int, length: int, dtype: numpy.dtype[Any],
    shape: tuple[int, ...], offset: int, strides: tuple[int, ...],
) -> numpy.ndarray[Any, Any]:  # fmt: skip
    """An array over a file of this machine: over `length` bytes from `start` on, its first element at `offset`."""
    import numpy

    base: Any = numpy.memmap(path, numpy.uint8, mode, start, (length,))  # type: ignore[call-overload]
    array: numpy.ndarray[Any, Any] = numpy.ndarray(shape, dtype, base, offset, strides)
    return array

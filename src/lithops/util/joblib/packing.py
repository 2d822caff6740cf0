"""A batch of calls as bytes. Large arrays, wherever in it they are, lie in the storage once and are only named.

cloudpickle does the work. What it would refuse is pickled by the executor's own serializer, for its explanation.
"""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import cloudpickle

from lithops.exceptions import InvalidCall, LithopsError
from lithops.prepare.imports import imported_modules
from lithops.prepare.modules import capture
from lithops.prepare.serialize import ArgumentSerializer
from lithops.util.joblib import worker
from lithops.util.joblib.objects import RunObjects, order_of

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

_SHARE_FROM = 100_000
"""Bytes. A request to a cloud's storage takes as long as sending about so many once more."""
_INLINE_BYTES = 1 << 20
"""The largest message that is sent as it is: an executor's limit on data, 4 MiB unless it is set, is no concern."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """How arrays reach the workers. `max_nbytes` and `mmap_mode` are those of `joblib.Parallel`."""

    max_nbytes: int | None = 1 << 20
    """Larger arrays are handed out as `mmap_mode` says, smaller ones as copies; None: nothing is shared."""
    mmap_mode: str | None = "r"
    """``r``: read-only; other modes: each call has a copy of its own, made where it writes; None: nothing is shared."""
    same_files: bool = False
    """Whether workers see this machine's files: an array over a file is then named by the file's path."""

    def shares(self, array: Array) -> bool:
        """Whether the array is stored, and not sent in each message."""
        if self.max_nbytes is None or self.mmap_mode is None or array.dtype.hasobject:
            return False
        return array.nbytes >= min(_SHARE_FROM, self.max_nbytes)

    def is_writable(self, array: Array) -> bool:
        """Whether workers may write to it."""
        return self.mmap_mode != "r" or array.nbytes <= (self.max_nbytes or 0)


@dataclass(slots=True)
class Packed:
    """A batch that can be sent."""

    function: Callable[..., Any]
    message: bytes | str
    keys: list[str]
    """The objects that it names, each as often as it must be released."""


class Packer:
    """Packs the batches of one run."""

    def __init__(self, objects: RunObjects, sharing: Sharing, inline_bytes: int) -> None:
        self._objects = objects
        self._sharing = sharing
        self._inline_bytes = min(inline_bytes, _INLINE_BYTES)
        self._is_sent: dict[str, bool] = {}
        """Of each module that was met, whether workers get it from here."""

    def pack(self, batch: Callable[[], Any]) -> Packed:
        """Raises `NotSerializable` for what cannot be pickled, `StorageError` for what cannot be stored."""
        keys: list[str] = []
        try:
            body, modules = self._dumps(batch, keys)
        except Exception:
            self._objects.release(keys)
            raise
        message: bytes | str = body
        if len(body) > self._inline_bytes:
            message = self._objects.put(body)
            keys.append(message)
        function = worker.run_stored if keys else worker.run
        return Packed(partial(function, modules=modules) if modules else function, message, keys)

    def _dumps(self, batch: Callable[[], Any], keys: list[str]) -> tuple[bytes, list[Mention]]:
        with io.BytesIO() as file:
            pickler = _Pickler(file, self._objects, self._sharing, keys)
            try:
                pickler.dump(batch)
            except (MemoryError, LithopsError):
                raise
            except Exception:
                # This raises an error that says what cannot be pickled, and where it is.
                ArgumentSerializer().dumps(((batch,), {}))
                raise
            return file.getvalue(), self._mentions(pickler.modules)

    def _mentions(self, modules: Iterable[str]) -> list[Mention]:
        """Those modules that the executor would send along. To ask it of all of them with each batch takes long."""
        for name in modules:
            if name not in self._is_sent:
                self._is_sent[name] = _is_captured(name)
        return [Mention(name) for name in sorted(modules) if self._is_sent[name]]


def _is_captured(module: str) -> bool:
    try:
        return capture([module]).archive is not None
    except InvalidCall:
        return True  # too large, unless the executor's configuration says otherwise


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc] # cloudpickle has no types
    """cloudpickle, with arrays taken out, and note taken of the modules that are met on the way."""

    def __init__(self, file: io.BytesIO, objects: RunObjects, sharing: Sharing, keys: list[str]) -> None:
        super().__init__(file, protocol=5)
        self.modules: set[str] = set()
        self._objects = objects
        self._sharing = sharing
        self._keys = keys
        self._numpy = sys.modules.get("numpy")

    def reducer_override(self, value: Any) -> Any:
        if self._numpy is not None and type(value) in (self._numpy.ndarray, self._numpy.memmap):
            return self._reduce_array(value)
        is_module = isinstance(value, types.ModuleType)
        name = value.__name__ if is_module else getattr(value, "__module__", None)
        if type(name) is str:
            self.modules.add(name)
        reduced = super().reducer_override(value)
        if reduced is not NotImplemented and isinstance(value, types.FunctionType):
            self.modules |= imported_modules(value.__code__, value.__globals__.get("__package__"))
        return reduced

    def _reduce_array(self, array: Array) -> Any:
        if self._sharing.same_files:
            file = file_of(array)
            if file is not None:
                return worker.mapped_array, file
        if not self._sharing.shares(array):
            return NotImplemented
        key = self._objects.share(array)
        self._keys.append(key)
        return worker.stored_array, (
            key, array.dtype, array.shape, order_of(array), self._sharing.is_writable(array),
        )  # fmt: skip


def file_of(array: Array) -> tuple[Any, ...] | None:
    """What `worker.mapped_array` takes, for an array over a file that others can map as well; else None."""
    mapped = _mapped(array)
    # What is written to mode `c` is in no file, and a file without a name has been opened by nobody else.
    if mapped is None or mapped.mode == "c" or mapped.filename is None:
        return None
    first = _address(array)
    extents = [(count - 1) * stride for count, stride in zip(array.shape, array.strides, strict=True)]
    low = first + sum(min(0, extent) for extent in extents)
    high = first + sum(max(0, extent) for extent in extents) + array.itemsize
    start = mapped.offset + low - _address(mapped)
    mode = "r+" if mapped.mode == "w+" else mapped.mode
    return (
        str(mapped.filename), mode, start, high - low, array.dtype, array.shape, first - low, array.strides,
    )  # fmt: skip


def _mapped(array: Array) -> Any:
    """The `numpy.memmap` that the array is a view of, if it is."""
    import mmap

    import numpy

    holder: Any = array if array.size else None
    while isinstance(holder, numpy.ndarray) and not isinstance(holder.base, mmap.mmap):
        holder = holder.base
    return holder if isinstance(holder, numpy.memmap) else None


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


class Mention:
    """A module's name, for the executor to send the module along. Of itself, nothing is sent."""

    def __init__(self, module: str) -> None:
        self.__module__ = module

    def __reduce__(self) -> tuple[Any, ...]:
        return bool, ()

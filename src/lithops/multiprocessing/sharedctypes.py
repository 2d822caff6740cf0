"""`Value`, `Array` and their relatives, as those of `multiprocessing.sharedctypes`, for processes anywhere.

They have the values and the errors of `ctypes`. They are no objects of `ctypes`, since their bytes are in a server:
what wants an address (C code, `ctypes.addressof`, `numpy.frombuffer`) is refused, and what reads, as `numpy.asarray`,
gets a copy. Reading or writing a slice is one request, whatever its length.
"""

from __future__ import annotations

import contextlib
import ctypes
import weakref
from collections.abc import Iterator
from multiprocessing import sharedctypes as standard
from typing import Any

from lithops.multiprocessing import views
from lithops.multiprocessing.layouts import check_type, find_type
from lithops.multiprocessing.memory import GuardedMemory, LockedMemory, new_memory
from lithops.multiprocessing.synchronize import Lock, RLock
from lithops.multiprocessing.views import FieldView, View, to_local, view_of

__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]


def RawValue(typecode_or_type: Any, *args: Any) -> Any:  # noqa: N802 - as the standard library calls it
    """An object of that type in shared memory, without a lock. `args` are those of the type."""
    type_ = find_type(typecode_or_type)
    size = check_type(type_)
    local = type_.from_buffer(bytearray(size))
    local.__init__(*map(to_local, args))
    return view_of(type_, new_memory(size, bytes(local)))


def RawArray(typecode_or_type: Any, size_or_initializer: Any) -> Any:  # noqa: N802 - as above
    """An array in shared memory, without a lock: so many zeros, or the items of a sequence."""
    item = find_type(typecode_or_type)
    if isinstance(size_or_initializer, int):
        type_ = item * size_or_initializer
        return view_of(type_, new_memory(check_type(type_)))
    type_ = item * len(size_or_initializer)
    size = check_type(type_)
    return view_of(type_, new_memory(size, bytes(type_(*map(to_local, size_or_initializer)))))


def Value(typecode_or_type: Any, *args: Any, lock: Any = True) -> Any:  # noqa: N802 - as above
    """A `RawValue` with a lock around it: a recursive one of its own, or the one that is given; False: none.

    Raises `NotImplementedError` for types that hold addresses, and what `ctypes` raises for the rest.
    """
    return _with_lock(RawValue(typecode_or_type, *args), lock)


def Array(typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True) -> Any:  # noqa: N802 - as above
    """A `RawArray` with a lock around it, as that of a `Value`."""
    return _with_lock(RawArray(typecode_or_type, size_or_initializer), lock)


def copy(obj: Any) -> Any:
    """An object in shared memory of its own, with the value of `obj`, which is one of ctypes or of this module."""
    if issubclass(type(obj), View):
        size = ctypes.sizeof(obj._ctype)
        return view_of(obj._ctype, obj._memory.copy(obj._offset, size))
    return view_of(type(obj), new_memory(check_type(type(obj)), bytes(obj)))


def synchronized(obj: Any, lock: Any = None) -> Any:
    """A wrapper of an object in shared memory that has its lock: a recursive one of its own, or the one given."""
    assert not isinstance(obj, standard.SynchronizedBase), "object already synchronized"
    if not issubclass(type(obj), View):
        raise TypeError(
            f"{obj!r} is not in shared memory: synchronize a RawValue, a RawArray, or copy() of it"
        )
    return _wrapper_of(type(obj))(obj, lock or RLock())


def _with_lock(obj: Any, lock: Any) -> Any:
    if lock is False:
        return obj
    if lock in (True, None):
        lock = RLock()
    if not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire'")
    return synchronized(obj, lock)


# ---------------------------------------------------------------- wrappers


class SynchronizedBase(standard.SynchronizedBase):  # type: ignore[type-arg] # its parameter is one of ctypes
    """An object and its lock. Each use of its value waits for the lock, and is one request when the lock is free."""

    _obj: Any
    _lock: Any

    def __init__(self, obj: Any, lock: Any) -> None:
        super().__init__(obj, lock)
        memory = obj._memory
        own = isinstance(lock, (Lock, RLock)) and lock._session is memory._session
        way = GuardedMemory if own else LockedMemory
        self._guarded = type(obj)(way(memory, lock), obj._offset)

    def __reduce__(self) -> Any:
        return synchronized, (self._obj, self._lock)


class Synchronized(SynchronizedBase, standard.Synchronized):  # type: ignore[type-arg] # as above
    """See `Value`."""

    @property
    def value(self) -> Any:
        return self._guarded.value

    @value.setter
    def value(self, value: Any) -> None:
        self._guarded.value = value


class SynchronizedArray(SynchronizedBase, standard.SynchronizedArray):  # type: ignore[type-arg] # as above
    """See `Array`."""

    def __getitem__(self, key: Any) -> Any:
        return self._guarded[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._guarded[key] = value

    def __iter__(self) -> Iterator[Any]:
        return iter(self._guarded)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._guarded.__array__(dtype, copy)


class SynchronizedString(SynchronizedArray, standard.SynchronizedString):
    """An `Array` of characters."""

    value = Synchronized.value

    @property
    def raw(self) -> Any:
        return self._guarded.raw

    @raw.setter
    def raw(self, value: Any) -> None:
        self._guarded.raw = value


def _wrapper_of(kind: type[View]) -> Any:
    if issubclass(kind, views.SimpleView):
        return Synchronized
    if issubclass(kind, views.BytesView):
        return SynchronizedString
    if issubclass(kind, views.ArrayView):
        return SynchronizedArray
    if kind not in _wrappers:
        type_: Any = kind._ctype
        fields = {name: _field_property(vars(kind)[name]) for name, *_ in type_._fields_}
        _wrappers[kind] = type(f"Synchronized{type_.__name__}", (SynchronizedBase,), fields)
    return _wrappers[kind]


def _field_property(field: FieldView) -> property:
    def read(self: SynchronizedBase) -> Any:
        return field.__get__(self._guarded)

    def write(self: SynchronizedBase, value: Any) -> None:
        # Between reading the bits beside them and writing them back, nobody may write others.
        with self if field.has_bits else contextlib.nullcontext():
            field.__set__(self._obj if field.has_bits else self._guarded, value)

    return property(read, write)


_wrappers: weakref.WeakKeyDictionary[type[View], Any] = weakref.WeakKeyDictionary()

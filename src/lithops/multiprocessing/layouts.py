"""Types of `ctypes` in shared memory: which of them can be there."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

from lithops.wire.structures import STRUCTURES

TYPECODES: dict[str, Any] = {
    "c": ctypes.c_char, "u": ctypes.c_wchar, "b": ctypes.c_byte, "B": ctypes.c_ubyte,
    "h": ctypes.c_short, "H": ctypes.c_ushort, "i": ctypes.c_int, "I": ctypes.c_uint,
    "l": ctypes.c_long, "L": ctypes.c_ulong, "q": ctypes.c_longlong, "Q": ctypes.c_ulonglong,
    "f": ctypes.c_float, "d": ctypes.c_double,
}  # fmt: skip
_ADDRESSES = frozenset("PzZO")
"""Codes of simple types that hold an address."""


def find_type(typecode_or_type: Any) -> Any:
    """The type that a code of the module `array` stands for, or else the type itself."""
    return TYPECODES.get(typecode_or_type, typecode_or_type)


def check_type(type_: Any) -> int:
    """The size of a type that has a meaning in every process. Raises `NotImplementedError` for one that has not."""
    size = ctypes.sizeof(type_)
    _refuse_addresses(type_)
    return size


def _refuse_addresses(type_: Any) -> None:
    if issubclass(type_, ctypes.Array):
        _refuse_addresses(type_._type_)
    elif isinstance(type_, STRUCTURES):
        for _, field_type, *_ in fields(type_):
            _refuse_addresses(field_type)
    elif not issubclass(type_, ctypes._SimpleCData) or type_._type_ in _ADDRESSES:
        raise NotImplementedError(
            f"{type_.__name__} holds an address, which has a meaning in one process alone, and shared memory is read "
            "by processes on other machines: share what is there, for example an Array, or an index into one"
        )


def is_native(type_: Any) -> bool:
    """Whether items and fields of the type are read as plain Python values."""
    return type_.__base__ is ctypes._SimpleCData


def fields(type_: Any) -> Iterator[Any]:
    """The fields of a structure or union, those that it inherits first."""
    for class_ in reversed(type_.__mro__):
        yield from vars(class_).get("_fields_", ())

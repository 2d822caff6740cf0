"""Types of `ctypes` in shared memory: which of them can be there, and how they travel."""

from __future__ import annotations

import ctypes
import operator
import sys
import types
import uuid
import weakref
from collections.abc import Iterator
from typing import Any

TYPECODES: dict[str, Any] = {
    "c": ctypes.c_char, "u": ctypes.c_wchar, "b": ctypes.c_byte, "B": ctypes.c_ubyte,
    "h": ctypes.c_short, "H": ctypes.c_ushort, "i": ctypes.c_int, "I": ctypes.c_uint,
    "l": ctypes.c_long, "L": ctypes.c_ulong, "q": ctypes.c_longlong, "Q": ctypes.c_ulonglong,
    "f": ctypes.c_float, "d": ctypes.c_double,
}  # fmt: skip
_ADDRESSES = frozenset("PzZO")
"""Codes of simple types that hold an address."""
_Fields = type(ctypes.Structure), type(ctypes.Union)


class _Probe(ctypes.Structure):
    _fields_ = [("field", ctypes.c_int)]


Field = type(_Probe.field)
"""Of the descriptors of a structure's fields."""


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
    elif isinstance(type_, _Fields):
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


# ---------------------------------------------------------------- travelling


class ByParts:
    """A type, for a pickle: what comes out of it is the type.

    Those of a program's own script are sent by what defines them, since no other process can import them.
    """

    def __init__(self, type_: Any) -> None:
        self._type = type_

    def __reduce__(self) -> Any:
        type_ = self._type
        if issubclass(type_, ctypes.Array) and type_ is type_._type_ * type_._length_:
            return operator.mul, (ByParts(type_._type_), type_._length_)
        if getattr(type_, "__ctype_le__", type_) is not type_:
            return getattr, (ByParts(type_.__ctype_le__), "__ctype_be__")
        if getattr(type_, "__ctype_be__", type_) is not type_ and sys.byteorder == "big":
            return getattr, (ByParts(type_.__ctype_be__), "__ctype_le__")
        if not isinstance(type_, _Fields) or _is_importable(type_):
            return _same, (type_,)
        return _define, (_name(type_), type_.__name__, _bases(type_), _body(type_))


def _is_importable(type_: Any) -> bool:
    module = sys.modules.get(type_.__module__)
    if module is None or type_.__module__ in ("__main__", "__mp_main__"):
        return False
    try:
        return getattr(module, "__spec__", None) is not None and _found(module, type_.__qualname__) is type_
    except AttributeError:
        return False


def _found(module: types.ModuleType, name: str) -> Any:
    return operator.attrgetter(name)(module)


def _bases(type_: Any) -> tuple[ByParts, ...]:
    return tuple(ByParts(base) for base in type_.__bases__)


def _body(type_: Any) -> dict[str, Any]:
    """What the class statement says."""
    made = {"__dict__", "__weakref__", "__static_attributes__", "__firstlineno__"}
    body = {
        name: value
        for name, value in vars(type_).items()
        if name not in made and not isinstance(value, Field)
    }
    if "_fields_" in body:
        body["_fields_"] = [(name, ByParts(each), *bits) for name, each, *bits in body["_fields_"]]
    return body


_names: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
_known: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def _name(type_: Any) -> str:
    """What tells a type from others of the same name: the same one comes only once to a process."""
    name = _names.setdefault(type_, uuid.uuid4().hex)
    _known[name] = type_
    return name


def _define(identity: str, name: str, bases: tuple[Any, ...], body: dict[str, Any]) -> Any:
    type_ = _known.get(identity)
    if type_ is None:
        type_ = _known[identity] = types.new_class(name, bases, {}, lambda made: made.update(body))
        _names[type_] = identity
    return type_


def _same(type_: Any) -> Any:
    return type_

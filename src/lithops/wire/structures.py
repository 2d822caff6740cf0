"""Types of `ctypes` as they travel: structures and unions of a program's own script go by what defines them."""

from __future__ import annotations

import ctypes
import operator
import sys
import types
import uuid
import weakref
from typing import Any

STRUCTURES = type(ctypes.Structure), type(ctypes.Union)
"""The types of all structures and unions."""


class _Probe(ctypes.Structure):
    _fields_ = [("field", ctypes.c_int)]


Field = type(_Probe.field)
"""Of the descriptors of a structure's fields."""


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
        if not isinstance(type_, STRUCTURES) or _is_importable(type_):
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

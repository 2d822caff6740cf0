"""Objects that look like those of `ctypes`, with their bytes in the server.

What is written is converted by a real object of `ctypes` in this process, so values and errors are its own; then the
bytes that it changes move. What is inside of an object (an element that is a structure, a field that is an array) is an
object over a part of the same memory, and getting at it takes no request.
"""

from __future__ import annotations

import ctypes
import operator
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from lithops.multiprocessing.layouts import is_native
from lithops.multiprocessing.memory import Memory
from lithops.wire.structures import ByParts, Field

_BLOCK_BYTES = 65_536
_LARGEST_UNIT = 8
"""No field of bits lies in more bytes than this."""
_NO_ADDRESS = (
    "{name} is in shared memory, which is in a server and has no address here: give C code, and np.frombuffer, a copy "
    "from its value or a slice of it, and write back what has changed"
)


class View:
    """A part of a memory, as an object of one type."""

    _ctype: Any
    _memory: Memory
    _offset: int
    __hash__ = None  # type: ignore[assignment] # as in ctypes

    def __init__(self, memory: Memory, offset: int = 0) -> None:
        object.__setattr__(self, "_memory", memory)
        object.__setattr__(self, "_offset", offset)

    @property  # type: ignore[misc] # nobody sets it
    def __class__(self) -> Any:
        """That of the object it stands for, to `isinstance`."""
        return type(self)._ctype

    def __reduce__(self) -> Any:
        return view_of, (ByParts(self._ctype), self._memory.plain, self._offset)

    def __bytes__(self) -> bytes:
        return self._memory.read(self._offset, ctypes.sizeof(self._ctype))

    def __buffer__(self, flags: int) -> memoryview:
        raise NotImplementedError(_NO_ADDRESS.format(name=type(self).__name__))

    @property
    def _as_parameter_(self) -> Any:
        raise NotImplementedError(_NO_ADDRESS.format(name=type(self).__name__))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        import numpy

        if copy is False:
            raise ValueError(
                "what is in shared memory is copied when numpy reads it: copy=False cannot be had"
            )
        type_, shape = self._ctype, []
        while issubclass(type_, ctypes.Array):
            shape.append(type_._length_)
            type_ = type_._type_
        kind: Any = "U1" if type_ is ctypes.c_wchar else type_
        # Through no buffer of ctypes: numpy does not trust what they say of structures.
        return numpy.ndarray(shape, kind, bytearray(bytes(self))).astype(dtype or kind, copy=False)


def to_local(value: Any) -> Any:
    """A view's content as an object of `ctypes`; anything else as it is."""
    if issubclass(type(value), View):
        return value._ctype.from_buffer_copy(bytes(value))
    return value


def guarded(view: Any, memory: Memory) -> Any:
    """The same part, through another way to the memory."""
    return type(view)(memory, view._offset)


class SimpleView(View):
    """A number or a character."""

    def __repr__(self) -> str:
        return repr(to_local(self)) if is_native(self._ctype) else object.__repr__(self)

    def __bool__(self) -> bool:
        return bool(to_local(self))

    @property
    def value(self) -> Any:
        return to_local(self).value

    @value.setter
    def value(self, value: Any) -> None:
        local = self._ctype()
        local.value = value
        self._memory.write(self._offset, bytes(local))


class ArrayView(View):
    """A row of items of one type."""

    def __len__(self) -> int:
        return int(self._ctype._length_)

    def __getitem__(self, key: Any) -> Any:
        type_ = self._ctype._type_
        if isinstance(key, slice):
            chosen = range(*key.indices(len(self)))
            if not is_native(type_):
                return [self._item(index) for index in chosen]
            return self._local(chosen)[:]
        index = self._index(key, "indices must be integers")
        return self._local(range(index, index + 1))[0] if is_native(type_) else self._item(index)

    def __setitem__(self, key: Any, value: Any) -> None:
        type_ = self._ctype._type_
        size = ctypes.sizeof(type_)
        if isinstance(key, slice):
            chosen = range(*key.indices(len(self)))
            values = to_local(value)
            items = (type_ * len(chosen))()
            items[:] = values if is_native(type_) else [to_local(each) for each in values]
            self._memory.write_items(
                self._offset + chosen.start * size, size, chosen.step * size, bytes(items)
            )
        else:
            index = self._index(key, "indices must be integer")
            items = (type_ * 1)()
            items[0] = to_local(value)
            self._memory.write(self._offset + index * size, bytes(items))

    def __delitem__(self, key: Any) -> None:
        raise TypeError("Array does not support item deletion")

    def __iter__(self) -> Iterator[Any]:
        """Reads a block of items at a time, anew after this process has written."""
        type_ = self._ctype._type_
        if not is_native(type_):
            yield from (self._item(index) for index in range(len(self)))
            return
        block = max(1, _BLOCK_BYTES // ctypes.sizeof(type_))
        items, start, writes = self._local(range(0)), 0, -1
        for index in range(len(self)):
            if index - start >= len(items) or writes != self._memory.writes:
                writes, start = self._memory.writes, index
                items = self._local(range(index, min(index + block, len(self))))
            yield items[index - start]

    def _item(self, index: int) -> Any:
        type_ = self._ctype._type_
        return view_of(type_, self._memory.plain, self._offset + index * ctypes.sizeof(type_))

    def _local(self, chosen: range) -> Any:
        type_ = self._ctype._type_
        size = ctypes.sizeof(type_)
        start = self._offset + chosen.start * size
        content = self._memory.read_items(start, size, chosen.step * size, len(chosen))
        return (type_ * len(chosen)).from_buffer_copy(content)

    def _index(self, key: Any, wrong_type: str) -> int:
        if not hasattr(key, "__index__"):
            raise TypeError(wrong_type)
        index = operator.index(key)
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError("invalid index")
        return index


class TextView(ArrayView):
    """An array of characters of any kind."""

    @property
    def value(self) -> Any:
        """Up to the first zero."""
        return to_local(self).value

    @value.setter
    def value(self, value: Any) -> None:
        self._set("value", value)

    def _set(self, name: str, value: Any) -> None:
        def fill(content: bytes) -> bytes:
            local = self._ctype.from_buffer_copy(content)
            setattr(local, name, value)
            return bytes(local)

        size = ctypes.sizeof(self._ctype)
        self._memory.write(self._offset, _touched(fill, size))


class BytesView(TextView):
    """An array of `c_char`."""

    @property
    def raw(self) -> bytes:
        """With all zeros."""
        return bytes(self)

    @raw.setter
    def raw(self, value: Any) -> None:
        self._set("raw", value)


class RecordView(View):
    """A structure or union. Its fields are attributes of the class that is made for its type."""


class FieldView:
    """A field, as an attribute of a view."""

    def __init__(self, owner: Any, name: str) -> None:
        field, value = getattr(owner, name), getattr(_record(owner), name)
        self._owner, self._name = owner, name
        self._offset: int = field.offset
        self._type = type(value) if isinstance(value, _Data) else None
        """Of a field that is an object itself; None: it is a plain value."""
        # The size of a field of bits has their number in its upper half.
        self.has_bits = self._type is None and field.size >> 16 > 0
        left = ctypes.sizeof(owner) - self._offset
        self._size: int = min(_LARGEST_UNIT, left) if self.has_bits else field.size

    def __get__(self, view: View | None, _: Any = None) -> Any:
        if view is None:
            return getattr(self._owner, self._name)
        if self._type is not None:
            return view_of(self._type, view._memory.plain, view._offset + self._offset)
        return getattr(self._fill(self._read(view)), self._name)

    def __set__(self, view: View, value: Any) -> None:
        local = to_local(value)

        def fill(content: bytes) -> bytes:
            record = self._fill(content)
            setattr(record, self._name, local)
            return bytes(record)[self._offset : self._offset + self._size]

        # Of bits, those beside them have to stay.
        content = fill(self._read(view)) if self.has_bits else _touched(fill, self._size)
        view._memory.write(view._offset + self._offset, content)

    def __delete__(self, view: View) -> None:
        raise TypeError("can't delete attribute")

    def _read(self, view: View) -> bytes:
        return view._memory.read(view._offset + self._offset, self._size)

    def _fill(self, content: bytes) -> Any:
        return _record(self._owner, self._offset, content)


def _record(type_: Any, offset: int = 0, content: bytes = b"") -> Any:
    buffer = bytearray(ctypes.sizeof(type_))
    buffer[offset : offset + len(content)] = content
    return type_.from_buffer(buffer)


def _touched(fill: Callable[[bytes], bytes], size: int) -> bytes:
    """The bytes that are the same whatever was there before: a text leaves alone what it does not reach."""
    after = fill(bytes(size))
    other = fill(b"\xff" * size)
    if after == other:
        return after
    return after[: next(at for at in range(size) if after[at] != other[at])]


# ---------------------------------------------------------------- classes


def view_of(type_: Any, memory: Memory, offset: int = 0) -> Any:
    """An object of that type, over the part of the memory that begins at `offset`."""
    found = _classes.get(type_)
    if found is None:
        found = _classes[type_] = _make_class(type_)
    return found(memory, offset)


def _make_class(type_: Any) -> type[View]:
    """A class with what the program's own class has: fields, methods, properties."""
    body: dict[str, Any] = {"_ctype": type_}
    for class_ in reversed(type_.__mro__):
        if class_.__module__ in ("_ctypes", "ctypes._endian", "builtins"):
            continue
        for name, value in vars(class_).items():
            if isinstance(value, Field):
                body[name] = FieldView(type_, name)
            elif name not in _OWN and not isinstance(value, types.GetSetDescriptorType):
                body[name] = value
    body.update(__module__=type_.__module__, __qualname__=type_.__qualname__)
    return type(type_.__name__, (_kind(type_),), body)


def _kind(type_: Any) -> type[View]:
    if issubclass(type_, ctypes._SimpleCData):
        return SimpleView
    if not issubclass(type_, ctypes.Array):
        return RecordView
    if type_._type_ is ctypes.c_char:
        return BytesView
    return TextView if type_._type_ is ctypes.c_wchar else ArrayView


_Data: Any = ctypes._SimpleCData.__base__
_OWN = {"__dict__", "__weakref__", "__init__", "__new__", "__reduce__", "__slots__", "__classcell__"}
_classes: weakref.WeakKeyDictionary[Any, type[View]] = weakref.WeakKeyDictionary()

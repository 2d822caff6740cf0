"""`Value`, `RawValue`, `copy` and `synchronized`: what the standard library's do, and ours."""

from __future__ import annotations

import ctypes
import importlib
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("y", ctypes.c_double)]

    def shifted(self, by: float) -> tuple[float, float]:
        return self.x + by, self.y + by

    @property
    def total(self) -> float:
        return float(self.x + self.y)


class Inner(ctypes.Structure):
    _fields_ = [("number", ctypes.c_short), ("points", Point * 2)]


class Outer(ctypes.Structure):
    _fields_ = [
        ("inner", Inner),
        ("name", ctypes.c_char * 8),
        ("title", ctypes.c_wchar * 4),
        ("numbers", ctypes.c_int * 3),
        ("low", ctypes.c_uint, 3),
        ("high", ctypes.c_int, 5),
    ]


class Either(ctypes.Union):
    _fields_ = [("number", ctypes.c_uint32), ("bytes", ctypes.c_ubyte * 4)]


class Tagged(ctypes.Structure):
    _anonymous_ = ("either",)
    _fields_ = [("tag", ctypes.c_byte), ("either", Either)]


class Longer(Point):
    _fields_ = [("z", ctypes.c_double)]


class Network(ctypes.BigEndianStructure):
    _fields_ = [("port", ctypes.c_uint16), ("hosts", ctypes.c_uint32 * 2)]


@pytest.fixture(scope="module")
def sharedctypes(mp: Any) -> ModuleType:
    package = "lithops.multiprocessing" if isinstance(mp, ModuleType) else "multiprocessing"
    return importlib.import_module(f"{package}.sharedctypes")


def failure(action: Any) -> tuple[type[BaseException], str] | None:
    try:
        action()
    except Exception as error:  # noqa: BLE001 - it is compared
        return type(error), str(error)
    return None


NUMBERS = [
    ("b", -128), ("B", 255), ("h", -32768), ("H", 65535), ("i", -(2**31)), ("I", 2**32 - 1), ("l", -(2**63)),
    ("L", 2**64 - 1), ("q", 2**63 - 1), ("Q", 2**64 - 1), ("f", 0.5), ("d", 1 / 3), ("c", b"x"), ("u", "é"),
    (ctypes.c_bool, True), (ctypes.c_longdouble, 1.5), (ctypes.c_size_t, 7),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), NUMBERS)
def test_every_simple_type(mp: Any, kind: Any, value: Any) -> None:
    for make in (mp.Value, mp.RawValue):
        assert make(kind, value).value == value
        empty = make(kind)
        assert empty.value in (0, b"\0", "\0")
        empty.value = value
        assert empty.value == value


def test_values_overflow_as_in_ctypes(mp: Any) -> None:
    assert mp.Value("b", 300).value == 44
    number = mp.Value("H")
    number.value = -1
    assert number.value == 65535


@pytest.mark.parametrize(
    ("kind", "value"),
    [("i", "x"), ("i", 1.5), ("d", "x"), ("c", b"ab"), ("c", "a"), ("u", b"a"), ("u", "ab"), ("f", None)],
)
def test_wrong_values_raise_what_ctypes_raises(mp: Any, kind: str, value: Any) -> None:
    local = importlib.import_module("multiprocessing.sharedctypes").typecode_to_type[kind]()
    expected = failure(lambda: setattr(local, "value", value))
    shared = mp.Value(kind)
    assert expected is not None
    assert failure(lambda: setattr(shared, "value", value)) == expected
    assert failure(lambda: mp.Value(kind, value)) == failure(lambda: type(local)(value))


def test_what_is_no_type_is_refused(mp: Any) -> None:
    with pytest.raises(TypeError, match="this type has no size"):
        mp.Value("z", 1)
    with pytest.raises(TypeError, match="this type has no size"):
        mp.RawValue(int)


def test_a_value_shows_what_it_is(mp: Any) -> None:
    assert repr(mp.Value("i", 5)) == "<Synchronized wrapper for c_int(5)>"
    assert repr(mp.Value("d", 0.5, lock=False)) == "c_double(0.5)"
    assert repr(mp.Value(Point)).startswith("<SynchronizedPoint wrapper for <")


def test_the_lock_of_a_value(mp: Any) -> None:
    value = mp.Value("i", 1)
    assert type(value.get_lock()).__name__ == "RLock"
    assert value.get_obj().value == 1
    with value, value.get_lock():
        value.value += 1
    assert value.acquire()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(value.acquire, False).result() is False
    value.release()
    own = mp.Lock()
    assert mp.Value("i", lock=own).get_lock() is own
    assert not hasattr(mp.Value("i", lock=False), "get_lock")
    assert type(mp.Value("i", lock=None).get_lock()).__name__ == "RLock"


@pytest.mark.parametrize("lock", [5, "lock", object()])
def test_what_is_no_lock_is_refused(mp: Any, lock: Any) -> None:
    with pytest.raises(AttributeError, match="has no method 'acquire'"):
        mp.Value("i", lock=lock)
    with pytest.raises(AttributeError, match="has no method 'acquire'"):
        mp.Array("i", 1, lock=lock)


@pytest.mark.parametrize("kind", ["RLock", "Lock", "BoundedSemaphore", "threading"])
def test_a_value_waits_for_its_lock(mp: Any, kind: str) -> None:
    lock = threading.Lock() if kind == "threading" else getattr(mp, kind)()
    value, array = mp.Value("i", 1, lock=lock), mp.Array("i", [1, 2], lock=lock)
    with ThreadPoolExecutor(3) as pool:
        with lock:
            read = pool.submit(lambda: value.value)
            written = pool.submit(setattr, value, "value", 7)
            part = pool.submit(lambda: array[:])
            value.get_obj().value = 3
            array.get_obj()[:] = [3, 3]
            assert not any(each.done() for each in (read, written, part))
        written.result()
        assert read.result() in (3, 7)
        assert part.result() == [3, 3]
    assert value.value == 7


def test_structures(mp: Any) -> None:
    point = mp.RawValue(Point, 1.5, 2)
    assert (point.x, point.y) == (1.5, 2.0)
    point.x **= 2
    assert point.shifted(1) == (3.25, 3.0)
    assert point.total == 4.25
    assert isinstance(point, Point)
    assert failure(lambda: setattr(point, "x", "one")) == failure(lambda: setattr(Point(), "x", "one"))
    with pytest.raises(AttributeError):
        point.z
    with pytest.raises(TypeError, match="can't delete attribute"):
        del point.x
    with pytest.raises(TypeError, match="too many initializers"):
        mp.RawValue(Point, 1, 2, 3)


def test_what_is_in_a_structure(mp: Any) -> None:
    outer = mp.RawValue(Outer)
    outer.inner.points[1].y = 4
    outer.inner.points[1].y **= 2
    outer.inner.points[0] = (1, 2)
    outer.inner.number = -3
    assert [(point.x, point.y) for point in outer.inner.points] == [(1, 2), (0, 16)]
    outer.inner.points[1] = outer.inner.points[0]
    assert outer.inner.points[1].y == 2
    outer.inner.points[0].y = 5
    assert outer.inner.points[1].y == 2
    outer.inner = Inner(9, (Point * 2)(Point(7, 8)))
    assert (outer.inner.number, outer.inner.points[0].y, outer.inner.points[1].y) == (9, 8, 0)
    outer.numbers[1:] = [5, 6]
    outer.numbers = (4, *outer.numbers[1:])
    assert list(outer.numbers) == [4, 5, 6]
    inner = outer.inner
    inner.number = 11
    assert outer.inner.number == 11
    with pytest.raises(TypeError, match="expected Inner instance, got int"):
        outer.inner = 5


def test_texts_in_a_structure(mp: Any) -> None:
    outer = mp.RawValue(Outer)
    outer.name, outer.title = b"lithops", "äöü"
    assert (outer.name, outer.title) == (b"lithops", "äöü")
    outer.name = b"no"
    assert outer.name == b"no"
    # As in C, what a shorter text does not reach stays.
    assert bytes(outer)[Outer.name.offset :][:8] == b"no\0hops\0"
    with pytest.raises(ValueError, match=r"bytes too long \(9, maximum length 8\)"):
        outer.name = b"123456789"
    with pytest.raises(TypeError):
        outer.name = "text"


def test_bits(mp: Any) -> None:
    for outer in (mp.RawValue(Outer), mp.Value(Outer)):
        outer.low, outer.high = 6, -3
        assert (outer.low, outer.high) == (6, -3)
        outer.low = 9
        assert (outer.low, outer.high) == (1, -3)


def test_unions(mp: Any) -> None:
    either = mp.RawValue(Either)
    either.number = 1
    assert sorted(either.bytes) == [0, 0, 0, 1]
    tagged = mp.RawValue(Tagged, 5)
    tagged.number = 0x01010101
    assert (tagged.tag, list(tagged.bytes), tagged.either.number) == (5, [1, 1, 1, 1], 0x01010101)


def test_derived_and_swapped_structures(mp: Any) -> None:
    longer = mp.RawValue(Longer, 1, 2, 3)
    assert (longer.x, longer.z, longer.total) == (1, 3, 3)
    network = mp.RawValue(Network, 80)
    network.hosts[1] = 0x7F000001
    assert bytes(network) == b"\0\x50\0\0\0\0\0\0\x7f\0\0\x01"
    assert (network.port, network.hosts[:]) == (80, [0, 0x7F000001])


def test_synchronized_structures(mp: Any, sharedctypes: ModuleType) -> None:
    point = mp.Value(Point, 1, 2)
    point.x += 1
    assert (point.x, point.y, point.get_obj().x) == (2, 2, 2)
    assert type(point).__name__ == "SynchronizedPoint"
    with pytest.raises(AssertionError, match="object already synchronized"):
        sharedctypes.synchronized(point)


def test_copies(mp: Any, sharedctypes: ModuleType) -> None:
    points = mp.RawArray(Point, [(1, 2), (3, 4)])
    copied = sharedctypes.copy(points)
    part = sharedctypes.copy(points[1])
    points[1].x = 9
    assert (copied[1].x, part.x, part.y) == (3, 3, 4)
    assert sharedctypes.copy(ctypes.c_int(5)).value == 5
    lock = mp.RLock()
    wrapped = sharedctypes.synchronized(part, lock)
    wrapped.x = 1
    assert part.x == 1
    assert wrapped.get_lock() is lock
    assert wrapped.get_obj() is part


def test_objects_are_compared_by_identity(mp: Any) -> None:
    first, second = mp.RawValue("i", 1), mp.RawValue("i", 1)
    assert first != second
    assert first in [first]
    with pytest.raises(TypeError, match="unhashable type"):
        hash(first)
    assert bool(first)
    assert not bool(mp.RawValue("i"))

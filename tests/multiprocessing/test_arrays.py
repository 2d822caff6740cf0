"""`Array` and `RawArray`: what the standard library's do, and ours."""

from __future__ import annotations

import array
import ctypes
from multiprocessing.sharedctypes import typecode_to_type  # type: ignore[attr-defined] # it is in no stub
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("y", ctypes.c_double)]


class Grid(ctypes.Structure):
    _fields_ = [("cells", ctypes.c_int * 3 * 2)]


MAKERS = ["Array", "RawArray"]


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("code", sorted(set(typecode_to_type) - {"c", "u"}))
def test_every_type_of_number(mp: Any, maker: str, code: str) -> None:
    made = getattr(mp, maker)(code, 3)
    assert made[:] == [0, 0, 0]
    assert getattr(mp, maker)(code, [1, 2, 3])[:] == [1, 2, 3]
    assert getattr(mp, maker)(code, array.array(code, [4, 5]))[:] == [4, 5]
    made[1] = 7
    assert (made[0], made[1], made[-2], len(made)) == (0, 7, 7, 3)


@pytest.mark.parametrize("maker", MAKERS)
def test_items_and_slices(mp: Any, maker: str) -> None:
    made = getattr(mp, maker)("i", range(10))
    assert made[2:5] == [2, 3, 4]
    assert made[::-1] == list(range(9, -1, -1))
    assert made[8:1:-3] == [8, 5, 2]
    assert made[20:] == made[5:2] == []
    made[::2] = [0] * 5
    made[-1:-3:-1] = (90, 80)
    assert list(made) == [0, 1, 0, 3, 0, 5, 0, 7, 80, 90]
    made[3:3] = []
    assert sum(made) == 186
    assert 80 in made


@pytest.mark.parametrize("maker", MAKERS)
def test_wrong_items_raise_what_ctypes_raises(mp: Any, maker: str) -> None:
    made = getattr(mp, maker)("i", 3)
    for index in (3, -4):
        with pytest.raises(IndexError, match="invalid index"):
            made[index]
        with pytest.raises(IndexError, match="invalid index"):
            made[index] = 1
    with pytest.raises(TypeError, match="indices must be integer"):
        made["a"]
    with pytest.raises(TypeError, match="indices must be integer"):
        made[1.0] = 1
    with pytest.raises(TypeError):
        made[0] = "x"
    with pytest.raises(ValueError, match="Can only assign sequence of same size"):
        made[:2] = [1]
    with pytest.raises(TypeError):
        made[:2] = [1, "x"]
    with pytest.raises(TypeError if maker == "RawArray" else AttributeError):
        del made[0]


def test_wrong_sizes(mp: Any) -> None:
    with pytest.raises(ValueError, match="Array length must be >= 0"):
        mp.RawArray("i", -1)
    with pytest.raises(TypeError, match="has no len"):
        mp.Array("i", iter([1]))
    with pytest.raises(TypeError, match="this type has no size"):
        mp.Array("z", 2)
    assert mp.Array("i", 0)[:] == []
    assert len(mp.RawArray("d", [])) == 0


@pytest.mark.parametrize("maker", MAKERS)
def test_bytes(mp: Any, maker: str) -> None:
    made = getattr(mp, maker)("c", b"hello")
    assert (made.value, made.raw, made[0], made[1:3], made[:]) == (b"hello", b"hello", b"h", b"el", b"hello")
    made.value = b"yo"
    assert (made.value, made.raw) == (b"yo", b"yo\0lo")
    made.raw = b"abc"
    assert (made.value, made.raw) == (b"abclo", b"abclo")
    made[0], made[1:3] = b"A", b"BC"
    assert made.value == b"ABClo"
    assert list(made) == [b"A", b"B", b"C", b"l", b"o"]
    for name in ("value", "raw"):
        with pytest.raises(ValueError, match="byte string too long"):
            setattr(made, name, b"123456")
        with pytest.raises(TypeError):
            setattr(made, name, "text")


def test_text(mp: Any) -> None:
    made = mp.RawArray("u", "grüße")
    assert (made.value, made[1:3], made[-1]) == ("grüße", "rü", "e")
    made.value = "so"
    assert (made.value, made[:]) == ("so", "so\0ße")
    assert not hasattr(made, "raw")
    assert not hasattr(mp.Array("u", "text"), "value")


@pytest.mark.parametrize("maker", MAKERS)
def test_structures(mp: Any, maker: str) -> None:
    made = getattr(mp, maker)(Point, [(1.875, -6.25), (-5.75, 2.0)])
    made[1].y **= 3
    for point in made:
        point.x += 1
    made[0] = Point(5, 6)
    assert [(point.x, point.y) for point in made[:]] == [(5, 6), (-4.75, 8)]
    made[:] = [made[1], Point(1, 2)]
    assert [(point.x, point.y) for point in made] == [(-4.75, 8), (1, 2)]
    with pytest.raises(TypeError, match="expected Point instance, got int"):
        made[0] = 5


def test_arrays_of_arrays(mp: Any) -> None:
    made = mp.RawArray(ctypes.c_int * 3, [(1, 2, 3), (4, 5, 6)])
    made[1][2] = 60
    made[0] = (ctypes.c_int * 3)(7, 8, 9)
    assert [row[:] for row in made] == [[7, 8, 9], [4, 5, 60]]
    grid = mp.RawValue(Grid)
    grid.cells[1][:] = [1, 2, 3]
    assert [list(row) for row in grid.cells] == [[0, 0, 0], [1, 2, 3]]


def test_what_an_array_shows(mp: Any) -> None:
    assert repr(mp.Array("i", 3)).startswith("<SynchronizedArray wrapper for <")
    assert repr(mp.Array("c", 3)).startswith("<SynchronizedString wrapper for <")
    raw = mp.RawArray("i", 3)
    assert type(raw).__name__ == "c_int_Array_3"
    assert (raw._length_, raw._type_) == (3, ctypes.c_int)
    assert isinstance(raw, ctypes.Array)
    assert bytes(mp.RawArray("B", [1, 2])) == b"\1\2"


def test_writing_while_iterating(mp: Any) -> None:
    made = mp.RawArray("i", [1, 0, 0, 0])
    for index, item in enumerate(made):
        if index < 3:
            made[index + 1] = item * 2
    assert made[:] == [1, 2, 4, 8]


def test_an_array_and_its_lock(mp: Any) -> None:
    lock = mp.RLock()
    made = mp.Array("i", 2, lock=lock)
    assert made.get_lock() is lock
    with made:
        made[0] += 1
    made.acquire()
    made.release()
    assert made.get_obj()[:] == [1, 0]
    assert not hasattr(mp.Array("i", 2, lock=False), "get_lock")


steps = st.lists(
    st.tuples(
        st.one_of(st.integers(-9, 9), st.slices(7)),
        st.one_of(st.integers(-300, 300), st.lists(st.integers(-300, 300), max_size=7), st.just("x")),
    ),
    max_size=8,
)


@settings(max_examples=60)
@given(
    code=st.sampled_from("bHiqd"), content=st.lists(st.integers(0, 100), min_size=7, max_size=7), steps=steps
)
def test_an_array_does_what_one_of_ctypes_does(code: str, content: list[int], steps: list[Any]) -> None:
    """Whatever is read and written, values and errors are the same."""
    from lithops.multiprocessing import RawArray

    local, shared = (typecode_to_type[code] * 7)(*content), RawArray(code, content)
    for key, value in steps:
        outcomes: list[Any] = []
        before = bytes(local)
        for each in (local, shared):
            try:
                each[key] = value
                outcomes.append(each[key])
            except Exception as error:  # noqa: BLE001 - it is compared
                outcomes.append((type(error), str(error)))
        assert outcomes[0] == outcomes[1]
        if isinstance(outcomes[0], tuple):
            # One of ctypes has written what came before the wrong item.
            ctypes.memmove(local, before, len(before))
        assert bytes(shared) == bytes(local)

"""Pickles with their large buffers beside them: nothing is lost, nothing is copied that need not be."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithops.wire.pickles import MAGIC, dump, join, load, size

_ALIGNMENT = 64


class Body:
    """Pickles its bytes out of band."""

    def __init__(self, data: bytearray | bytes) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Body, (pickle.PickleBuffer(self.data),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Body) and bytes(self.data) == bytes(other.data)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10) | st.binary(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
bodies = st.integers(0, 20_000).map(lambda length: Body(bytes(number % 256 for number in range(length))))


@given(values)
def test_a_value_without_buffers_is_a_plain_pickle(value: Any) -> None:
    segments = dump(value)
    assert len(segments) == 1
    assert pickle.loads(segments[0]) == value
    assert load(join(segments)) == value


@given(st.lists(bodies | values, max_size=6))
def test_buffers_of_all_sizes_come_back(value: list[Any]) -> None:
    segments = dump(value)
    body = join(segments)
    assert len(body) == size(segments)
    assert load(body) == value
    assert load(bytearray(body)) == value
    assert load(memoryview(body)) == value


@given(st.lists(st.integers(4096, 9_000), min_size=1, max_size=5))
def test_every_large_buffer_is_aligned(lengths: list[int]) -> None:
    body = bytearray(join(dump([Body(bytes([number % 7 + 1]) * n) for number, n in enumerate(lengths)])))
    assert body[:4] == MAGIC
    for number, each in enumerate(load(body)):
        place = bytes(body).index(bytes([number % 7 + 1]) * lengths[number])
        assert place % _ALIGNMENT == 0
        assert len(each.data) == lengths[number]


def test_segments_share_memory_with_the_value() -> None:
    array = np.arange(10_000)
    segments = dump(array)
    assert any(np.shares_memory(array, np.frombuffer(segment, "u1")) for segment in segments if len(segment))
    body = join(segments)
    array[:] = 0
    assert (load(body) == np.arange(10_000)).all(), "what was joined is a copy"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_arrays_are_always_writable(kind: Any) -> None:
    array = load(kind(join(dump(np.ones(5_000)))))
    array += 1
    assert (array == 2).all()


def test_an_array_is_a_view_of_a_writable_body() -> None:
    body = bytearray(join(dump(np.zeros(5_000))))
    array = load(body)
    array[:] = 7
    assert (
        np.frombuffer(body, "f8", 5_000, len(body) - 5_000 * 8 - (-40_000 % _ALIGNMENT)).tolist()
        == [7.0] * 5_000
    )


@pytest.mark.parametrize(
    "array",
    [
        np.arange(20_000).reshape(100, 200),
        np.asfortranarray(np.arange(20_000.0).reshape(100, 200)),
        np.arange(40_000)[::2],
        np.array([], dtype="f4"),
        np.array(["text", "longer text"] * 1_000),
        np.array([{"a": 1}, None], dtype=object),
        np.zeros(3_000, dtype=[("x", "i4"), ("y", "f8")]),
        np.datetime64("2024-01-01") + np.arange(2_000),
    ],
    ids=lambda array: f"{array.dtype.kind}{array.shape}",
)
def test_arrays_of_all_kinds(array: Any) -> None:
    result = load(join(dump(array)))
    assert result.dtype == array.dtype
    assert result.shape == array.shape
    assert result.tolist() == array.tolist()


def test_one_buffer_that_is_used_twice() -> None:
    array = np.arange(5_000)
    first, second = load(join(dump([array, array])))
    assert first is second

"""From an element of input data to what the function sees, all the way through a worker."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import lithops
from lithops import FunctionExecutor


def one(x: Any) -> Any:
    return x


def two(x: Any, y: Any = "default") -> list[Any]:
    return [x, y]


def named(a: Any, b: Any = 0, *, c: Any = 0) -> dict[str, Any]:
    return {"a": a, "b": b, "c": c}


def anything(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return ["wrapped", function(*args, **kwargs)]

    return wrapper


decorated_two = decorated(two)


class Scale:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, x: int) -> int:
        return self.factor * x

    def method(self, x: int, y: int = 0) -> int:
        return self.factor * x + y

    @classmethod
    def of_class(cls, x: int) -> str:
        return f"{cls.__name__} {x}"

    @staticmethod
    def static(x: int) -> int:
        return -x


class Disguised:
    """Says that it takes other parameters than it does, as some decorators' results do."""

    __signature__ = inspect.Signature([inspect.Parameter("x", inspect.Parameter.POSITIONAL_OR_KEYWORD)])

    def __call__(self, *args: Any) -> tuple[Any, ...]:
        return args


class Point(NamedTuple):
    x: int
    y: int


def generated() -> Iterator[int]:
    yield from (1, 2, 3)


ROWS: dict[str, tuple[Callable[..., Any], Any, Any, list[Any]]] = {
    "list of values": (one, [1, "a", None], None, [1, "a", None]),
    "range": (one, range(3), None, [0, 1, 2]),
    "set": (one, {5}, None, [5]),
    "generator": (one, generated, None, [1, 2, 3]),
    "iterator": (one, lambda: iter([1, 2]), None, [1, 2]),
    "view of a dict": (one, {"a": 1, "b": 2}.values(), None, [1, 2]),
    "pairs of a dict": (two, {"a": 1}.items(), None, [["a", 1]]),
    "text is one element": (one, "text", None, ["text"]),
    "bytes are one element": (one, b"ab", None, [b"ab"]),
    "tuple is one element": (two, (1, 2), None, [[1, 2]]),
    "dict is one element": (named, {"a": 1, "c": 3}, None, [{"a": 1, "b": 0, "c": 3}]),
    "tuples spread": (two, [(1, 2), (3,)], None, [[1, 2], [3, "default"]]),
    "named tuples spread": (two, [Point(1, 2)], None, [[1, 2]]),
    "lists do not": (one, [[1, 2]], None, [[1, 2]]),
    "a tuple, whole": (one, [((1, 2),)], None, [(1, 2)]),
    "a dict, whole": (one, [({"x": 1},)], None, [{"x": 1}]),
    "dicts by name": (named, [{"b": 2, "a": 1}], None, [{"a": 1, "b": 2, "c": 0}]),
    "extra for values": (two, [1, 2], ("e",), [[1, "e"], [2, "e"]]),
    "extra for tuples": (named, [(1,)], (2,), [{"a": 1, "b": 2, "c": 0}]),
    "extra for dicts": (named, [{"a": 1}], {"c": 9}, [{"a": 1, "b": 0, "c": 9}]),
    "extra by name for values": (named, [1], {"c": 9}, [{"a": 1, "b": 0, "c": 9}]),
    "lambda": (lambda x, y=2: x + y, [1, (1, 1)], None, [3, 2]),
    "decorated": (decorated_two, [(1, 2)], None, [["wrapped", [1, 2]]]),
    "variadic": (anything, [(1, 2)], None, [((1, 2), {})]),
    "variadic by its own names": (
        anything,
        [{"args": (1, 2), "kwargs": {"k": 3}}],
        None,
        [((1, 2), {"k": 3})],
    ),
    "variadic by other names": (anything, [{"k": 3}], None, [((), {"k": 3})]),
    "partial": (functools.partial(two, "bound"), [1], None, [["bound", 1]]),
    "bound method": (Scale(3).method, [2, (2, 1)], None, [6, 7]),
    "class method": (Scale.of_class, [2], None, ["Scale 2"]),
    "static method": (Scale.static, [2], None, [-2]),
    "object with __call__": (Scale(4), [2], None, [8]),
    "class": (Point, [(1, 2)], None, [Point(1, 2)]),
    "builtin": (len, [[1, 2, 3]], None, [3]),
    "method of a value": ("{}-{}".format, [(1, 2)], None, ["1-2"]),
    "disguised": (Disguised(), [1], None, [(1,)]),
    "the call's index": (lambda x, id: (x, id), ["a", "b"], None, [("a", 0), ("b", 1)]),  # noqa: A006
    "the index between others": (lambda x, id, y: (x, id, y), [("a", "b")], None, [("a", 0, "b")]),  # noqa: A006
    "an index of one's own": (lambda x, id: (x, id), [{"x": 1, "id": 7}], None, [(1, 7)]),  # noqa: A006
}


@pytest.mark.parametrize("row", ROWS)
def test_map(fexec: FunctionExecutor, row: str) -> None:
    function, iterdata, extra_args, expected = ROWS[row]
    data = iterdata() if callable(iterdata) else iterdata
    assert fexec.map(function, data, extra_args=extra_args).get_result() == expected


CALLS: dict[str, tuple[Callable[..., Any], Any, Any]] = {
    "value": (one, 5, 5),
    "list": (one, [1, 2], [1, 2]),
    "tuple spreads": (two, (1, 2), [1, 2]),
    "dict by name": (named, {"a": 1, "c": 2}, {"a": 1, "b": 0, "c": 2}),
    "no argument": (lambda: "none", (), "none"),
    "nothing by name": (lambda: "none", {}, "none"),
    "None": (one, None, None),
}


@pytest.mark.parametrize("row", CALLS)
def test_call_async(fexec: FunctionExecutor, row: str) -> None:
    function, data, expected = CALLS[row]
    assert fexec.call_async(function, data).result() == expected


def test_rows_of_an_array(fexec: FunctionExecutor) -> None:
    rows = np.arange(6).reshape(3, 2)
    results = fexec.map(lambda row: row * 2, rows).get_result()
    assert [list(row) for row in results] == [[0, 2], [4, 6], [8, 10]]


def test_arrays_arrive_writable(fexec: FunctionExecutor) -> None:
    def change(values: Any) -> Any:
        values[0] = 1
        return values

    result = fexec.call_async(change, np.zeros(200_000)).result()
    result[1] = 2
    assert list(result[:3]) == [1, 2, 0]


def test_a_storage_is_filled_in(fexec: FunctionExecutor) -> None:
    def store(name: str, storage: lithops.Storage) -> str:
        storage.put_object(storage.bucket, name, name * 2)
        return storage.bucket

    bucket = fexec.call_async(store, "filled-in").result()
    assert fexec.storage.get_object(bucket, "filled-in") == b"filled-infilled-in"


def test_nested_functions_keep_what_they_enclose(fexec: FunctionExecutor) -> None:
    factor = 3

    def inner(x: int) -> int:
        return factor * x

    def outer(x: int) -> int:
        return inner(x) + 1

    assert fexec.map(outer, [1, 2]).get_result() == [4, 7]


def test_functions_and_classes_of_main_need_no_names(run_program: Callable[..., Any]) -> None:
    program = """
import collections
import lithops

Record = collections.namedtuple("Record", "number")
CONSTANT = 10

class Counter:
    def __init__(self, start):
        self.start = start
    def up(self, by):
        return helper(self.start + by)

def helper(x):
    import decimal
    return Record(int(decimal.Decimal(x)) + CONSTANT)

if __name__ == "__main__":
    with lithops.FunctionExecutor(log_level=None, worker_processes=1) as fexec:
        results = fexec.map(Counter(5).up, [1, 2]).get_result()
        assert all(type(result) is Record for result in results)
        print([result.number for result in results])
"""
    assert run_program(program).stdout == "[16, 17]\n"

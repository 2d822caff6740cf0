"""How elements become arguments: the rules, each kind of callable, and agreement with Python itself."""

# ruff: noqa: A002 - `id` is a parameter name that the library gives a meaning

from __future__ import annotations

import functools
import inspect
import sys
import timeit
from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithops.exceptions import InvalidCall
from lithops.prepare.bind import RESERVED, Binder, elements


def one(x: Any) -> Any:
    return x


def two(x: Any, y: Any) -> Any:
    return x, y


def defaulted(x: Any, y: Any = 2) -> Any:
    return x, y


def test_a_value_is_the_single_argument() -> None:
    for value in (5, "text", [1, 2], None, {1, 2}, b"bytes", range(3)):
        assert Binder(one).bind(value) == ((value,), {})


def test_a_tuple_spreads_in_order_and_an_empty_one_is_no_argument() -> None:
    assert Binder(two).bind((1, 2)) == ((1, 2), {})
    assert Binder(defaulted).bind((1,)) == ((1,), {})
    assert Binder(lambda: 0).bind(()) == ((), {})


def test_a_tuple_dict_or_list_wrapped_in_a_tuple_of_one_stays_whole() -> None:
    for whole in ((1, 2), {"x": 1}, [1, 2]):
        assert Binder(one).bind((whole,)) == ((whole,), {})


def test_a_named_tuple_spreads_into_a_plain_one() -> None:
    pair = namedtuple("pair", "x y")
    args, kwargs = Binder(two).bind(pair(1, 2))
    assert type(args) is tuple
    assert (args, kwargs) == ((1, 2), {})


def test_a_dict_goes_by_name_and_is_copied() -> None:
    element = {"y": 2, "x": 1}
    args, kwargs = Binder(two).bind(element)
    assert (args, kwargs) == ((), {"x": 1, "y": 2})
    assert kwargs is not element
    assert Binder(defaulted).bind({"x": 1}) == ((), {"x": 1})


def test_keyword_only_parameters_come_from_dicts_and_extra_args_alone() -> None:
    def keyword(x: int, *, k: int) -> None: ...

    assert Binder(keyword).bind({"x": 1, "k": 2}) == ((), {"x": 1, "k": 2})
    assert Binder(keyword, extra_args={"k": 2}).bind(1) == ((1,), {"k": 2})
    with pytest.raises(InvalidCall, match=r"It takes: x, k; given: x; missing: k"):
        Binder(keyword).bind(1)


def test_positional_only_parameters_can_be_named_in_a_dict() -> None:
    def positional(a: int, b: int = 2, c: int = 3, /, d: int = 4) -> None: ...

    assert Binder(positional).bind({"a": 1}) == ((1,), {})
    assert Binder(positional).bind({"a": 1, "c": 5, "d": 6}) == ((1, 2, 5), {"d": 6})


def test_a_dict_must_name_all_required_parameters_and_no_others() -> None:
    with pytest.raises(ValueError) as refused:
        Binder(two).bind({"x": 1, "z": 3}, 7)
    message = str(refused.value)
    assert "element 7" in message
    assert "two(x: 'Any', y: 'Any')" in message
    assert "takes: x, y; given: x, z" in message
    assert "missing: y; unknown: z" in message
    with pytest.raises(InvalidCall, match="unknown: 1"):
        Binder(two).bind({"x": 1, "y": 2, 1: 3})


@pytest.mark.parametrize(("element", "count"), [((1, 2, 3), 3), ((), 0), (1, 1)])
def test_too_many_or_too_few_arguments_are_refused_with_the_signature(element: Any, count: int) -> None:
    with pytest.raises(
        InvalidCall, match=r"element 41 of the input data does not fit two\(x: 'Any'"
    ) as refused:
        Binder(two).bind(element, 41)
    assert ("3 were given: (1, 2, 3)" if count == 3 else "missing: ") in str(refused.value)


def test_extra_args_are_appended_to_tuples_and_values() -> None:
    for extra in ((8, 9), [8, 9]):
        binder = Binder(lambda x, y, z=0: None, extra_args=extra)
        assert binder.bind(1) == ((1, 8, 9), {})
        assert binder.bind(()) == ((8, 9), {})
    with pytest.raises(InvalidCall, match="4 were given"):
        binder.bind((1, 2))


def test_extra_args_are_merged_into_dicts() -> None:
    binder = Binder(two, extra_args={"y": 9})
    assert binder.bind({"x": 1}) == ((), {"x": 1, "y": 9})
    assert binder.bind(1) == ((1,), {"y": 9})
    with pytest.raises(InvalidCall, match="given twice: y"):
        binder.bind((1, 2))


def test_extra_args_of_one_call_do_not_reach_the_next() -> None:
    binder = Binder(two, extra_args={"y": 9})
    binder.bind(1)[1]["y"] = "changed"
    assert binder.bind(2) == ((2,), {"y": 9})


def test_extra_args_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(
        InvalidCall, match="element 3 of the input data is a dict, so extra_args must be a dict"
    ):
        Binder(two, extra_args=(1,)).bind({"x": 1}, 3)
    with pytest.raises(InvalidCall, match="extra_args is 'abc'"):
        Binder(two, extra_args="abc")  # type: ignore[arg-type]


def test_variadic_functions_take_what_python_would() -> None:
    def variadic(a: int, *args: int, **kwargs: int) -> None: ...

    binder = Binder(variadic)
    assert binder.bind((1, 2, 3)) == ((1, 2, 3), {})
    assert binder.bind({"a": 1, "b": 2}) == ((), {"a": 1, "b": 2})
    assert binder.bind({"a": 1, "args": (2, 3), "kwargs": {"c": 4}}) == ((1, 2, 3), {"c": 4})
    with pytest.raises(InvalidCall, match="given twice: b"):
        binder.bind({"a": 1, "b": 2, "kwargs": {"b": 4}})
    with pytest.raises(InvalidCall, match="unknown: 5"):
        binder.bind({"a": 1, 5: 2})


def test_variadic_names_are_the_functions_own_and_fill_defaults_before_them() -> None:
    def variadic(a: int, b: int = 7, *rest: int) -> None: ...

    assert Binder(variadic).bind({"a": 1, "rest": [2, 3]}) == ((1, 7, 2, 3), {})
    with pytest.raises(InvalidCall, match="unknown: args"):
        Binder(variadic).bind({"a": 1, "args": [2, 3]})


def test_a_name_like_args_that_cannot_spread_is_an_ordinary_name() -> None:
    def passing(*args: Any, **kwargs: Any) -> None: ...

    assert Binder(passing).bind({"args": 5, "kwargs": 6}) == ((), {"args": 5, "kwargs": 6})


def passes_through(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def injects_one(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(x: Any, **kwargs: Any) -> Any:
        return function("injected", x, **kwargs)

    return wrapper


def test_a_wrappers_own_signature_counts() -> None:
    assert Binder(passes_through(two)).bind((1, 2, 3)) == ((1, 2, 3), {})
    assert Binder(passes_through(two)).bind({"args": (1, 2), "kwargs": {}}) == ((1, 2), {})
    assert Binder(injects_one(two)).bind(5) == ((5,), {})
    with pytest.raises(InvalidCall):
        Binder(injects_one(two)).bind((5, 6))


def test_reserved_names_are_found_through_wrappers() -> None:
    def trailing(x: int, id: int, storage: object) -> None: ...

    binder = Binder(passes_through(trailing))
    assert binder.reserved == ("id", "storage")
    assert binder.bind(5) == ((5,), {})

    def leading(id: int, x: int) -> None: ...

    binder = Binder(passes_through(leading))
    assert binder.reserved == ("id",)
    assert binder.bind(5) == ((), {"x": 5})

    def injected(connection: str, x: int, id: int) -> None: ...

    binder = Binder(injects_one(injected))
    assert binder.reserved == ("id",)
    assert binder.bind(5) == ((5,), {})

    def closed(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(x: int) -> Any:
            return function(x, id=3)

        return wrapper

    assert Binder(closed(trailing)).reserved == ()


def test_the_data_of_obj_is_always_given_by_name() -> None:
    def process(obj: Any, factor: int = 1) -> None: ...

    for function in (process, passes_through(process)):
        binder = Binder(function)
        assert binder.declares_obj
        assert binder.reserved == ("obj",)
        assert binder.bind("bucket/key") == ((), {"obj": "bucket/key"})
        assert binder.bind(("bucket/key", 2)) == ((), {"obj": "bucket/key", "factor": 2})
        assert binder.bind({"obj": "bucket/key"}) == ((), {"obj": "bucket/key"})
    assert not Binder(one).declares_obj


def test_obj_may_come_second_and_beside_other_reserved_names() -> None:
    def process(x: int, storage: Any, obj: Any, id: int, y: int) -> None: ...

    binder = Binder(process)
    assert binder.reserved == ("id", "storage", "obj")
    assert binder.bind((1, "bucket/key", 2)) == ((1,), {"obj": "bucket/key", "y": 2})


def test_a_reserved_name_in_a_dict_is_the_users_own_value() -> None:
    def reserving(id: int, x: int) -> None: ...

    assert Binder(reserving).bind({"id": 99, "x": 1}) == ((), {"id": 99, "x": 1})
    assert Binder(reserving, extra_args={"id": 99}).bind(1) == ((), {"id": 99, "x": 1})


def test_a_function_of_reserved_names_alone_takes_nothing_from_the_data() -> None:
    def reserving(id: int) -> None: ...

    assert Binder(reserving).bind(()) == ((), {})
    with pytest.raises(
        InvalidCall, match=r"takes 0 arguments .* the worker fills in id: .* name it in a dict"
    ):
        Binder(reserving).bind(5)


def test_positional_only_names_and_those_bound_by_partial_are_not_reserved() -> None:
    def positional(id: int, /, x: int) -> None: ...

    assert Binder(positional).reserved == ()
    assert Binder(positional).bind((1, 2)) == ((1, 2), {})

    def reserving(x: int, storage: object) -> None: ...

    assert Binder(functools.partial(reserving, storage="mine")).reserved == ()


def test_what_would_overflow_into_a_reserved_parameter_is_refused() -> None:
    def overflowing(x: int, id: int, *rest: int) -> None: ...

    assert Binder(overflowing).bind(1) == ((1,), {})
    for element in ((1, 2), {"x": 1, "rest": (2,)}):
        with pytest.raises(InvalidCall, match=r"declare it after \*rest"):
            Binder(overflowing).bind(element)

    def fitting(x: int, *rest: int, id: int) -> None: ...

    assert Binder(fitting).bind((1, 2)) == ((1, 2), {})


class Model:
    def __init__(self, weight: int, bias: int = 0) -> None:
        self.weight = weight

    def __call__(self, x: int, id: int) -> int:
        return self.weight * x

    def apply(self, x: int) -> int:
        return self.weight * x

    @classmethod
    def named(cls, name: str) -> None: ...

    @staticmethod
    def free(a: int, b: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "name", "element", "bound"),
    [
        (lambda x: x, "<lambda>", 1, ((1,), {})),
        (Model(3).apply, "apply", 1, ((1,), {})),
        (Model(3), "Model", 1, ((1,), {})),
        (Model, "Model", {"weight": 1}, ((), {"weight": 1})),
        (Model.named, "named", "a", (("a",), {})),
        (Model.free, "free", (1, 2), ((1, 2), {})),
        (functools.partial(two, 1), "two", 2, ((2,), {})),
        (functools.partial(functools.partial(two), y=1), "two", 2, ((2,), {})),
        (len, "len", "abc", (("abc",), {})),
        (max, "max", (1, 2, 3), ((1, 2, 3), {})),
        (dict, "dict", {"a": 1}, ((), {"a": 1})),
        (print, "print", {"sep": ""}, ((), {"sep": ""})),
    ],
)
def test_every_kind_of_callable(function: Any, name: str, element: Any, bound: Any) -> None:
    binder = Binder(function)
    assert binder.function is function
    assert binder.function_name == name
    assert binder.bind(element) == bound


def test_bound_methods_and_instances_check_without_their_self() -> None:
    assert Binder(Model(3)).reserved == ("id",)
    for function in (Model(3), Model(3).apply):
        with pytest.raises(InvalidCall):
            Binder(function).bind((1, 2))


def test_a_signature_that_cannot_be_known_is_not_checked() -> None:
    class Posing:
        __signature__ = "not a signature"

        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    for function in (Posing(), max):
        assert Binder(function).bind((1, 2, 3)) == ((1, 2, 3), {})
        assert Binder(function).bind({"a": 1, "args": (2,)}) == ((), {"a": 1, "args": (2,)})
        assert Binder(function, extra_args={"k": 1}).bind(5) == ((5,), {"k": 1})
        assert Binder(function).reserved == ()


def test_a_faked_signature_is_believed() -> None:
    def faking(*args: Any, **kwargs: Any) -> None: ...

    faking.__signature__ = inspect.signature(two)  # type: ignore[attr-defined]
    assert Binder(faking).bind((1, 2)) == ((1, 2), {})
    with pytest.raises(InvalidCall):
        Binder(faking).bind(1)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (5, r"5 \(int\) cannot be called"),
        (None, r"None \(NoneType\) cannot be called"),
        ("f", r"'f' \(str\) cannot be called"),
        (Iterator, None),
        (type("Plain", (), {})(), r"class 'Plain' has no __call__"),
    ],
)
def test_what_cannot_be_called_is_refused(function: Any, said: str | None) -> None:
    if said is None:
        Binder(function)
        return
    with pytest.raises(ValueError, match=said):
        Binder(function)


def test_single_elements() -> None:
    for single in ("text", b"bytes", bytearray(b"b"), {"x": 1}, (1, 2), ()):
        assert list(elements(single)) == [single]


def test_sequences_of_elements() -> None:
    assert list(elements([1, 2])) == [1, 2]
    assert list(elements(range(3))) == [0, 1, 2]
    assert sorted(elements({1, 2})) == [1, 2]
    assert list(elements({"a": 1}.values())) == [1]
    assert list(elements({"a": 1}.items())) == [("a", 1)]
    assert [row.tolist() for row in elements(np.arange(4).reshape(2, 2))] == [[0, 1], [2, 3]]
    assert list(elements([])) == []


def test_a_generator_is_not_read_ahead() -> None:
    def endless() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    assert next(iter(elements(endless()))) == 0


@pytest.mark.parametrize("data", [5, None, np.array(5), object()])
def test_what_cannot_be_iterated_over_is_refused(data: Any) -> None:
    with pytest.raises(InvalidCall, match="cannot be iterated over"):
        elements(data)


@st.composite
def functions(draw: st.DrawFn) -> Callable[..., Any]:
    """Functions of random signatures, reserved names among them, that return what their parameters hold."""
    names = draw(st.permutations(["a", "b", "c", *RESERVED[:2]]))[: draw(st.integers(0, 5))]
    count = draw(st.integers(0, len(names)))
    positional, keyword = names[:count], names[count:]
    first_default = draw(st.integers(0, count))
    slash = draw(st.integers(0, count))
    parts = [name if i < first_default else f"{name}='-'" for i, name in enumerate(positional)]
    if slash:
        parts.insert(slash, "/")
    variadic = draw(st.booleans())
    if variadic or keyword:
        parts.append("*rest" if variadic else "*")
    parts += [f"{name}='-'" if draw(st.booleans()) else name for name in keyword]
    if draw(st.booleans()):
        parts.append("**more")
    source = f"def function({', '.join(parts)}):\n    return dict(locals())"
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    made: Callable[..., Any] = namespace["function"]
    made.__doc__ = source
    return made


positional_data = st.lists(st.integers(), max_size=5).map(tuple)
named_data = st.dictionaries(st.sampled_from(["a", "b", "c", "z"]), st.integers(), max_size=4)


def run(function: Callable[..., Any], binder: Binder, element: Any) -> Any:
    args, kwargs = binder.bind(element)
    filled_in = {name: f"the {name}" for name in binder.reserved}
    return function(*args, **{**filled_in, **kwargs})


@given(functions(), positional_data | named_data)
def test_what_is_bound_can_be_called_with_the_reserved_parameters(
    function: Callable[..., Any], element: Any
) -> None:
    binder = Binder(function)
    try:
        outcome = run(function, binder, element)
    except InvalidCall:
        return
    for name in binder.reserved:
        assert outcome[name] == f"the {name}"
    held = [outcome[name] for name in outcome if name not in (*binder.reserved, "rest", "more")]
    held += [*outcome.get("rest", ()), *outcome.get("more", {}).values()]
    given_values = list(element.values()) if isinstance(element, dict) else list(element)
    assert sorted(value for value in held if value != "-") == sorted(given_values)


@given(functions(), positional_data, named_data)
def test_without_reserved_names_it_refuses_exactly_what_python_refuses(
    function: Callable[..., Any], args: tuple[int, ...], named: dict[str, int]
) -> None:
    binder = Binder(function, extra_args=named)
    parameters = inspect.signature(function).parameters.values()
    by_name_alone = [each.name for each in parameters if each.kind is inspect.Parameter.POSITIONAL_ONLY]
    if binder.reserved or any(name in by_name_alone for name in named):
        return
    try:
        expected = function(*args, **named)
    except TypeError:
        with pytest.raises(InvalidCall):
            binder.bind(args)
        return
    bound_args, bound_kwargs = binder.bind(args)
    assert function(*bound_args, **bound_kwargs) == expected
    if not args:
        assert run(function, Binder(function), named) == expected


@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer multiplies what code costs")
@pytest.mark.parametrize(
    ("function", "element", "limit_us"), [(one, 5, 0.5), (two, (1, 2), 1.5), (two, {"x": 1, "y": 2}, 3.0)]
)
def test_binding_costs_next_to_nothing(function: Any, element: Any, limit_us: float) -> None:
    bind = Binder(function).bind
    number = 2000
    cost_us = min(timeit.repeat(lambda: bind(element, 1), number=number, repeat=30)) / number * 1e6
    # Twice the budget: a shared machine is slow at times, a wrong algorithm is slow by far more.
    assert cost_us < 2 * limit_us

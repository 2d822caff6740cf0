"""Functions and arguments as pickles: what a bare worker can read, and what is said when it could not."""

from __future__ import annotations

import collections
import functools
import pickle
import subprocess
import sys
import threading
import timeit
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from two_processes import round_trip

from lithops.exceptions import NotSerializable
from lithops.prepare.serialize import ArgumentSerializer, serialize_function
from lithops.wire.pickles import join, load

LOCK = threading.Lock()


# What `__main__` defines reaches a bare worker.


def test_functions_of_main_go_by_value(tmp_path: Path) -> None:
    _, results = round_trip(
        tmp_path,
        """
import functools, math
FACTOR = 3
def helper(x):
    return math.floor(x) * FACTOR
def make(offset):
    def inner(x):
        return helper(x) + offset
    return inner
function = functools.partial(lambda inner, x: inner(x), make(100))
elements = [1.5, 2.5]
""",
    )
    assert results == [103, 106]


def test_instances_of_classes_of_main_are_instances_of_the_functions_class(tmp_path: Path) -> None:
    _, results = round_trip(
        tmp_path,
        """
import dataclasses, enum, typing
class Colour(enum.Enum):
    RED = 1
@dataclasses.dataclass
class Point:
    x: int
    colour: Colour = Colour.RED
class Pair(typing.NamedTuple):
    a: int
class Text(str): pass
seen = []
def function(point, pair, text):
    seen.append(type(point))
    same = all(each is Point for each in seen)
    return same, point.x, point.colour is Colour.RED, type(pair) is Pair, type(text) is Text, len(seen)
elements = [(Point(1), Pair(1), Text("a")), (Point(2), Pair(2), Text("b"))]
""",
    )
    assert results == [(True, 1, True, True, True, 1), (True, 2, True, True, True, 2)]


def test_classes_of_main_that_refer_to_each_other_can_be_arguments(tmp_path: Path) -> None:
    _, results = round_trip(
        tmp_path,
        """
class Chicken:
    def child(self): return Egg()
class Egg:
    def child(self): return Chicken()
def function(one): return type(one.child().child()).__name__, one.child().child().__class__ is type(one)
elements = [Chicken(), Egg()]
""",
    )
    assert results == [("Chicken", True), ("Egg", True)]


def test_cached_functions_of_main_keep_their_cache(tmp_path: Path) -> None:
    _, results = round_trip(
        tmp_path,
        """
import functools
@functools.lru_cache(maxsize=77)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
def function(n):
    return fib(n), fib.cache_info().misses, fib.cache_info().maxsize
elements = [80]
""",
    )
    assert results == [(23416728348467685, 81, 77)]


def test_bound_methods_callable_instances_and_lambdas_as_arguments(tmp_path: Path) -> None:
    _, results = round_trip(
        tmp_path,
        """
class Model:
    def __init__(self, weight): self.weight = weight
    def apply(self, f, x): return f(self.weight * x)
function = Model(7).apply
elements = [(lambda y: y + 1, 2), (str, 3)]
""",
    )
    assert results == [15, "21"]


# Modules that were loaded without a file.


@pytest.fixture
def dynamic() -> Iterator[types.ModuleType]:
    """A module that is loaded, but that no worker could import."""
    module = types.ModuleType("made_by_hand")
    exec("BASE = 10\nclass Thing:\n    n = BASE\ndef add(x):\n    return x + BASE", module.__dict__)
    sys.modules["made_by_hand"] = module
    yield module
    del sys.modules["made_by_hand"]


def in_bare_worker(body: bytes, expression: str) -> str:
    """What `expression` shows of the unpickled `it`, in a process that has none of this one's modules."""
    code = f"import pickle, sys; it = pickle.load(sys.stdin.buffer); print(({expression}))"
    done = subprocess.run([sys.executable, "-I", "-c", code], input=body, capture_output=True, check=True)
    return done.stdout.decode().strip()


def test_modules_without_a_file_go_by_value(dynamic: types.ModuleType) -> None:
    assert in_bare_worker(serialize_function(dynamic.add), "it(5)") == "15"
    assert in_bare_worker(serialize_function(lambda: dynamic.add(6)), "it()") == "16"
    body = join(ArgumentSerializer().dumps(((dynamic.Thing(), dynamic), {})))
    assert in_bare_worker(body, "it[0][0].n, it[0][1].add(1)") == "(10, 11)"


def test_what_goes_by_value_is_registered_only_while_it_is_pickled(dynamic: types.ModuleType) -> None:
    serialize_function(dynamic.add)
    with pytest.raises(NotSerializable):
        serialize_function(lambda: (dynamic.add, LOCK))
    assert cloudpickle.list_registry_pickle_by_value() == set()
    cloudpickle.register_pickle_by_value(dynamic)
    serialize_function(dynamic.add)
    assert cloudpickle.list_registry_pickle_by_value() == {"made_by_hand"}
    cloudpickle.unregister_pickle_by_value(dynamic)


def test_threads_that_pickle_the_same_module_do_not_disturb_each_other(dynamic: types.ModuleType) -> None:
    expected = len(serialize_function(dynamic.add))

    def lengths(_: int) -> set[int]:
        return {len(serialize_function(dynamic.add)) for _ in range(50)}

    with ThreadPoolExecutor(8) as pool:
        assert set.union(*pool.map(lengths, range(16))) == {expected}
    assert cloudpickle.list_registry_pickle_by_value() == set()


# Arguments.

atoms = st.one_of(st.integers(), st.floats(allow_nan=False), st.text(), st.binary(), st.booleans(), st.none())
values = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner)
        | st.frozensets(atoms)
        | st.builds(slice, inner)
    ),
)


@given(st.lists(values).map(tuple), st.dictionaries(st.text(), values))
def test_arguments_arrive_as_they_left(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    assert load(join(ArgumentSerializer().dumps((args, kwargs), 0))) == (args, kwargs)


def test_builtin_values_meet_no_module_and_make_one_plain_pickle() -> None:
    serializer = ArgumentSerializer()
    arguments = ((1, "a", None, [1, (2.0, b"c")], {"k": [True]}), {"n": 1j})
    assert serializer.dumps(arguments) == [pickle.dumps(arguments, 5)]
    assert serializer.modules_seen == set()


def test_arrays_stay_out_of_band_and_share_memory() -> None:
    array = np.arange(10_000, dtype=np.float64)
    segments = ArgumentSerializer().dumps(((array,), {"y": array[:5000]}))
    shared = [each for each in segments if np.shares_memory(np.frombuffer(each, np.uint8), array)]
    assert sum(memoryview(each).nbytes for each in shared) == array.nbytes + 5000 * 8
    (back,), named = load(join(segments))
    assert np.array_equal(back, array)
    assert np.array_equal(named["y"], array[:5000])
    back[0] = 1


def test_a_class_that_goes_by_value_is_pickled_once_for_all_calls() -> None:
    class Local:
        def __init__(self, x: int) -> None:
            self.x = x

        __module__ = "__main__"

    serializer = ArgumentSerializer()
    bodies = [join(serializer.dumps(((Local(i),), {}), i)) for i in range(3)]
    Local.added_later = 5  # type: ignore[attr-defined]
    bodies.append(join(serializer.dumps(((Local(3),), {}), 3)))
    assert len({len(body) for body in bodies}) == 1
    assert [load(body)[0][0].x for body in bodies] == [0, 1, 2, 3]


# Which modules are met.


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    (tmp_path / "seen_here.py").write_text(
        "import functools\nclass Thing: pass\ndef plain(): pass\n"
        "@functools.lru_cache\ndef cached(): pass\nT = __import__('typing').TypeVar('T')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("seen_here")
    del sys.modules["seen_here"]


@pytest.mark.parametrize("name", ["Thing", "plain", "cached", "T"])
def test_modules_of_what_goes_by_reference_are_seen(module: types.ModuleType, name: str) -> None:
    serializer = ArgumentSerializer()
    serializer.dumps(((getattr(module, name),), {}))
    assert "seen_here" in serializer.modules_seen
    seen: set[str] = set()
    held = getattr(module, name)
    serialize_function(lambda: held, modules_seen=seen)
    assert "seen_here" in seen


def test_modules_of_instances_modules_and_by_value_subclasses_are_seen(module: types.ModuleType) -> None:
    serializer = ArgumentSerializer()
    serializer.dumps((([module.Thing()] * 3,), {}))
    assert "seen_here" in serializer.modules_seen

    seen: set[str] = set()
    serialize_function(lambda: module, modules_seen=seen)
    assert "seen_here" in seen

    serializer = ArgumentSerializer()
    derived = type("Derived", (module.Thing,), {"__module__": "__main__"})
    serializer.dumps(((derived(),), {}))
    assert "seen_here" in serializer.modules_seen


def test_modules_that_by_value_code_imports_are_seen() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    code = "def importing():\n  import one.two as _\n  from three import four\n"
    exec(code + "  def nested():\n    import five\n", namespace)
    seen: set[str] = set()
    serialize_function(namespace["importing"], modules_seen=seen)
    assert {"one.two", "three.four", "five"} <= seen


def test_relative_imports_of_by_value_code_are_seen_in_full() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__", "__package__": "pack.sub"}
    exec("def importing():\n  from . import a\n  from ..b import c\n  import d\n", namespace)
    seen: set[str] = set()
    serialize_function(namespace["importing"], modules_seen=seen)
    assert {"pack.sub.a", "pack.b.c", "d"} <= seen
    assert not {"a", "b", "c"} & seen


# What cannot be pickled, and why.


class Holder:
    """Something with a part that cannot be pickled, some levels down."""

    def __init__(self) -> None:
        self.good = 1
        self.inner = {"deep": [1, LOCK]}

    def method(self, x: int) -> int:
        return x


HOLDER = Holder()


def uses_helper() -> Any:
    return helper()


def helper() -> Any:
    return HOLDER


def lock_as_default(lock: Any = LOCK) -> None: ...


def attribute_of_the_name_of_a_global(thing: Any) -> Any:
    return thing.LOCK


def by_value(function: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of the function that goes by value, as one of `__main__` does."""
    copy = types.FunctionType(
        function.__code__, globals_by_value(), function.__name__, function.__defaults__, function.__closure__
    )
    copy.__module__ = "__main__"
    return copy


@functools.lru_cache
def globals_by_value() -> dict[str, Any]:
    namespace = dict(globals(), __name__="__main__")
    namespace["helper"] = types.FunctionType(helper.__code__, namespace, "helper")
    namespace["helper"].__module__ = "__main__"
    return namespace


def refused(attempt: Callable[[], object]) -> str:
    with pytest.raises(TypeError) as caught:
        attempt()
    assert type(caught.value) is NotSerializable
    assert caught.value.__cause__ is not None
    return str(caught.value)


def test_the_way_to_the_culprit_leads_through_globals_attributes_and_containers() -> None:
    message = refused(lambda: serialize_function(by_value(uses_helper)))
    assert "function 'uses_helper' cannot be sent to a worker" in message
    assert (
        "it uses global 'helper' (function), which uses global 'HOLDER' (test_serialize.Holder), " in message
    )
    assert "which has attribute 'inner' (dict), which holds under key 'deep' a value (list), " in message
    assert "which holds as element 1 a value (_thread.lock)" in message
    assert "cannot pickle '_thread.lock' object" in message


def test_closures_defaults_and_partials_are_looked_into() -> None:
    hidden = (i for i in range(3))
    message = refused(lambda: serialize_function(lambda: hidden))
    assert "uses the enclosing function's variable 'hidden' (generator)" in message
    message = refused(lambda: serialize_function(by_value(lock_as_default)))
    assert "has a default value (_thread.lock)" in message
    message = refused(lambda: serialize_function(functools.partial(print, 1, file=LOCK)))
    assert "binds argument 'file' (_thread.lock)" in message
    message = refused(lambda: serialize_function(Holder().method))
    assert "is bound to an object (test_serialize.Holder), which has attribute 'inner'" in message


def test_classes_and_instances_by_value_are_looked_into() -> None:
    class Local:
        shared = LOCK

        def use(self) -> Any:
            return LOCK

    message = refused(lambda: serialize_function(Local))
    assert "defines 'shared' (_thread.lock)" in message


def hiding_places() -> dict[str, Any]:
    """Each way in which a function or an object can hold a part that cannot be pickled."""

    def in_keyword_default(*, lock: Any = LOCK) -> None: ...

    def in_annotation() -> None: ...

    def in_attribute() -> None: ...

    in_annotation.__annotations__["x"] = LOCK
    in_attribute.lock = LOCK  # type: ignore[attr-defined]
    in_module = types.ModuleType("in_module")
    in_module.lock = LOCK  # type: ignore[attr-defined]
    hidden = LOCK

    class InClass:
        cached = functools.lru_cache(lambda: hidden)
        attribute = property(lambda self: hidden)
        method = classmethod(lambda cls: hidden)
        static = staticmethod(lambda: hidden)

    found: dict[str, Any] = {
        name: vars(InClass)[name] for name in ("cached", "attribute", "method", "static")
    }
    found |= {
        each.__name__: each for each in (in_keyword_default, in_annotation, in_attribute, in_module, InClass)
    }
    found["a key"] = {(1, LOCK): "value"}
    found["a set"] = frozenset({LOCK})
    found["a user list"] = collections.UserList([LOCK])
    found["an ordered dict"] = collections.OrderedDict(a=LOCK)
    found["a factory"] = collections.defaultdict(lambda: hidden)
    found["a deque"] = collections.deque([1, LOCK])
    found["an exception"] = ValueError("text", LOCK)
    found["a namespace"] = types.SimpleNamespace(lock=LOCK)
    return found


@pytest.mark.parametrize("place", list(hiding_places()))
def test_the_culprit_is_found_wherever_it_hides(place: str) -> None:
    message = refused(lambda: ArgumentSerializer().dumps(((hiding_places()[place],), {}), 0))
    assert "(_thread.lock), and that cannot be pickled" in message


def test_a_global_that_is_not_used_is_not_blamed() -> None:
    serialize_function(by_value(attribute_of_the_name_of_a_global))
    extra = open(__file__)  # noqa: SIM115 - an open file is what cannot be pickled here

    def both(thing: Any) -> Any:
        return thing.LOCK, extra.fileno

    extra.close()
    message = refused(lambda: serialize_function(by_value(both)))
    assert "variable 'extra' (_io.TextIOWrapper)" in message
    assert "'LOCK'" not in message


def test_the_element_and_the_argument_are_named() -> None:
    serializer = ArgumentSerializer()
    message = refused(lambda: serializer.dumps(((1, HOLDER), {}), 4))
    assert message.startswith(
        "element 4 of the input data cannot be sent to a worker: argument 1 has attribute 'inner'"
    )
    message = refused(lambda: serializer.dumps(((1,), {"lock": LOCK}), 4))
    assert "argument 'lock' is a _thread.lock that cannot be pickled" in message
    message = refused(lambda: serializer.dumps(((LOCK,), {})))
    assert message.startswith("the data cannot be sent to a worker: it is a _thread.lock")


def test_errors_of_the_users_own_reduction_are_told() -> None:
    class Stubborn:
        def __getstate__(self) -> Any:
            raise RuntimeError("not today")

    message = refused(lambda: ArgumentSerializer().dumps((([Stubborn()],), {}), 0))
    assert "holds as element 0 a value" in message
    assert "RuntimeError: not today" in message


def test_circles_and_great_depth_are_told_briefly() -> None:
    circle: list[Any] = [LOCK]
    circle.insert(0, circle)
    assert "element 1 a value (_thread.lock)" in refused(
        lambda: ArgumentSerializer().dumps(((circle,), {}), 0)
    )
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    message = refused(lambda: ArgumentSerializer().dumps(((deep,), {}), 0))
    assert "nested too deeply" in message
    assert len(message) < 300


def test_lack_of_memory_is_not_called_unpicklable() -> None:
    class Huge:
        def __reduce__(self) -> Any:
            raise MemoryError

    with pytest.raises(MemoryError):
        ArgumentSerializer().dumps(((Huge(),), {}), 0)
    with pytest.raises(MemoryError):
        serialize_function(functools.partial(print, Huge()))


# Cost.


@pytest.mark.skipif(sys.gettrace() is not None, reason="a tracer multiplies what code costs")
@pytest.mark.parametrize(
    ("value", "limit_us"),
    [(5, 1.0), ([1, 2, 3], 5.0), ({"a": [1, 2], "b": "text"}, 5.0), (np.float64(1), 40.0)],
)
def test_serializing_an_argument_costs_little(value: Any, limit_us: float) -> None:
    dumps, number = ArgumentSerializer().dumps, 1000
    cost_us = min(timeit.repeat(lambda: dumps(((value,), {}), 0), number=number, repeat=30)) / number * 1e6
    # Twice the budget: a shared machine is slow at times, a wrong algorithm is slow by far more.
    assert cost_us < 2 * limit_us

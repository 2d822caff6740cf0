"""Why something cannot be pickled: the way from it to the one thing inside that is to blame."""

from __future__ import annotations

import copyreg
import dis
import functools
import types
from collections.abc import Callable, Iterator
from typing import Any

Failure = Callable[[Any], Exception | None]
"""What pickling a value raises."""
Part = tuple[str, Any]
"""How a whole has a part, in words that follow 'it', and the part."""

_ATOMS = frozenset({int, float, complex, bool, str, bytes, bytearray, type(None)})
_GLOBAL_OPERATIONS = frozenset({"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL"})


def explain(value: Any, failure: Failure, error: Exception) -> str:
    """Why pickling `value` raised `error`, in words that go on from 'it'; `failure` tries its parts."""
    if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
        return "is nested too deeply, or refers to too long a chain of objects"
    steps: list[str] = []
    visited = {id(value)}
    while found := _failing_part(value, failure, visited):
        phrase, value, error = found
        visited.add(id(value))
        steps.append(f"{phrase} ({type_name(value)})")
    reason = f"{type(error).__name__}: {error}"
    if not steps:
        return f"is a {type_name(value)} that cannot be pickled ({reason})"
    return f"{', which '.join(steps)}, and that cannot be pickled ({reason})"


def type_name(value: Any) -> str:
    """What a person calls the type of `value`."""
    kind = type(value)
    plain = kind.__module__ in ("builtins", "__main__")
    return kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"


def _failing_part(value: Any, failure: Failure, visited: set[int]) -> tuple[str, Any, Exception] | None:
    for phrase, part in _parts(value):
        if type(part) in _ATOMS or id(part) in visited:
            continue
        error = failure(part)
        if error is not None:
            return phrase, part, error
    return None


def _parts(value: Any) -> Iterator[Part]:
    if isinstance(value, types.FunctionType):
        yield from _parts_of_function(value)
    elif isinstance(value, type):
        yield from _parts_of_class(value)
    elif isinstance(value, types.MethodType):
        yield "is bound to an object", value.__self__
        yield "is a method", value.__func__
    elif isinstance(value, functools.partial):
        yield "wraps a function", value.func
        yield from ((f"binds argument {i}", each) for i, each in enumerate(value.args))
        yield from ((f"binds argument {name!r}", each) for name, each in value.keywords.items())
    elif isinstance(value, types.ModuleType):
        yield from ((f"defines {name!r}", each) for name, each in vars(value).items())
    elif isinstance(value, (staticmethod, classmethod, functools._lru_cache_wrapper)):
        yield "wraps a function", value.__wrapped__
    elif isinstance(value, property):
        yield from (("wraps a function", each) for each in (value.fget, value.fset, value.fdel))
    elif type(value) is dict:
        yield from ((f"holds under key {key!r:.80} a value", each) for key, each in value.items())
        yield from (("has a key", key) for key in value)
    elif type(value) in (list, tuple, set, frozenset):
        yield from ((f"holds as element {i} a value", each) for i, each in enumerate(value))
    else:
        yield from _parts_of_object(value)


def _parts_of_function(function: types.FunctionType) -> Iterator[Part]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if cell != types.CellType():
            yield f"uses the enclosing function's variable {name!r}", cell.cell_contents
    for name in _global_names(function.__code__):
        if name in function.__globals__:
            yield f"uses global {name!r}", function.__globals__[name]
    for each in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield "has a default value", each
    for name, each in function.__annotations__.items():
        yield f"annotates {name!r}", each
    for name, each in vars(function).items():
        yield f"has attribute {name!r}", each


def _global_names(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in _GLOBAL_OPERATIONS:
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _global_names(constant)


def _parts_of_class(kind: type) -> Iterator[Part]:
    yield from ((f"derives from {base.__name__!r}", base) for base in kind.__bases__)
    for name, each in vars(kind).items():
        if name not in ("__dict__", "__weakref__"):
            yield f"defines {name!r}", each


def _parts_of_object(value: Any) -> Iterator[Part]:
    """What the pickle of `value` is made of: its own reduction says so."""
    try:
        reduce = copyreg.dispatch_table.get(type(value))
        reduced = reduce(value) if reduce else value.__reduce_ex__(5)
    except Exception:  # noqa: BLE001 - then the value itself is to blame, and the error is known already
        return
    if isinstance(reduced, str):
        return
    _, args, state, items, pairs = (*reduced, None, None, None)[:5]
    for each in state if isinstance(state, tuple) else (state,):
        if isinstance(each, dict):
            yield from ((f"has attribute {name!r}", part) for name, part in each.items())
        elif each is not None:
            yield "has a state", each
    yield from ((f"is made from argument {i}", each) for i, each in enumerate(args))
    yield from ((f"holds as element {i} a value", each) for i, each in enumerate(items or ()))
    yield from ((f"holds under key {key!r:.80} a value", each) for key, each in pairs or ())

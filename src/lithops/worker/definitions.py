"""What pickles call, on the worker, to rebuild what the client sent by value."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from typing import Any


@functools.lru_cache(maxsize=1024)
def define(pickled: bytes) -> Any:
    """The class whose definition `pickled` holds: read once, however many arguments bring it along."""
    return pickle.loads(pickled)


@functools.lru_cache(maxsize=64)
def _namespace(name: str) -> dict[str, Any]:  # noqa: ARG001 - it is the key
    return {}


def namespace(name: str, **special: Any) -> dict[str, Any]:
    """The globals of functions that go by value to processes of one pool: what one sets, the others see."""
    found = _namespace(name)
    for key, value in special.items():
        found.setdefault(key, value)
    return found


def fill(set_state: Callable[[Any, Any], None], function: Any, state: tuple[Any, dict[str, Any]]) -> None:
    """Give `function` its state. Globals that its namespace has already stay as they are."""
    attributes, slots = state
    known = function.__globals__
    missing = {name: value for name, value in slots["__globals__"].items() if name not in known}
    set_state(function, (attributes, {**slots, "__globals__": missing}))


def memoize(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    """`function` with an empty `functools.lru_cache` around it."""
    return functools.lru_cache(maxsize=maxsize, typed=typed)(function)

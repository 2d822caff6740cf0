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


def memoize(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    """`function` with an empty `functools.lru_cache` around it."""
    return functools.lru_cache(maxsize=maxsize, typed=typed)(function)

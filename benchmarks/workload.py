"""The functions that every peer's workers run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[np.float64]]

ITEMS_PER_PAGE = 512
"""How many float64 fill one page of 4 KiB."""


def noop(index: int) -> int:
    """Do nothing but give the index back, so that a result can be checked."""
    return index


def nap(seconds: float) -> float:
    """Sleep."""
    time.sleep(seconds)
    return seconds


def load_numpy(seconds: float) -> float:
    """Import numpy, and sleep so long that every other worker is given such a call too."""
    import numpy as np

    time.sleep(seconds)
    return float(np.float64(seconds))


def make(items: int, value: float) -> Array:
    """An array of `items` float64, all of them `value`, with every page written."""
    import numpy as np

    return np.full(items, value)


def touch(array: Array) -> float:
    """The sum of one item of every page, so that memory which is mapped and not yet read counts as well."""
    return float(array[::ITEMS_PER_PAGE].sum())


def echo(array: Array) -> Array:
    """Read an array and return it: an argument and a result."""
    touch(array)
    return array


def absorb(array: Array) -> float:
    """Read an array and return a number: an argument only."""
    return touch(array)


def produce(shape: tuple[int, float]) -> Array:
    """Make an array of `(items, value)`: a result only."""
    return make(*shape)

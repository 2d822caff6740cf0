"""What joblib has functions do: in a module of its own, since functions bring along what their module imports."""

from __future__ import annotations

from typing import Any


def square(x: int) -> int:
    return x * x


def look(array: Any, power: int) -> tuple[float, bool]:
    """Something that only the whole array gives, and whether it can be written to."""
    return float((array**power).sum()), bool(array.flags.writeable)


def double(array: Any) -> Any:
    return array + array


def refuse(number: int) -> None:
    raise ValueError(f"no {number} here")

"""What processes of the tests do with values and arrays. It goes along to a cloud, and imports little."""

from __future__ import annotations

import ctypes
from typing import Any


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("y", ctypes.c_double)]


def modify(n: Any, x: Any, s: Any, points: Any) -> None:
    n.value **= 2
    x.value **= 2
    s.value = s.value.upper()
    for point in points:
        point.x **= 2
        point.y **= 2


def count(value: Any, times: int) -> None:
    for _ in range(times):
        with value.get_lock():
            value.value += 1

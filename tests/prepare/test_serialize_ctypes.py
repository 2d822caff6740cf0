"""Structures of `ctypes` that a program's own script defines travel with the functions that use them."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import ctypes, pickle, sys
from lithops.prepare.serialize import ArgumentSerializer, serialize_function

class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("y", ctypes.c_double)]
    def norm(self):
        return (self.x ** 2 + self.y ** 2) ** 0.5

class Line(ctypes.Structure):
    _fields_ = [("points", Point * 2), ("flag", ctypes.c_uint, 3)]

class Either(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("bytes", ctypes.c_ubyte * 4)]

def use():
    line = Line(((3, 4), (0, 0)), 5)
    return line.points[0].norm(), line.flag, list(Either(1).bytes), Line.__name__

sys.stdout.buffer.write(serialize_function(use))
"""
READER = """
import pickle, sys
print(pickle.loads(sys.stdin.buffer.read())())
"""


def test_functions_bring_their_structures_along() -> None:
    written = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, timeout=60)
    read = subprocess.run(
        [sys.executable, "-c", READER], input=written.stdout, capture_output=True, check=True, timeout=60
    )
    assert read.stdout.decode().strip() == f"(5.0, 5, {list((1).to_bytes(4, sys.byteorder))}, 'Line')"

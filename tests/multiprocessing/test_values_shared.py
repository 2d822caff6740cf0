"""Values and arrays between processes, what they cost, and what cannot be had."""

from __future__ import annotations

import ctypes
import gc
import pickle
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import value_functions as functions

import lithops.multiprocessing
from lithops import FunctionExecutor
from lithops.exceptions import SharedStateError
from lithops.multiprocessing.current import current_session
from lithops.multiprocessing.sharedctypes import copy, synchronized
from lithops.shared.session import Session

lmp: Any = lithops.multiprocessing
"""Seen from inside, where the standard library's types do not hold."""


class Flags(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint, 4), ("high", ctypes.c_uint, 4)]


class Network(ctypes.BigEndianStructure):
    _fields_ = [("port", ctypes.c_uint16), ("hosts", ctypes.c_uint32 * 2)]


# ---------------------------------------------------------------- between processes


def test_the_example_of_the_documentation(mp: Any) -> None:
    lock = mp.Lock()
    n, x = mp.Value("i", 7), mp.Value(ctypes.c_double, 1.0 / 3.0, lock=False)
    s = mp.Array("c", b"hello world", lock=lock)
    points = mp.Array(functions.Point, [(1.875, -6.25), (-5.75, 2.0), (2.375, 9.5)], lock=lock)
    process = mp.Process(target=functions.modify, args=(n, x, s, points))
    process.start()
    process.join()
    assert (n.value, x.value, s.value) == (49, (1.0 / 3.0) ** 2, b"HELLO WORLD")
    found = [(point.x, point.y) for point in points]
    assert found == [(3.515625, 39.0625), (33.0625, 4.0), (5.640625, 90.25)]


def test_processes_count_together(mp: Any) -> None:
    value = mp.Value("i")
    processes = [mp.Process(target=functions.count, args=(value, 100)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert value.value == 300


def test_a_structure_of_a_script(run_program: Callable[..., Any]) -> None:
    """No other process can import it, nor what it is made of."""
    result = run_program(
        """
import ctypes
import lithops.multiprocessing as mp

class Size(ctypes.Structure):
    _fields_ = [("width", ctypes.c_int), ("height", ctypes.c_int)]

    @property
    def area(self):
        return self.width * self.height

class Box(ctypes.Union):
    _anonymous_ = ["size"]
    _fields_ = [("size", Size), ("both", ctypes.c_int64)]

class Net(ctypes.BigEndianStructure):
    _pack_ = 1
    _fields_ = [("kind", ctypes.c_byte), ("ports", ctypes.c_uint16 * 2), ("low", ctypes.c_uint16, 4)]

def work(value, array, nets):
    array[1].width += value.width
    nets[0].ports[1], nets[0].low = 80, 3
    return array[1].size.area, type(array[1]).__name__

if __name__ == "__main__":
    value, array = mp.Value(Size, 3, 4), mp.RawArray(Box, 2)
    array[1].height = 5
    nets = mp.RawArray(Net, 1)
    with mp.Pool(1) as pool:
        print(pool.apply(work, (value, array, nets)), pool.apply(work, (value, array, nets)))
    print(array[1].width, bytes(nets))
"""
    )
    assert result.stdout.splitlines() == ["(15, 'Box') (30, 'Box')", r"6 b'\x00\x00\x00\x00P0\x00'"]


def test_what_travels_is_the_same_memory() -> None:
    value, array, network = lmp.Value("i", 1), lmp.Array("d", 3), lmp.RawValue(Network)
    for protocol in range(2, 6):
        other = pickle.loads(pickle.dumps(value, protocol))
        other.value += 1
        assert other.get_lock() is value.get_lock()
    assert value.value == 5
    points = lmp.RawArray(functions.Point, 2)
    pickle.loads(pickle.dumps(points))[1].y = 3
    pickle.loads(pickle.dumps(points[1])).x = 2
    assert (points[1].x, points[1].y) == (2, 3)
    pickle.loads(pickle.dumps(network.hosts))[0] = 1
    assert bytes(network) == b"\0\0\0\0\0\0\0\1\0\0\0\0"
    pickle.loads(pickle.dumps(array))[:] = [1, 2, 3]
    assert array[:] == [1, 2, 3]


def test_closures_and_results(fexec: FunctionExecutor) -> None:
    value = lmp.RawValue("i", 1)

    def made_there(_: int) -> Any:
        value.value += 1
        return lmp.RawArray("i", [value.value])

    # Where functions make shared objects, they need to be told of the program's server.
    env = {"LITHOPS_SHARED": current_session().server.text()}
    future = fexec.call_async(made_there, (0,), extra_env=env)
    assert fexec.get_result(future)[:] == [2]


# ---------------------------------------------------------------- what it costs


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The commands that go to the server."""
    made: list[str] = []
    for name in ("run", "run_all", "script"):
        _record(monkeypatch, name, made)
    return made


def _record(monkeypatch: pytest.MonkeyPatch, name: str, made: list[str]) -> None:
    original = getattr(Session, name)

    def record(self: Session, *arguments: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            made.append(arguments[0] if name == "run" else name)
        return original(self, *arguments)

    monkeypatch.setattr(Session, name, record)


def test_each_operation_is_one_request(requests: list[str]) -> None:
    value, array, raw = lmp.Value("i", 5), lmp.Array("d", range(1000)), lmp.RawArray(functions.Point, 10)
    point, text = lmp.Value(functions.Point), lmp.Array("c", 20)
    # The server gets to know the scripts by their first use.
    for known in (False, True):
        for operation in (
            lambda: value.value, lambda: setattr(value, "value", 7), lambda: array[3], lambda: array[:],
            lambda: array[10:900:3], lambda: array[10::-300], lambda: array.__setitem__(slice(0, 9, 3), [1, 2, 3]),
            lambda: list(array), lambda: np.asarray(array), lambda: raw[1].x, lambda: setattr(raw[1], "y", 2),
            lambda: raw.__setitem__(2, (1, 2)), lambda: point.x, lambda: setattr(point, "y", 3),
            lambda: text.value, lambda: setattr(text, "value", b"text"), lambda: text.raw,
        ):  # fmt: skip
            requests.clear()
            operation()
            assert len(requests) == 1 or not known, requests
    requests.clear()
    assert (len(array), len(raw[3:5]), raw[4].x.__class__) == (1000, 2, float)
    assert requests == ["GETRANGE"]


def test_under_its_own_lock_an_operation_is_a_plain_request(requests: list[str]) -> None:
    value = lmp.Value("i", 5)
    with value.get_lock():
        requests.clear()
        value.value += 1
        assert requests == ["GETRANGE", "SET"]


def test_what_is_not_touched_is_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = lmp.RawArray("B", 1_000_000)
    found: list[Any] = []
    original = Session.run

    def run(self: Session, *command: Any) -> Any:
        found.append(original(self, *command))
        return found[-1]

    monkeypatch.setattr(Session, "run", run)
    raw[500_000]
    raw[7:11]
    raw[::100_000] = range(10)
    assert raw[::-100_000] == [0] * 10
    assert raw[::100_000] == list(range(10))
    sizes = [len(each) for each in found if isinstance(each, bytes)]
    assert sizes[:2] == [1, 4]
    assert max(sizes) <= 10


# ---------------------------------------------------------------- numpy


def test_numpy_reads_copies() -> None:
    array = lmp.Array("d", [1.5, 2.5])
    for each in (array, array.get_obj()):
        found = np.asarray(each)
        assert found.dtype == np.float64
        assert found.tolist() == [1.5, 2.5]
        found[0] = 9
        assert np.asarray(each, dtype=int).tolist() == [1, 2]
        with pytest.raises(ValueError, match="copy=False cannot be had"):
            each.__array__(copy=False)
    grid = lmp.RawArray(ctypes.c_int * 3, [(1, 2, 3), (4, 5, 6)])
    assert np.asarray(grid).tolist() == [[1, 2, 3], [4, 5, 6]]
    points = np.asarray(lmp.RawArray(functions.Point, [(1, 2)]))
    assert points["y"].tolist() == [2]
    assert np.asarray(lmp.RawArray("u", "ab")).tolist() == ["a", "b"]
    array[:] = np.arange(2) / 4
    assert array[:] == [0, 0.25]
    with pytest.raises((TypeError, NotImplementedError)):
        np.frombuffer(array.get_obj())


# ---------------------------------------------------------------- what cannot be had


class WithPointer(ctypes.Structure):
    _fields_ = [("number", ctypes.c_int), ("next", ctypes.POINTER(ctypes.c_int) * 2)]


@pytest.mark.parametrize(
    "kind",
    [
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_wchar_p, ctypes.py_object, ctypes.POINTER(ctypes.c_int),
        ctypes.CFUNCTYPE(None), WithPointer, WithPointer * 2,
    ],
)  # fmt: skip
def test_addresses_are_refused(kind: Any) -> None:
    one = kind()
    for make in (partial(lmp.Value, kind), partial(lmp.RawArray, kind, 2), partial(copy, one)):
        with pytest.raises(NotImplementedError, match=r"holds an address.*share what is there"):
            make()


def test_there_is_no_address() -> None:
    value = lmp.RawValue("i", 1)
    with pytest.raises((NotImplementedError, ctypes.ArgumentError), match="has no address here"):
        ctypes.pythonapi.Py_IsInitialized(value)
    for reach in (ctypes.addressof, ctypes.byref, ctypes.pointer, ctypes.sizeof):
        with pytest.raises(TypeError):
            reach(value)
    with pytest.raises(TypeError, match=r"is not in shared memory.*copy"):
        synchronized(ctypes.c_int(5))


# ---------------------------------------------------------------- when things go wrong


def test_what_has_expired_does_not_come_back() -> None:
    value, array = lmp.Value("i", 5), lmp.RawArray("i", 4)
    for memory in (value.get_obj()._memory, array._memory):
        current_session().run("DEL", *memory.keys)
    for use in (
        lambda: value.value, lambda: setattr(value, "value", 1), lambda: value.get_obj().value,
        lambda: setattr(value.get_obj(), "value", 1), lambda: array[:], lambda: array.__setitem__(1, 1),
        lambda: array.__setitem__(slice(0, 4, 3), [1, 1]), lambda: copy(array),
    ):  # fmt: skip
        with pytest.raises(SharedStateError, match="has lost a shared value or array of"):
            use()
    assert not current_session().run("EXISTS", *value.get_obj()._memory.keys, *array._memory.keys)


def test_memory_expires_only_when_nobody_has_it() -> None:
    array = lmp.RawArray("i", 20_000)
    (key,) = array._memory.keys
    view = array[1:2] and copy(array)
    array[:] = range(20_000)
    session = current_session()
    for each in (key, *view._memory.keys):
        assert 0 < session.run("PTTL", each) <= session.expiry_ms
    assert key in session.held_keys()
    del array
    gc.collect()
    assert key not in session.held_keys()


def test_bits_beside_each_other() -> None:
    """Each write of bits reads those beside them: under the lock, none is lost."""
    flags = lmp.Value(Flags)

    def write(name: str) -> None:
        for number in range(60):
            setattr(flags, name, number % 16)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("low", "high")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (flags.low, flags.high) == (11, 11)

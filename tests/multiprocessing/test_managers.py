"""`Manager` and `BaseManager`: what the documentation of the standard library's promises, of its and of ours."""

from __future__ import annotations

import copy
import importlib
import operator
import pickle
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import ProcessError
from multiprocessing.managers import RemoteError
from types import ModuleType
from typing import Any

import manager_functions as functions
import pytest


@pytest.fixture(scope="module")
def managers(mp: Any) -> ModuleType:
    package = "lithops.multiprocessing" if isinstance(mp, ModuleType) else "multiprocessing"
    return importlib.import_module(f"{package}.managers")


@pytest.fixture(scope="module")
def manager(mp: Any) -> Iterator[Any]:
    with mp.Manager() as made:
        yield made


def objects_in(manager: Any) -> int:
    return int(manager._number_of_objects())


# ---------------------------------------------------------------- its types


def test_lists(manager: Any) -> None:
    made = manager.list(range(5))
    made.append(5)
    made.extend([6])
    made[0] = "zero"
    del made[1]
    made += [7]
    assert str(made) == "['zero', 2, 3, 4, 5, 6, 7]"
    assert repr(made).startswith("<ListProxy object, typeid 'list' at 0x")
    assert (made[:2], len(made), 3 in made, made.index(4), made.pop(), made.count(3)) == (
        ["zero", 2], 7, True, 3, 7, 1,
    )  # fmt: skip
    made.remove("zero")
    made.reverse()
    made.insert(0, 1)
    made.sort()
    assert list(made) == copy.deepcopy(made) == made._getvalue() == [1, 2, 3, 4, 5, 6]
    assert made * 2 == [*made] * 2
    assert made.__add__([0]) == [1, 2, 3, 4, 5, 6, 0]


def test_dicts(manager: Any) -> None:
    made = manager.dict({"a": 1}, b=2)
    made["c"] = 3
    made.update(d=4)
    del made["a"]
    assert (made["b"], "a" in made, len(made), made.get("z", 0), made.setdefault("e", 5)) == (
        2,
        False,
        3,
        0,
        5,
    )
    assert (made.keys(), made.values()) == (["b", "c", "d", "e"], [2, 3, 4, 5])
    assert made.items() == list(made.copy().items())
    assert [*made] == ["b", "c", "d", "e"]
    assert (made.pop("b"), made.popitem()) == (2, ("e", 5))
    made.clear()
    assert str(made) == "{}"


def test_namespaces(manager: Any) -> None:
    made = manager.Namespace(x=10)
    made.y = "hello"
    made._z = 12.3  # an attribute of the proxy
    assert str(made) == "Namespace(x=10, y='hello')"
    del made.x
    with pytest.raises(AttributeError):
        made.x


def test_values_and_arrays(manager: Any) -> None:
    value, array = manager.Value("i", 1), manager.Array("i", [1, 2, 3])
    value.value += 1
    value.set(value.get() + 1)
    array[1] = 7
    assert (value.value, array[:].tolist(), len(array)) == (3, [1, 7, 3], 3)
    assert (str(value), str(array)) == ("Value('i', 3)", "array('i', [1, 7, 3])")
    with pytest.raises(TypeError):
        array[0] = "x"


def test_queues(manager: Any) -> None:
    made, joinable = manager.Queue(1), manager.JoinableQueue()
    made.put([1])
    assert (made.full(), made.qsize(), made.get(), made.empty()) == (True, 1, [1], True)
    with pytest.raises(queue.Empty):
        made.get(timeout=0.01)
    joinable.put(1)
    joinable.get()
    joinable.task_done()
    joinable.join()


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition"])
def test_locks(manager: Any, kind: str) -> None:
    """Each thread of each process is one to a lock."""
    made = getattr(manager, kind)()
    with made, ThreadPoolExecutor(1) as pool:
        assert pool.submit(made.acquire, False).result() is False
    assert made.acquire() is True
    made.release()
    if kind != "Semaphore":
        with pytest.raises((RuntimeError, ValueError)):
            made.release()


def test_waiting(manager: Any) -> None:
    event, condition, barrier = manager.Event(), manager.Condition(), manager.Barrier(2)
    ready = manager.list()

    def notify() -> None:
        event.wait()
        with condition:
            ready.append(1)
            condition.notify_all()
        barrier.wait()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(notify)
        assert event.wait(0.01) is False
        event.set()
        with condition:
            assert condition.wait_for(lambda: len(ready), 10) == 1
            assert condition.wait(0.01) is False
        barrier.wait()
        done.result()
    assert (event.is_set(), barrier.parties, barrier.n_waiting, barrier.broken) == (True, 2, 0, False)
    barrier.abort()
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    event.clear()
    assert not event.is_set()


def test_nesting(manager: Any) -> None:
    outer, inner = manager.list(), manager.dict()
    outer.append(inner)
    inner["hello"] = manager.list([1])
    outer[0]["hello"].append(2)
    assert inner["hello"][:] == [1, 2]
    outer[0]["hello"] = plain = [0]
    plain.append(9)
    assert outer[0]["hello"] == [0]


def test_pools(manager: Any) -> None:
    with manager.Pool(2) as pool:
        assert pool.apply(operator.mul, (6, 7)) == 42
        assert pool.map(operator.neg, range(3)) == [0, -1, -2]
        assert list(pool.imap(operator.neg, range(3))) == [0, -1, -2]
        assert pool.map_async(operator.neg, [1]).get(30) == [-1]


# ---------------------------------------------------------------- errors


def test_errors_are_raised_as_they_are(manager: Any) -> None:
    with pytest.raises(KeyError, match="nothing"):
        manager.dict()["nothing"]
    with pytest.raises(IndexError, match="list index out of range"):
        manager.list()[0]
    with pytest.raises(ZeroDivisionError), manager.Lock():
        raise ZeroDivisionError


def test_errors_of_the_manager_come_with_its_traceback(manager: Any) -> None:
    with pytest.raises(RemoteError) as caught:
        manager.list(5)
    assert "Traceback (most recent call last)" in str(caught.value)
    assert "TypeError: 'int' object is not iterable" in str(caught.value)
    with pytest.raises(RemoteError, match=r"method 'nothing' of .* object is not in exposed"):
        manager.list()._callmethod("nothing")


def test_what_cannot_be_pickled_on_the_way_back(managers: ModuleType) -> None:
    with Workshop(managers) as workshop, pytest.raises(RemoteError, match=r"Unserializable message"):
        workshop.Maths(1).lock()


# ---------------------------------------------------------------- types of one's own


class Maths:
    def __init__(self, start: int) -> None:
        self.start = start

    def add(self, number: int) -> int:
        return self.start + number

    def fail(self) -> None:
        raise ValueError("of its own")

    def generator(self) -> Iterator[int]:
        return iter(lambda: 1, 2)

    def lock(self) -> Any:
        return threading.Lock()

    def sum(self, numbers: Any) -> int:
        return sum(numbers)

    def _hidden(self) -> str:
        return "hidden"


def counting(to: int) -> Iterator[int]:
    yield from range(to)


class Workshop:
    """A manager of the module's, with types of its own."""

    def __init__(self, managers: ModuleType) -> None:
        class GeneratorProxy(managers.BaseProxy):  # type: ignore[misc,name-defined] # a module as a parameter
            _exposed_ = ("__next__",)

            def __iter__(self) -> Any:
                return self

            def __next__(self) -> Any:
                return self._callmethod("__next__")

        class Registered(managers.SyncManager):  # type: ignore[misc,name-defined] # as above
            pass

        Registered.register("Maths", Maths)
        Registered.register("Secrets", Maths, exposed=("add", "_hidden"))
        Registered.register("counting", counting, proxytype=GeneratorProxy)
        Registered.register("Counter", Maths, method_to_typeid={"generator": "Iterator"})
        Registered.register("unmade", create_method=False)
        # A forked server does not have to find the classes of a function.
        context = None if managers.__name__.startswith("lithops") else _fork()
        self.manager = Registered(ctx=context)

    def __enter__(self) -> Any:
        self.manager.start()
        return self.manager

    def __exit__(self, *_: object) -> None:
        self.manager.shutdown()


def _fork() -> Any:
    return importlib.import_module("multiprocessing").get_context("fork")


def test_registered_types(managers: ModuleType) -> None:
    with Workshop(managers) as workshop:
        maths = workshop.Maths(40)
        assert (maths.add(2), maths.sum([1, 2]), maths.sum(workshop.list([3, 4]))) == (42, 3, 7)
        with pytest.raises(ValueError, match="of its own"):
            maths.fail()
        assert not hasattr(maths, "_hidden")
        assert repr(maths).startswith("<AutoProxy[Maths] object, typeid 'Maths' at")
        secrets = workshop.Secrets(1)
        assert (secrets.add(1), secrets._hidden(), hasattr(secrets, "sum")) == (2, "hidden", False)
        assert list(workshop.counting(3)) == [0, 1, 2]
        assert next(workshop.Counter(0).generator()) == 1
        assert not hasattr(workshop, "unmade")


# ---------------------------------------------------------------- its life


def test_states(managers: ModuleType) -> None:
    made = managers.SyncManager()
    with pytest.raises(AssertionError, match="server not yet started"):
        made.list()
    with pytest.raises(TypeError, match="initializer must be a callable"):
        made.start(5)
    made.start()
    with pytest.raises(ProcessError, match="Already started server"):
        made.start()
    with pytest.raises(ProcessError, match="Already started server"):
        made.get_server()
    proxy = made.list()
    made.shutdown()
    made.shutdown()
    made.join()
    for use in (made.list, made.start, made.get_server, made.__enter__, lambda: proxy.append(1)):
        with pytest.raises((AssertionError, ProcessError, OSError, EOFError)):
            use()
    with managers.SyncManager() as entered:
        assert entered.list([1])[:] == [1]
    with pytest.raises(ProcessError, match="Manager has shut down"):
        entered.start()


def test_objects_go_with_their_last_proxy(mp: Any, eventually: Callable[..., None]) -> None:
    with mp.Manager() as made:
        first = made.list()
        assert objects_in(made) == 1
        second = pickle.loads(pickle.dumps(first))
        del first
        second.append(1)
        assert objects_in(made) == 1
        del second
        eventually(lambda: objects_in(made) == 0)
        outer = made.list([made.dict()])
        assert outer[0].keys() == []


def test_proxies_travel(mp: Any, manager: Any) -> None:
    numbers, words, inbox, lock = manager.list([1]), manager.dict(), manager.Queue(), manager.Lock()
    process = mp.Process(target=functions.put_all, args=(numbers, words, inbox, lock))
    process.start()
    assert inbox.get(timeout=60) == "done"
    process.join()
    assert numbers[:] == words["two"][:] == [1, 2]


def test_a_process_connects_by_address(mp: Any, managers: ModuleType) -> None:
    with managers.SyncManager(authkey=b"open sesame") as served:
        for key, expected in ((b"open sesame", [1]), (b"open sesam", "digest sent was rejected")):
            outbox = mp.SimpleQueue()
            process = mp.Process(
                target=functions.visit, args=(managers.__name__, served.address, key, outbox)
            )
            process.start()
            assert outbox.get() == expected
            process.join()

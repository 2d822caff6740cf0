"""How our managers and proxies talk, and how they end."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.managers import dispatch  # type: ignore[attr-defined] # it is in no stub
from typing import Any

import numpy as np
import pytest

import lithops.multiprocessing
from lithops.multiprocessing import exchange
from lithops.multiprocessing.current import current_session
from lithops.multiprocessing.managers import BaseManager, SharedMemoryManager, SyncManager
from lithops.shared import session as sessions

lmp: Any = lithops.multiprocessing
"""Seen from inside, where the standard library's types do not hold."""

Eventually = Callable[..., None]


@pytest.fixture(params=["direct", "remote"])
def manager(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A manager whose proxies talk as in its own process, or as in others."""
    with lmp.Manager() as made:
        if request.param == "remote":
            monkeypatch.delitem(exchange.listeners, made.address)
        yield made


def connections() -> list[bytes]:
    found: bytes = current_session().run("CLIENT", "LIST")
    return found.splitlines()


def manager_threads() -> list[threading.Thread]:
    """Those of managers, and those that serve proxies, whose names begin with their process's."""
    names = "lithops-manager", "SyncManager", "MainProcess", "Thread-", "BaseManager"
    return [each for each in threading.enumerate() if each.name.startswith(names)]


@pytest.fixture
def no_thread_is_left(eventually: Eventually) -> Iterator[None]:
    before = set(manager_threads())
    yield
    eventually(lambda: set(manager_threads()) <= before, "threads are left behind")


@pytest.fixture
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SLICE_S", 0.1)


# ---------------------------------------------------------------- talking


def test_both_ways_do_the_same(manager: Any) -> None:
    words = manager.dict(a=1)
    words["b"] = manager.list([2])
    words["b"].append(3)
    assert words["b"][:] == [2, 3]
    assert sorted(words) == ["a", "b"]
    with pytest.raises(KeyError, match="nothing"):
        words["nothing"]
    assert words.get("f", len) is len


def test_large_values(manager: Any) -> None:
    made = manager.dict()
    array = np.arange(1_000_000)
    made["array"], made["bytes"] = array, bytes(2_000_000)
    array[0] = 7
    found = made["array"]
    assert (found[0], int(found.sum()), len(made["bytes"])) == (0, 499999500000, 2_000_000)
    found[1] = 9
    assert made["array"][1] == 1


def test_many_threads(manager: Any) -> None:
    made, count = manager.list(), manager.Value("i", 0)
    lock = manager.RLock()

    def add(number: int) -> None:
        made.append(number)
        with lock:
            count.value += 1

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(add, range(100)))
    assert sorted(made) == list(range(100))
    assert count.value == 100


def test_a_manager_needs_few_connections() -> None:
    before = len(connections())
    with lmp.Manager() as made:
        proxy = made.list()
        address = made.address
        lines = [exchange.RemoteLine(address) for _ in range(50)]
        for line in lines:
            dispatch(line, None, "accept_connection", ("a process",))
        for line in lines:
            dispatch(line, proxy._id, "append", (1,))
        assert len(proxy) == 50
        assert len(connections()) <= before + 4
        for line in lines:
            line.close()


def test_nested_objects_go_with_what_they_are_in(manager: Any, eventually: Eventually) -> None:
    outer = manager.list([manager.list([manager.dict()])])
    assert manager._number_of_objects() == 3
    copied = manager.list(outer)
    del outer
    gc.collect()
    assert copied[0][0].keys() == []
    del copied
    eventually(lambda: manager._number_of_objects() == 0)


class Knot:
    """Only the garbage collector finds it."""

    def __init__(self, proxy: Any) -> None:
        self.proxy, self.me = proxy, self


def test_garbage_with_proxies_hangs_nobody(manager: Any, eventually: Eventually) -> None:
    """It is collected by any thread, those of the manager too, while they have its locks."""
    before = gc.get_threshold()
    gc.set_threshold(5, 1, 1)
    try:

        def tie(_: int) -> None:
            Knot(manager.list([Knot(manager.dict())]))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(tie, range(60)))
    finally:
        gc.set_threshold(*before)
    gc.collect()
    eventually(lambda: gc.collect() >= 0 and manager._number_of_objects() == 0)


def test_classes_of_a_script(run_program: Callable[..., Any]) -> None:
    result = run_program(
        """
import lithops.multiprocessing as mp
from lithops.multiprocessing.managers import SyncManager

class Thing:
    def __init__(self, n):
        self.n = n
    def double(self):
        return Thing(2 * self.n)
    def value(self):
        return self.n

class Things(SyncManager):
    pass

Things.register("Thing", Thing, method_to_typeid={"double": "Thing"})
Things.register("Made", create_method=False)

def work(things, thing):
    things["there"] = Thing(5)
    things["function"] = lambda: 7
    return things["here"].n + thing.value()

if __name__ == "__main__":
    manager = Things()
    manager.start()
    things = manager.dict(here=Thing(3))
    with mp.Pool(1) as pool:
        print(pool.apply(work, (things, manager.Thing(4))))
    print(type(things["there"]) is Thing, things["there"].n, things["function"]())
"""
    )
    assert result.stdout.splitlines() == ["7", "True 5 7"]
    assert result.stderr == ""


# ---------------------------------------------------------------- ending


def test_nothing_is_left_of_a_manager(no_thread_is_left: None) -> None:
    session = current_session()
    with lmp.Manager() as made:
        proxies = [made.list([1]), made.dict(), made.Queue()]
        line = exchange.RemoteLine(made.address)
        dispatch(line, None, "accept_connection", ("a process",))
        name = made.address.name
    with pytest.raises((OSError, EOFError)):
        proxies[0].append(1)
    with pytest.raises((OSError, EOFError)):
        dispatch(line, proxies[0]._id, "append", (1,))
    assert not session.run("EXISTS", session.key("manager", name))


def test_a_forgotten_manager_ends(no_thread_is_left: None) -> None:
    made = SyncManager()
    made.start()
    made.list()
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("ending", ["pass", "1 / 0", "sys.exit(3)", "waiting.get()"])
def test_a_program_ends_with_its_managers(start_program: Callable[..., Any], ending: str) -> None:
    program = start_program(
        f"""
import sys
import lithops.multiprocessing as mp

manager = mp.Manager()
things = [manager.list(), manager.dict(), manager.Pool, manager.Queue()]
waiting = things[3]
things[0].append(things[1])
print("ready", flush=True)
{ending}
"""
    )
    assert program.stdout.readline() == "ready\n"
    if "get" in ending:
        program.send_signal(signal.SIGINT)
    output, errors = program.communicate(timeout=20)
    assert program.returncode == {"pass": 0, "1 / 0": 1, "sys.exit(3)": 3}.get(ending, -signal.SIGINT), errors
    assert ("Traceback" in errors) == (ending in ("1 / 0", "waiting.get()"))
    assert output == ""


def test_a_process_that_dies_leaves_no_thread(short_slices: None, no_thread_is_left: None) -> None:
    with lmp.Manager() as made:
        before = set(manager_threads())
        line = exchange.RemoteLine(made.address)
        other = sessions.new_name()
        line._prefix = line._prefix[:32] + other.encode()
        dispatch(line, None, "accept_connection", ("MainProcess-gone",))
        (thread,) = set(manager_threads()) - before
        # Its presence has never been there: it is gone.
        thread.join(10)
        assert not thread.is_alive()
        line._state = "closed"


def use_and_die(numbers: Any) -> None:
    numbers.append(os.getpid())
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_disturbs_nobody() -> None:
    with lmp.Manager() as made:
        numbers = made.list()
        process = lmp.Process(target=use_and_die, args=(numbers,))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        numbers.append(1)
        assert len(numbers) == 2


def test_a_manager_that_dies_is_an_end(
    short_slices: None, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    with lmp.Manager() as made:
        inbox = made.Queue()
        monkeypatch.delitem(exchange.listeners, made.address)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(inbox.qsize).result()
            # Until now, the manager alone waits in the server.
            waiting = pool.submit(inbox.get)
            eventually(lambda: sum(b"flags=b" in each for each in connections()) > 1)
            session = current_session()
            # As it is when its process says nothing any more.
            session.run("SET", session.key("manager", made.address.name), sessions.new_name(), "KEEPTTL")
            with pytest.raises(EOFError):
                waiting.result(20)
        with pytest.raises(ConnectionRefusedError):
            made.list()
        made._process.join(0)


def serve(address: Any) -> None:
    queue = __import__("queue").Queue()
    BaseManager.register("get_queue", callable=lambda: queue)
    BaseManager(address=address, authkey=b"abracadabra").get_server().serve_forever()


def test_a_server_of_its_own(eventually: Eventually) -> None:
    """The documentation's remote manager: found by its port, by all processes of the program."""

    class QueueManager(BaseManager):
        pass

    QueueManager.register("get_queue")
    server = lmp.Process(target=serve, args=(("", 50000),))
    server.start()
    client = QueueManager(address=("somewhere.org", 50000), authkey=b"abracadabra")

    def connects() -> bool:
        try:
            client.connect()
        except ConnectionRefusedError:
            return False
        return True

    eventually(connects, within_s=30)
    queue = client.get_queue()
    queue.put("hello")
    assert client.get_queue().get() == "hello"
    with pytest.raises(OSError, match="in use"):
        BaseManager(address=("", 50000)).get_server()
    del queue
    dispatch(exchange.connect(client.address), None, "shutdown")
    server.join(30)
    assert server.exitcode == 0


# ---------------------------------------------------------------- what cannot be had


def test_what_is_refused() -> None:
    with pytest.raises(NotImplementedError, match=r"shared memory is of one machine.*RawArray"):
        SharedMemoryManager()
    with pytest.raises(NotImplementedError, match="serializer='xmlrpclib' is for servers with sockets"):
        SyncManager(serializer="xmlrpclib")


def test_where_objects_are() -> None:
    """In this process, in a thread, where an initializer runs too."""
    called: list[Any] = []
    made = SyncManager()
    made.start(called.append, (threading.get_ident(),))
    assert called == [threading.get_ident()]
    assert pickle.loads(pickle.dumps(made.address)) == made.address
    assert repr(made.address).startswith("<Address '")
    made.shutdown()
    assert not made._process.is_alive()
    assert SyncManager._registry["Pool"][0].__module__.startswith("lithops")
    assert sys.modules["multiprocessing.managers"].SyncManager._registry["Pool"][0].__module__ == (
        "multiprocessing.pool"
    )

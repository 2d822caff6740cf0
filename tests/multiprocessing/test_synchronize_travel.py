"""Locks and their relatives go wherever pickles go, and leave nothing in the server for ever."""

from __future__ import annotations

import copy
import gc
import pickle
from typing import Any

import cloudpickle
import pytest

import lithops.multiprocessing
from lithops import FunctionExecutor
from lithops.multiprocessing.current import current_session

mp: Any = lithops.multiprocessing
"""Seen from inside, where the standard library's types do not hold."""

MAKERS: dict[str, Any] = {
    "Lock": mp.Lock,
    "RLock": mp.RLock,
    "Semaphore": lambda: mp.Semaphore(2),
    "BoundedSemaphore": lambda: mp.BoundedSemaphore(2),
    "Condition": mp.Condition,
    "Event": mp.Event,
    "Barrier": lambda: mp.Barrier(2, None, 5),
}
every_kind = pytest.mark.parametrize("kind", MAKERS)


@every_kind
def test_a_pickle_leads_to_the_same_object(kind: str) -> None:
    made = MAKERS[kind]()
    text = pickle.dumps(made)
    assert pickle.loads(text) is made
    assert copy.deepcopy(made) is made
    key = made._key
    del made
    gc.collect()
    found = pickle.loads(text)
    assert type(found).__name__ == kind
    assert found._key == key


@every_kind
def test_rebuilding_makes_no_request(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = MAKERS[kind]()
    text = pickle.dumps(made)
    del made
    gc.collect()
    with monkeypatch.context() as patch:
        patch.setattr(current_session()._redis, "execute_command", None)
        pickle.loads(text)


@every_kind
def test_objects_travel_as_arguments_closures_and_results(fexec: FunctionExecutor, kind: str) -> None:
    made = MAKERS[kind]()

    def use(argument: Any) -> Any:
        return made._key, argument._key, argument, argument is made

    closed, argument, result, one = fexec.call_async(use, (made,)).result()
    assert closed == argument == made._key
    assert result is made
    assert one is True


def test_a_lock_that_a_function_makes_comes_back(fexec: FunctionExecutor) -> None:
    mp.Lock()  # the program has a server
    from lithops.multiprocessing import program

    def make() -> Any:
        lock = mp.Lock()
        lock.acquire()
        return lock

    env = program.call_options(fexec)["extra_env"]
    lock = fexec.call_async(make, (), extra_env=env).result()
    assert lock.acquire(False) is False
    assert repr(lock) == "<Lock(owner=SomeOtherProcess)>"
    lock.release()
    assert lock.acquire(False)


def test_one_recursive_lock_is_one_in_a_process_whatever_way_it_came(fexec: FunctionExecutor) -> None:
    lock = mp.RLock()

    def nest(other: Any) -> str:
        with lock, other:
            return repr(lock)

    assert fexec.call_async(nest, (lock,)).result().endswith(", 2)>")


def test_what_a_subclass_adds_is_there(fexec: FunctionExecutor) -> None:
    class Named(type(mp.Lock())):  # type: ignore[misc]
        def greet(self) -> str:
            with self:
                return "hello"

    made = Named()
    assert cloudpickle.loads(cloudpickle.dumps(made)).greet() == "hello"
    assert fexec.call_async(lambda: made.greet(), ()).result() == "hello"


@every_kind
def test_nothing_is_without_expiry(kind: str) -> None:
    made = MAKERS[kind]()
    session = current_session()
    for use in ("acquire", "set", "abort"):
        if hasattr(made, use):
            getattr(made, use)()
    if hasattr(made, "notify"):
        made.wait(0.01)
        made.notify()
    if hasattr(made, "release"):
        assert made.acquire(timeout=0.01) in (True, False)
        made.release()
    name = (made._lock if kind == "Condition" else made)._key
    keys = session.run("KEYS", f"{session.server.program}:*")
    assert name in [key.decode() for key in keys]
    assert all(session.run("PTTL", key) > 0 for key in keys)
    assert set(made.keys) <= set(session.held_keys())


def test_a_condition_needs_a_lock_of_this_project() -> None:
    import threading

    with pytest.raises(TypeError, match="Lock or an RLock of lithops"):
        mp.Condition(threading.Lock())


def test_two_scripts_guard_a_value() -> None:
    session = current_session()
    lock, key = mp.RLock(), session.key("number")
    add = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
    assert lock._guarded(add, [key], 2) == 2
    with lock:
        assert lock._guarded(add, [key], 3) == 5
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        with lock:
            later = pool.submit(lock._guarded, add, [key], 4)
            assert int(session.run("GET", key)) == 5
        assert later.result(30) == 9
    assert repr(lock) == "<RLock(None, 0)>"
    session.run("DEL", key)

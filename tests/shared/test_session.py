"""A process's way to the shared state: commands, waiting, who is there, and what expires."""

from __future__ import annotations

import gc
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from valkey_server import Valkey, running_valkey

from lithops.exceptions import SharedStateError
from lithops.multiprocessing.current import current_session
from lithops.shared import session as sessions
from lithops.shared.keeper import PRESENCE_S
from lithops.shared.server import PASSWORD_VARIABLE, VARIABLE, Server
from lithops.shared.session import Session, new_name, session_for

Eventually = Callable[..., None]


def server_at(valkey: Valkey, expiry_s: int = 60) -> Server:
    return Server(f"test:{new_name()}", expiry_s, host=valkey.host, port=valkey.port)


@pytest.fixture
def session(valkey: Valkey) -> Iterator[Session]:
    opened = Session(server_at(valkey), valkey.password)
    yield opened
    opened.close(remove=True)


class Thing:
    """A shared object of two keys."""

    def __init__(self, session: Session) -> None:
        key = session.key("thing")
        self.keys = [key, f"{key}:more"]
        for each in self.keys:
            session.run("SET", each, b"1", "PX", session.expiry_ms)
        session.keep(self)


# ---------------------------------------------------------------- commands


def test_commands_run(session: Session) -> None:
    key = session.key("list")
    assert session.run("RPUSH", key, b"a", "b") == 2
    assert session.run_all(("LLEN", key), ("LRANGE", key, 0, -1)) == [2, [b"a", b"b"]]
    assert session.script("return {KEYS[1], ARGV[1]}", [key], 7) == [key.encode(), b"7"]


def test_a_script_survives_a_server_that_has_forgotten_it(session: Session) -> None:
    assert session.script("return 11", []) == 11
    session.run("SCRIPT", "FLUSH")
    assert session.script("return 11", []) == 11


def test_threads_share_a_session(session: Session) -> None:
    key = session.key("number")
    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(lambda _: session.run("INCR", key), range(200))) == [*range(1, 201)]


def test_a_refused_command_is_an_error(session: Session) -> None:
    key = session.key("text")
    session.run("SET", key, b"text")
    with pytest.raises(SharedStateError, match="not an integer"):
        session.run("INCR", key)
    with pytest.raises(SharedStateError, match="not an integer"):
        session.run_all(("INCR", key))
    with pytest.raises(SharedStateError, match="not an integer"):
        session.script("return redis.call('INCR', KEYS[1])", [key])
    assert session.run("GET", key) == b"text"


# ---------------------------------------------------------------- waiting


def test_who_waits_gets_what_comes(session: Session) -> None:
    key = session.key("list")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(session.wait, key, 30)
        session.run("RPUSH", key, b"come")
        assert waiting.result(30) == b"come"


@pytest.mark.parametrize("timeout_s", [-1, 0, 0.0001, 0.05])
def test_waiting_ends_with_its_time(session: Session, timeout_s: float) -> None:
    key = session.key("list")
    assert session.wait(key, timeout_s) is None
    session.run("RPUSH", key, b"come")
    assert session.wait(key, timeout_s) == b"come"


def test_who_waits_looks_around(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SLICE_S", 0.01)
    key, looks = session.key("list"), threading.Semaphore(0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(session.wait, key, 30, looks.release)
        for _ in range(3):
            assert looks.acquire(timeout=30)
        session.run("RPUSH", key, b"come")
        assert waiting.result(30) == b"come"


def test_a_look_that_raises_ends_the_waiting(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SLICE_S", 0.01)

    def look() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        session.wait(session.key("list"), None, look)


# ---------------------------------------------------------------- who is there


def test_a_process_is_there_while_it_says_so(session: Session) -> None:
    assert not session.is_alive(session.me)
    thing = Thing(session)
    assert session.is_alive(session.me)
    assert 0 < session.run("PTTL", session.presence(session.me)) <= PRESENCE_S * 1000
    assert thing.keys


def test_a_process_that_is_buried_does_not_come_back(session: Session) -> None:
    session.appear()
    session.bury(session.me)
    assert not session.is_alive(session.me)
    session.appear()
    assert not session.is_alive(session.me)
    assert 0 < session.run("PTTL", session.grave(session.me)) <= session.expiry_ms


def test_a_process_that_ends_in_order_is_told_from_one_that_is_gone(session: Session) -> None:
    session.appear()
    session.leave()
    assert session.run("GET", session.presence(session.me)) == b"left"
    assert session.run("PTTL", session.presence(session.me)) > 15_000


def test_a_worker_is_one_process_after_the_other(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, valkey.password)
    session = session_for(server_at(valkey))
    before = session.me
    try:
        sessions.appear_as("first")
        assert session.me == "first"
        assert session.is_alive("first")
        sessions.leave()
        assert session.run("GET", session.presence("first")) == b"left"
        assert session.me not in ("first", before)
        sessions.appear_as("second")
        assert session.is_alive("second")
    finally:
        sessions._name[0] = before
        sessions.remove_session(session)
        session.close(remove=True)


# ---------------------------------------------------------------- what expires


def test_what_is_held_does_not_expire(session: Session) -> None:
    thing = Thing(session)
    assert thing.keys == session.held_keys()
    for key in thing.keys:
        session.run("PEXPIRE", key, 1000)
    session._keeper._extended_at = float("-inf")
    session._keeper.tend()
    assert all(session.run("PTTL", key) > 50_000 for key in thing.keys)


def test_what_nobody_holds_expires(session: Session) -> None:
    thing = Thing(session)
    keys = thing.keys
    del thing
    gc.collect()
    assert not set(keys) & set(session.held_keys())
    for key in keys:
        session.run("PEXPIRE", key, 20_000)
    session._keeper._extended_at = float("-inf")
    session._keeper.tend()
    assert all(session.run("PTTL", key) <= 20_000 for key in keys)


def test_a_session_that_ends_takes_its_keys_and_no_others(valkey: Valkey) -> None:
    mine, other = (Session(server_at(valkey), valkey.password) for _ in range(2))
    things = Thing(mine), Thing(other)
    mine.close(remove=True)
    assert other.run("KEYS", f"{mine.server.program}:*") == []
    assert other.run("EXISTS", *things[1].keys) == 2
    other.close(remove=True)


def test_the_thread_that_keeps_ends_with_the_session(valkey: Valkey, eventually: Eventually) -> None:
    before = threading.active_count()
    session = Session(server_at(valkey), valkey.password)
    thing = Thing(session)
    assert threading.active_count() == before + 1
    session.close(remove=True)
    eventually(lambda: threading.active_count() == before, "its thread is left behind")
    assert thing.keys


# ---------------------------------------------------------------- programs on a configured server

PROGRAM = """
import sys
import lithops.multiprocessing as mp
from lithops.multiprocessing import config
from lithops.multiprocessing.current import current_session

config.set_parameter(config.LITHOPS_CONFIG, {"lithops": {"backend": "localhost"}, "redis": REDIS})
lock = mp.Lock()
lock.acquire()
print(current_session().server.program, current_session().server.folder, flush=True)
sys.stdin.readline()
"""


def test_programs_on_one_server_do_not_meet(
    valkey: Valkey, session: Session, start_program: Callable[..., Any]
) -> None:
    source = PROGRAM.replace("REDIS", repr(valkey.settings))
    first, second = (start_program(source, stdin=-1) for _ in range(2))
    names = [each.stdout.readline().strip() for each in (first, second)]  # and no folder
    assert len(set(names)) == 2
    assert all(session.run("KEYS", f"{name}:*") for name in names)
    output, errors = first.communicate("\n", timeout=60)
    assert first.returncode == 0, errors
    assert session.run("KEYS", f"{names[0]}:*") == []
    assert session.run("KEYS", f"{names[1]}:*")
    assert valkey.password not in output + errors


def test_what_a_killed_program_leaves_expires(
    valkey: Valkey, session: Session, start_program: Callable[..., Any]
) -> None:
    one = start_program(PROGRAM.replace("REDIS", repr(valkey.settings)), stdin=-1)
    name = one.stdout.readline().strip()
    one.kill()
    one.wait()
    keys = session.run("KEYS", f"{name}:*")
    assert keys
    assert all(0 < session.run("PTTL", key) <= 300_000 for key in keys)
    session.run("DEL", *keys)


def test_a_function_finds_the_server_of_its_program(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    server = server_at(valkey)
    monkeypatch.setenv(VARIABLE, server.text())
    monkeypatch.setenv(PASSWORD_VARIABLE, valkey.password)
    found = current_session()
    assert found.server == server
    assert found is session_for(pickle.loads(pickle.dumps(server)))
    assert found.run("EXISTS", "nothing") == 0
    sessions.remove_session(found)
    found.close(remove=True)


# ---------------------------------------------------------------- servers that fail


def test_a_server_that_dies_is_spoken_of(tmp_path: Path) -> None:
    with running_valkey(tmp_path) as valkey, ThreadPoolExecutor(1) as pool:
        session = Session(server_at(valkey), valkey.password)
        started = threading.Event()

        def wait() -> object:
            started.set()
            return session.wait(session.key("list"), 60)

        waiting = pool.submit(wait)
        started.wait()
        with suppress(SharedStateError):  # it does not answer
            session.run("SHUTDOWN", "NOSAVE")
        with pytest.raises(SharedStateError, match=f"the Redis server {valkey.host}:{valkey.port}, where"):
            waiting.result(30)
        with pytest.raises(SharedStateError, match="check that it runs, and the section redis"):
            session.run("PING")
        session.close(remove=False)


@pytest.mark.parametrize("password", [None, "wrong"])
def test_a_wrong_password_is_spoken_of(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch, password: str | None
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    session = Session(server_at(valkey), password)
    with pytest.raises(SharedStateError, match=r"(?i)authenticat|NOAUTH|password"):
        session.run("PING")
    session.close(remove=False)


def test_a_user_who_may_only_read_is_refused(valkey: Valkey) -> None:
    name, password = valkey.read_only
    server = Server(f"test:{new_name()}", 60, host=valkey.host, port=valkey.port, username=name)
    session = Session(server, password)
    with pytest.raises(SharedStateError, match=r"no permissions|NOPERM"):
        session.run("SET", session.key("text"), 1)
    session.close(remove=False)


def test_the_password_comes_from_the_environment(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, valkey.password)
    session = session_for(server_at(valkey))
    assert session.run("EXISTS", "nothing") == 0
    assert valkey.password not in repr(session.server) + session.server.text() + str(session.server)
    sessions.remove_session(session)
    session.close(remove=True)


# From Python 3.12 on, forking with threads about is warned of; the child here does next to nothing.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(session: Session) -> None:
    key = session.key("list")
    session.run("RPUSH", key, b"parent")
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.write(writing, session.run("LINDEX", key, 0))
        finally:
            os._exit(0)
    os.close(writing)
    assert os.read(reading, 100) == b"parent"
    os.close(reading)
    os.waitpid(pid, 0)
    assert session.run("LLEN", key) == 1

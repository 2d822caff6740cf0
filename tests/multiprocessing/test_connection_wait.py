"""`connection.wait`: for ends of pipes, and for descriptors beside them."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing import connection as standard
from typing import Any

import pytest

import lithops.multiprocessing as mp
from lithops.multiprocessing import connection, program
from lithops.shared import session as sessions


@pytest.fixture
def wait(mp: Any) -> Callable[..., list[Any]]:
    return standard.wait if mp.__class__.__module__.startswith("multiprocessing") else connection.wait


def test_those_that_are_ready_are_given_in_order(mp: Any, wait: Callable[..., list[Any]]) -> None:
    pipes = [mp.Pipe(False) for _ in range(4)]
    readers = [reader for reader, _ in pipes]
    with ExitStack() as stack:
        for end in [end for pipe in pipes for end in pipe]:
            stack.enter_context(end)
        assert wait(readers, 0) == []
        pipes[2][1].send(1)
        pipes[0][1].send(2)
        assert wait(readers) == [readers[0], readers[2]]
        assert wait(iter(readers), 5) == [readers[0], readers[2]]
        assert readers[2].recv() == 1
        pipes[3][1].close()
        assert wait(readers) == [readers[0], readers[3]]


@pytest.mark.parametrize("timeout", [0.05, 0.3])
def test_it_waits_as_long_as_it_is_told(mp: Any, wait: Callable[..., list[Any]], timeout: float) -> None:
    with ExitStack() as stack:
        ends = [stack.enter_context(end) for end in mp.Pipe()]
        start = time.monotonic()
        assert wait(ends, timeout) == []
        assert timeout <= time.monotonic() - start + 0.002 < timeout + 1
    assert wait([], 0) == []


@pytest.mark.parametrize("beside", [False, True])
def test_it_wakes_when_something_comes_or_ends(mp: Any, wait: Callable[..., list[Any]], beside: bool) -> None:
    readable, writable = os.pipe()
    with ExitStack() as stack:
        first, second = (stack.enter_context(end) for end in mp.Pipe())
        for act in (lambda: second.send(1), second.close):
            timer = threading.Timer(0.05, act)
            timer.start()
            assert wait([first, readable] if beside else [first]) == [first]
            timer.join()
            if not second.closed:
                first.recv()
    os.close(readable)
    os.close(writable)


def test_descriptors_and_sockets_count_as_well(mp: Any, wait: Callable[..., list[Any]]) -> None:
    ours, theirs = socket.socketpair()
    readable, writable = os.pipe()
    with ExitStack() as stack:
        first, second = (stack.enter_context(end) for end in mp.Pipe())
        objects = [first, ours, readable]
        for act, ready in [
            (lambda: theirs.send(b"1"), [ours]),
            (lambda: os.write(writable, b"1"), [ours, readable]),
            (lambda: second.send(1), [first, ours, readable]),
        ]:
            timer = threading.Timer(0.05, act)
            timer.start()
            timer.join()
            assert wait(objects) == ready
    for each in (ours, theirs):
        each.close()
    for descriptor in (readable, writable):
        os.close(descriptor)


def test_it_leaves_nothing_behind() -> None:
    before = set(program.session().run("KEYS", "*"))
    threads = set(threading.enumerate())
    readable, writable = os.pipe()
    first, second = mp.Pipe()
    during = set(program.session().run("KEYS", "*"))
    for objects in ([first], [first, readable]):
        assert connection.wait(objects, 0.05) == []
        assert set(program.session().run("KEYS", "*")) == during
    for end in (first, second):
        end.close()
    assert set(program.session().run("KEYS", "*")) - before <= {
        program.session().presence(program.session().me).encode()
    }
    assert {thread for thread in threading.enumerate() if thread.name == "lithops-wait"} <= threads
    os.close(readable)
    os.close(writable)


def test_several_may_wait_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = mp.Pipe()
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.extend(connection.wait([first]))) for _ in range(3)]
    for thread in threads:
        thread.start()
    second.send(1)
    for thread in threads:
        thread.join(10)
    assert found == [first] * 3
    first.close()
    second.close()


def test_it_notices_a_process_that_died(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "SLICE_S", 0.05)
    ends: Any = mp.Pipe()
    first, second = ends
    session = program.session()
    session.script("redis.call('HDEL', KEYS[1], ARGV[1])", [second._state], f"1:{session.me}")
    session.script("redis.call('HSET', KEYS[1], '1:dead', 1)", [second._state])
    assert connection.wait([first], 10) == [first]
    with pytest.raises(EOFError):
        first.recv()
    first.close()
    second.close()


def test_an_end_that_cannot_be_read_is_refused() -> None:
    reader, writer = mp.Pipe(False)
    with pytest.raises(OSError, match="write-only"):
        connection.wait([writer])
    reader.close()
    with pytest.raises(OSError, match="handle is closed"):
        connection.wait([reader])
    writer.close()

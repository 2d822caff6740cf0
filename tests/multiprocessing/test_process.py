"""`Process`, as its documentation has it: each test but the last few runs over the standard library too."""

from __future__ import annotations

import ast
import gc
import multiprocessing
import os
import re
import signal
import time
import weakref
from collections.abc import Callable, Iterator
from multiprocessing import connection
from typing import Any

import process_functions as functions
import pytest


@pytest.fixture
def start(mp: Any) -> Iterator[Callable[..., Any]]:
    """Start a process, which is killed with the test."""
    started: list[Any] = []

    def start(target: Callable[..., object], *args: Any, **options: Any) -> Any:
        process = mp.Process(target=target, args=args, **options)
        started.append(process)
        process.start()
        return process

    yield start
    for process in started:
        if not process._closed:
            process.kill()
            process.join()
            process.close()


def test_a_process_runs_its_target_with_arguments_and_keywords(mp: Any, place: Any) -> None:
    path = place / "note"
    process = mp.Process(target=functions.note, args=(path, 1, [2]), kwargs={"three": 3})
    process.start()
    process.join()
    assert process.exitcode == 0
    assert ast.literal_eval(path.read_text()) == ((1, [2]), {"three": 3})


def test_without_a_target_nothing_happens(mp: Any) -> None:
    process = mp.Process()
    process.start()
    process.join()
    assert process.exitcode == 0


def test_group_has_to_be_none(mp: Any) -> None:
    with pytest.raises(AssertionError, match="group argument must be None for now"):
        mp.Process(group=1)


def test_before_the_start_there_is_nothing_to_know(mp: Any) -> None:
    process = mp.Process(target=functions.nothing)
    assert process.pid is None
    assert process.ident is None
    assert process.exitcode is None
    assert not process.is_alive()
    with pytest.raises(AssertionError, match="can only join a started process"):
        process.join()
    assert re.fullmatch(rf"<\w*Process name='.*' parent={os.getpid()} initial>", repr(process))
    with pytest.raises(ValueError, match="process not started"):
        getattr(process, "sentinel")  # noqa: B009 - the checker takes it for an end
    process.close()


def test_while_it_runs_and_after_its_end(mp: Any, start: Callable[..., Any], place: Any) -> None:
    path = place / "pid"
    process = start(functions.touch_and_sleep, path)
    pid = process.pid
    functions.wait_for(path)
    assert pid == process.ident
    assert process.is_alive()
    assert process.exitcode is None
    assert process in mp.active_children()
    assert re.fullmatch(rf"<\w*Process name='.*' pid={pid} parent={os.getpid()} started>", repr(process))
    assert connection.wait([process.sentinel], timeout=0) == []
    process.terminate()
    process.join()
    assert connection.wait([process.sentinel], timeout=0) == [process.sentinel]
    assert not process.is_alive()
    assert process.exitcode == -signal.SIGTERM
    assert process not in mp.active_children()  # type: ignore[unreachable] # it has ended meanwhile
    assert re.fullmatch(
        rf"<\w*Process name='.*' pid={pid} parent={os.getpid()} stopped exitcode=-SIGTERM>", repr(process)
    )
    process.join()
    process.terminate()
    process.kill()
    assert process.exitcode == -signal.SIGTERM


def test_join_gives_up_in_time(start: Callable[..., Any], place: Any) -> None:
    process = start(functions.touch_and_sleep, place / "pid")
    before = time.monotonic()
    process.join(0.05)
    process.join(timeout=0)
    process.join(-1)
    assert time.monotonic() - before < 10
    assert process.exitcode is None


def test_kill(start: Callable[..., Any], place: Any) -> None:
    process = start(functions.touch_and_sleep, place / "pid")
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_the_sentinel_tells_of_the_end(start: Callable[..., Any], place: Any) -> None:
    go = place / "go"
    slow = start(functions.touch_and_sleep, place / "pid")
    process = start(functions.write_late, place / "written", go)
    assert isinstance(process.sentinel, int)
    assert connection.wait([slow.sentinel, process.sentinel], timeout=0.05) == []
    go.touch()
    assert connection.wait([slow.sentinel, process.sentinel], timeout=30) == [process.sentinel]
    process.join()
    assert process.exitcode == 0


def test_close(start: Callable[..., Any], place: Any) -> None:
    process = start(functions.touch_and_sleep, place / "pid")
    with pytest.raises(ValueError, match="Cannot close a process while it is still running"):
        process.close()
    process.terminate()
    process.join()
    process.close()
    for use in (process.start, process.join, process.is_alive, process.terminate, process.kill):
        with pytest.raises(ValueError, match="process object is closed"):
            use()
    for name in ("exitcode", "pid", "ident", "sentinel"):
        with pytest.raises(ValueError, match="process object is closed"):
            getattr(process, name)
    assert repr(process).endswith("closed>")
    process.close()


def test_names(mp: Any) -> None:
    first, second = mp.Process(), mp.Process()
    numbers = [int(re.fullmatch(r"\w*Process-(\d+)", each.name)[1]) for each in (first, second)]  # type: ignore[index]
    assert numbers[1] == numbers[0] + 1
    assert mp.Process(name="Ada").name == "Ada"
    first.name = "Grace"
    assert first.name == "Grace"
    with pytest.raises(AssertionError, match="name must be a string"):
        first.name = 1


def test_start_twice(start: Callable[..., Any]) -> None:
    process = start(functions.nothing)
    with pytest.raises(AssertionError, match="cannot start a process twice"):
        process.start()
    process.join()
    with pytest.raises(AssertionError, match="cannot start a process twice"):
        process.start()


def test_daemon_is_set_before_the_start(mp: Any, start: Callable[..., Any]) -> None:
    assert mp.Process().daemon is False
    assert mp.Process(daemon=True).daemon is True
    process = start(functions.nothing, daemon=True)
    with pytest.raises(AssertionError, match="process has already started"):
        process.daemon = False
    process.join()
    assert repr(process).endswith("stopped exitcode=0 daemon>")


def test_active_children_joins_those_that_have_ended(
    mp: Any, start: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    process = start(functions.nothing)
    eventually(lambda: process not in mp.active_children(), within_s=30)
    assert process.exitcode == 0


def test_who_a_process_is(mp: Any, start: Callable[..., Any], place: Any) -> None:
    process = start(functions.describe, place / "me", name="Ada", daemon=True)
    process.join()
    assert process.exitcode == 0
    me = ast.literal_eval((place / "me").read_text())
    assert {name: me[name] for name in me if name not in ("number", "authkey")} == {
        "name": "Ada",
        "pid": True,
        "daemon": True,
        "alive": True,
        "exitcode": None,
        "children": [],
        "parent": ("MainProcess", os.getpid(), os.getpid(), True),
        "state": "started",
    }


@pytest.mark.local_only("pids")
def test_the_pid_is_known_to_both(start: Callable[..., Any], place: Any) -> None:
    process = start(functions.describe, place / "me")
    process.join()
    assert ast.literal_eval((place / "me").read_text())["number"] == process.pid


def test_the_main_process(mp: Any) -> None:
    assert mp.parent_process() is None
    me = mp.current_process()
    assert me.name == "MainProcess"
    assert me.pid == me.ident == os.getpid()
    assert me.is_alive()
    assert not me.daemon
    assert me is multiprocessing.current_process()


@pytest.mark.local_only("keys")
def test_the_key_is_the_parents_and_can_be_set(mp: Any, start: Callable[..., Any], place: Any) -> None:
    start(functions.describe, place / "me").join()
    key = mp.current_process().authkey
    assert ast.literal_eval((place / "me").read_text())["authkey"] == bytes(key)
    process = mp.Process(target=functions.describe, args=(place / "me",))
    assert process.authkey == key
    process.authkey = b"secret"
    process.start()
    process.join()
    assert ast.literal_eval((place / "me").read_text())["authkey"] == b"secret"
    process.close()


@pytest.mark.local_only("children")
def test_nested_processes(mp: Any, start: Callable[..., Any], place: Any) -> None:
    path = place / "grandchild"
    process = start(functions.start_another, mp.Process, path)
    process.join()
    assert process.exitcode == 0
    grandchild = ast.literal_eval(path.read_text())
    assert grandchild["name"].endswith(f"{process.name.rpartition('-')[2]}:1")
    assert grandchild["parent"] == (process.name, process.pid, process.pid, True)
    assert grandchild["number"] != process.pid


@pytest.mark.local_only("children")
def test_daemons_have_no_children(mp: Any, start: Callable[..., Any], place: Any) -> None:
    path = place / "error"
    start(functions.try_to_start, mp.Process, path, daemon=True).join()
    assert path.read_text() == "daemonic processes are not allowed to have children"


@pytest.mark.local_only("children")
def test_a_process_waits_for_its_children(mp: Any, start: Callable[..., Any], place: Any) -> None:
    _assert_waits(start(functions.start_and_forget, mp.Process, place / "late", place / "go"), place)


def test_a_process_waits_for_its_threads(start: Callable[..., Any], place: Any) -> None:
    _assert_waits(start(functions.leave_a_thread, place / "late", place / "go"), place)


def _assert_waits(process: Any, place: Any) -> None:
    """Until something is written late, after it may be."""
    process.join(0.3)
    assert process.is_alive()
    (place / "go").touch()
    process.join()
    assert (place / "late").exists()


@pytest.mark.local_only("children")
def test_a_process_stops_its_daemons(
    mp: Any, start: Callable[..., Any], place: Any, eventually: Callable[..., None]
) -> None:
    process = start(functions.start_daemon_and_forget, mp.Process, place / "pid")
    process.join(30)
    assert process.exitcode == 0
    pid = int((place / "pid").read_text())
    eventually(lambda: not os.path.exists(f"/proc/{pid}"))


def test_nobody_joins_itself(start: Callable[..., Any], place: Any) -> None:
    path = place / "error"
    start(functions.join_self, path).join()
    assert path.read_text() == "can only join a child process"


def test_what_cannot_be_pickled_is_an_error_at_the_start(mp: Any, place: Any) -> None:
    path = place / "note"
    process = mp.Process(target=functions.note, args=(path, functions.Locked()))
    with pytest.raises(TypeError, match="lock"):
        process.start()
    assert process.pid is None
    assert not process.is_alive()
    assert process not in mp.active_children()
    process.close()


def test_what_pickling_raises_is_the_error(mp: Any) -> None:
    with pytest.raises(RuntimeError, match="no pickle of this"):
        mp.Process(target=functions.note, args=(functions.Unpicklable(),)).start()


def test_processes_may_wait_for_each_other(start: Callable[..., Any], place: Any) -> None:
    processes = [start(functions.meet, place, number, 4) for number in range(4)]
    for process in processes:
        process.join()
        assert process.exitcode == 0


def test_a_process_lets_go_of_its_arguments(start: Callable[..., Any], place: Any) -> None:
    value = functions.Payload()
    alive = weakref.ref(value)
    process = start(functions.note, place / "note", value)
    del value
    process.join()
    gc.collect()
    assert alive() is None

"""A worker's death, however it comes about, costs the call that ran in it and nothing else."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gates import Gate, arrive, pass_gate

from lithops import FunctionExecutor
from lithops.exceptions import CallTimeout, WorkerLost

Eventually = Callable[..., None]
Workers = Callable[..., set[int]]


def keep(x: Any) -> Any:
    return x


@pytest.fixture(autouse=True)
def all_others_are_well(fexec: FunctionExecutor) -> Iterator[None]:
    """Calls before, beside and after the one that dies give their results."""
    beside = fexec.map(keep, range(100))
    yield
    assert beside.get_result(timeout=20) == list(range(100))
    assert fexec.map(keep, range(10)).get_result(timeout=20) == list(range(10))


def loss(fexec: FunctionExecutor, function: Callable[..., Any], data: Any = (), **options: Any) -> str:
    with pytest.raises(WorkerLost) as caught:
        fexec.call_async(function, data, **options).result(timeout=20)
    return str(caught.value)


# ---------------------------------------------------------------- ends


def test_the_process_ends_itself(fexec: FunctionExecutor) -> None:
    assert loss(fexec, os._exit, 3) == (
        "the worker ended by itself with exit code 3: something in the call ended the process"
    )


def test_its_last_output_is_in_the_error(fexec: FunctionExecutor) -> None:
    def say_and_die() -> None:
        print("about to die")
        os._exit(0)

    message = loss(fexec, say_and_die)
    assert message.endswith(
        "with exit code 0: something in the call ended the process; its last output was:\nabout to die"
    )


def test_it_kills_itself(fexec: FunctionExecutor) -> None:
    def kill() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    assert (
        loss(fexec, kill)
        == "the worker was killed by SIGKILL (by another process, or by a limit of this machine)"
    )


def test_it_is_killed_from_outside(fexec: FunctionExecutor, tmp_path: Path, eventually: Eventually) -> None:
    gate = Gate(tmp_path)
    one, neighbour = fexec.map(pass_gate, [(gate.path, "one"), (gate.path, "neighbour")])
    eventually(lambda: gate.arrived("one") and gate.arrived("neighbour"))
    os.kill(gate.pid("one"), signal.SIGTERM)
    with pytest.raises(WorkerLost, match=r"^the worker was killed by SIGTERM$"):
        one.result(timeout=20)
    assert not neighbour.done
    gate.open()
    assert neighbour.result(timeout=20) == "neighbour"


def test_an_idle_worker_is_killed(workers: Workers, eventually: Eventually) -> None:
    before = workers()
    with FunctionExecutor(log_level=None, worker_processes=1) as fexec:
        assert fexec.map(keep, [1]).get_result() == [1]
        (worker,) = workers() - before
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: worker not in workers())
        assert fexec.map(keep, [2, 3]).get_result(timeout=20) == [2, 3]


def test_a_crash_in_compiled_code_says_where(fexec: FunctionExecutor) -> None:
    def crash() -> None:
        ctypes.string_at(0)

    message = loss(fexec, crash)
    assert message.startswith(
        "the worker was killed by SIGSEGV (a crash in compiled code, or very deep recursion)"
    )
    assert "Fatal Python error: Segmentation fault" in message
    assert re.search(r'File ".*test_localhost_crashes.py", line \d+ in crash', message)


def test_each_of_many_crashes_is_one_call_s(fexec: FunctionExecutor) -> None:
    def die_on_odd(x: int) -> int:
        if x % 2:
            os._exit(x)
        return x

    futures = fexec.map(die_on_odd, range(20))
    fexec.wait(futures, throw_except=False, timeout=60)
    for x, future in enumerate(futures):
        error = future.exception()
        if x % 2:
            assert isinstance(error, WorkerLost)
            assert f"exit code {x}:" in str(error)
        else:
            assert (error, future.result()) == (None, x)


# ---------------------------------------------------------------- descriptors, processes and threads


@pytest.mark.parametrize(("first", "last"), [(3, 200), (0, 3), (0, 200)])
def test_it_closes_its_own_descriptors(fexec: FunctionExecutor, first: int, last: int) -> None:
    def close() -> None:
        os.closerange(first, last)

    # A busy machine may take longer to end it than anybody waits.
    ends = (
        "the worker ended by itself with exit code ",
        "the worker closed its pipe but does not end; it was killed",
    )
    assert loss(fexec, close).startswith(ends)


def test_a_child_that_outlives_the_call(fexec: FunctionExecutor, eventually: Eventually) -> None:
    """A process that a call leaves behind goes on, keeps nobody waiting, and ends with the executor."""

    def leave(x: int) -> int:
        return subprocess.Popen(["sleep", "60"]).pid

    with FunctionExecutor(log_level=None, worker_processes=1) as other:
        child = other.call_async(leave, 1).result(timeout=20)
        assert other.call_async(keep, 2).result(timeout=20) == 2
        os.kill(child, 0)
    eventually(lambda: not is_alive(child))


def test_a_fork_inside_a_call(fexec: FunctionExecutor) -> None:
    def fork(x: int) -> tuple[str, int]:
        child = os.fork()
        if not child:
            os._exit(x)
        return "parent", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert fexec.map(fork, [5, 6]).get_result(timeout=20) == [("parent", 5), ("parent", 6)]


@pytest.mark.parametrize(("ending", "code"), [("return", 0), ("exit", 7), ("raise", 1)])
def test_a_forked_child_that_comes_back_is_not_the_worker(
    fexec: FunctionExecutor, ending: str, code: int
) -> None:
    def fork(ending: str) -> tuple[str, int]:
        child = os.fork()
        if child:
            return "parent", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if ending == "exit":
            sys.exit(7)
        if ending == "raise":
            raise ValueError("in the child")
        return "child", -1

    future = fexec.call_async(fork, ending)
    assert future.result(timeout=20) == ("parent", code)
    assert ("ValueError: in the child" in future.logs) == (ending == "raise")


def test_a_worker_s_end_is_seen_while_its_child_lives(fexec: FunctionExecutor) -> None:
    def fork_and_die() -> None:
        if not os.fork():
            time.sleep(60)
            os._exit(0)
        os._exit(9)

    assert "exit code 9" in loss(fexec, fork_and_die)


def test_threads_that_go_on(tmp_path: Path, eventually: Eventually, workers: Workers) -> None:
    """A thread that a call leaves running, and that never ends, does not keep the worker alive."""

    def start(path: str) -> None:
        def work() -> None:
            while True:
                Path(path).touch()
                time.sleep(0.01)

        threading.Thread(target=work).start()

    before = workers()
    with FunctionExecutor(log_level=None, worker_processes=1) as fexec:
        fexec.call_async(start, str(tmp_path / "trace")).result(timeout=20)
        eventually((tmp_path / "trace").exists)
        assert fexec.call_async(keep, 1).result(timeout=20) == 1
    assert workers() <= before


# ---------------------------------------------------------------- what a call leaves changed


def test_streams_are_put_back(fexec: FunctionExecutor) -> None:
    def spoil(how: str) -> None:
        print("before")
        if how == "close":
            sys.stdout.close()
            sys.stderr.close()
        elif how == "replace":
            sys.stdout = sys.stderr = None
        else:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115

    def speak() -> None:
        print("heard again")

    for how in ("close", "replace", "redirect"):
        spoiled = fexec.call_async(spoil, how)
        spoiled.result(timeout=20)
        assert spoiled.logs == "before\n"
        for future in [fexec.call_async(speak, ()) for _ in range(4)]:
            future.result(timeout=20)
            assert future.logs == "heard again\n"


def test_a_folder_and_an_environment_that_are_gone(fexec: FunctionExecutor) -> None:
    """The working folder has been removed, and the environment emptied: later calls run all the same."""

    def spoil() -> None:
        folder = tempfile.mkdtemp()
        os.chdir(folder)
        os.rmdir(folder)
        os.environ.clear()

    with FunctionExecutor(log_level=None, worker_processes=1) as other:
        other.call_async(spoil, ()).result(timeout=20)
        assert other.map(lambda x: x + 1, [1, 2]).get_result(timeout=20) == [2, 3]
        assert other.call_async(len, b"x" * (3 << 20)).result(timeout=20) == 3 << 20
        large = other.call_async(lambda: "x" * (9 << 20), ()).result(timeout=20)
        assert len(large) == 9 << 20


# ---------------------------------------------------------------- time is up


def test_a_call_past_its_timeout_dies_alone(
    fexec: FunctionExecutor, tmp_path: Path, eventually: Eventually
) -> None:
    gate = Gate(tmp_path)
    neighbour = fexec.call_async(pass_gate, (gate.path, "neighbour"))
    eventually(lambda: gate.arrived("neighbour"))
    late = fexec.call_async(time.sleep, 60, timeout=0.2)
    with pytest.raises(CallTimeout) as caught:
        late.result(timeout=20)
    assert str(caught.value) == (
        "the call ran longer than its timeout of 0.2 s and was stopped; give it more with timeout="
    )
    assert isinstance(caught.value, TimeoutError)
    assert not neighbour.done
    gate.open()
    assert neighbour.result(timeout=20) == "neighbour"


def test_each_call_of_a_task_has_its_own_time(fexec: FunctionExecutor) -> None:
    futures = fexec.map(time.sleep, [0.3] * 4 + [60.0, 0.0], chunksize=6, timeout=1)
    fexec.wait(futures, throw_except=False, timeout=30)
    assert [type(future.exception()) for future in futures] == [type(None)] * 4 + [CallTimeout, type(None)]


def test_a_call_that_holds_the_interpreter(fexec: FunctionExecutor) -> None:
    """No thread of the worker's own could stop it."""
    with pytest.raises(CallTimeout):
        fexec.call_async(re.match, ("(a+)+$", "a" * 40 + "b"), timeout=0.2).result(timeout=20)


def test_a_worker_that_is_stopped(fexec: FunctionExecutor, tmp_path: Path, eventually: Eventually) -> None:
    gate = Gate(tmp_path)

    def stop(gate: str) -> None:
        arrive(gate)
        os.kill(os.getpid(), signal.SIGSTOP)

    with pytest.raises(CallTimeout):
        fexec.call_async(stop, gate.path, timeout=1).result(timeout=20)
    eventually(lambda: not is_alive(gate.pid()))


def test_a_timeout_ends_what_the_call_has_started(
    fexec: FunctionExecutor, tmp_path: Path, eventually: Eventually
) -> None:
    def start(path: str) -> None:
        child = subprocess.Popen(["sleep", "60"])
        Path(path).write_text(str(child.pid))
        child.wait()

    pid = tmp_path / "pid"
    with pytest.raises(CallTimeout):
        fexec.call_async(start, str(pid), timeout=1).result(timeout=20)
    eventually(lambda: not is_alive(int(pid.read_text())))


def is_alive(pid: int) -> bool:
    """Whether a process runs: one that nobody has asked for its exit code does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False

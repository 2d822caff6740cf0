"""Ctrl-C, kill -9, forks and programs that just end: nothing waits for ever, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lithops import FunctionExecutor

StartProgram = Callable[..., "subprocess.Popen[str]"]
RunProgram = Callable[..., "subprocess.CompletedProcess[str]"]
Eventually = Callable[..., None]

HEAD = """
import os, signal, sys, threading, time
import lithops

def work(path):
    # Says which process it is, and goes on until somebody ends it.
    with open(path + ".partial", "w") as file:
        file.write(str(os.getpid()))
    os.rename(path + ".partial", path)
    time.sleep(60)

def keep(x):
    return x

def started(count=2):
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if all(os.path.exists(f"worker{number}") for number in range(count)):
            return
        time.sleep(0.005)
    sys.exit("the calls do not start")

paths = [os.path.abspath(f"worker{number}") for number in range(2)]
"""


def pids_of_calls(folder: Path, eventually: Eventually) -> list[int]:
    """The processes of the two calls, once both run."""
    files = [folder / f"worker{number}" for number in range(2)]
    eventually(lambda: all(file.exists() for file in files), "the calls do not start", within_s=20)
    return [int(file.read_text()) for file in files]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


# ---------------------------------------------------------------- Ctrl-C

WAITS = {
    "get_result": "fexec.get_result(futures)",
    "wait": "fexec.wait(futures)",
    "lithops.wait": "lithops.wait(futures)",
    "any completed": "fexec.wait(futures, return_when=lithops.wait.ANY_COMPLETED)",
    "list": "futures.get_result()",
    "chained": "futures.map(keep).get_result()",
    "with": "fexec.__exit__(None, None, None) if fexec.get_result(futures) else None",
}


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_the_wait_and_all_calls(
    start_program: StartProgram, tmp_path: Path, eventually: Eventually, wait: str
) -> None:
    """Within two seconds; no worker is left, and the executor can be used again at once."""
    program = start_program(
        HEAD
        + f"""
fexec = lithops.FunctionExecutor(log_level=None, worker_processes=2)
futures = fexec.map(work, paths + [paths[0]] * 20)
try:
    {WAITS[wait]}
except KeyboardInterrupt:
    print("interrupted", all(future.cancelled() for future in futures), flush=True)
    sys.stdin.readline()
    print(fexec.map(keep, [1, 2]).get_result(timeout=20), flush=True)
    fexec.close()
""",
        stdin=subprocess.PIPE,
    )
    pids = pids_of_calls(tmp_path, eventually)
    assert all(is_alive(pid) for pid in pids)
    program.send_signal(signal.SIGINT)
    sent = time.monotonic()
    assert program.stdout is not None
    assert program.stdout.readline() == "interrupted True\n"
    assert time.monotonic() - sent < 2
    assert not any(is_alive(pid) for pid in pids)
    output, errors = program.communicate("go on\n", timeout=20)
    assert (output, errors, program.returncode) == ("[1, 2]\n", "", 0)


def test_ctrl_c_at_a_terminal_does_not_reach_the_workers(
    start_program: StartProgram, tmp_path: Path, eventually: Eventually
) -> None:
    """A terminal signals the whole group. A program that catches it and goes on loses no call."""
    program = start_program(
        HEAD
        + """
signal.signal(signal.SIGINT, lambda *_: print("caught", flush=True))
with lithops.FunctionExecutor(log_level=None, worker_processes=2) as fexec:
    futures = fexec.map(work, paths)
    started()
    print("running", flush=True)
    sys.stdin.readline()
    print(any(future.done for future in futures), flush=True)
""",
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "running\n"
    pids = pids_of_calls(tmp_path, eventually)
    os.killpg(program.pid, signal.SIGINT)
    assert program.stdout.readline() == "caught\n"
    assert all(is_alive(pid) for pid in pids)
    output, errors = program.communicate("\n", timeout=20)
    assert (output, errors, program.returncode) == ("False\n", "", 0)
    assert not any(is_alive(pid) for pid in pids)


# ---------------------------------------------------------------- programs that end


def test_workers_end_with_a_program_that_is_killed(
    start_program: StartProgram, tmp_path: Path, eventually: Eventually
) -> None:
    program = start_program(
        HEAD
        + """
fexec = lithops.FunctionExecutor(log_level=None, worker_processes=2)
fexec.map(work, paths).get_result()
"""
    )
    pids = pids_of_calls(tmp_path, eventually)
    program.kill()
    eventually(lambda: not any(is_alive(pid) for pid in pids), "workers live on", within_s=2)


ENDINGS = {
    "at its end": ("pass", 0, ""),
    "by sys.exit": ("sys.exit(3)", 3, ""),
    "by an error": ("raise ValueError('of the program')", 1, "ValueError: of the program"),
    "while a thread waits": (
        "threading.Thread(target=fexec.get_result, args=(futures, False), daemon=True).start()",
        0,
        "",
    ),
    "by Ctrl-C": ("os.kill(os.getpid(), signal.SIGINT); time.sleep(20)", -signal.SIGINT, "KeyboardInterrupt"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_that_ends_without_closing(
    run_program: RunProgram, tmp_path: Path, eventually: Eventually, ending: str
) -> None:
    """It ends at once, its workers with it, and its data is removed."""
    statement, code, words = ENDINGS[ending]
    program = run_program(
        HEAD
        + f"""
config = {{"localhost": {{"worker_processes": 2, "root": os.path.abspath("storage")}}}}
fexec = lithops.FunctionExecutor(config=config, log_level=None)
large = fexec.call_async(lambda: "x" * 9_000_000, ())
large.result()
assert fexec.storage.list_keys(fexec.storage.bucket, "lithops.jobs/")
futures = fexec.map(work, paths)
started()
print(time.time(), flush=True)
{statement}
""",
        check=False,
    )
    assert time.time() - float(program.stdout) < 3
    assert program.returncode == code
    assert words in program.stderr
    assert bool(program.stderr) == bool(words)
    pids = pids_of_calls(tmp_path, eventually)
    assert not any(is_alive(pid) for pid in pids)
    assert not [path for path in (tmp_path / "storage").rglob("*") if path.is_file()]


# ---------------------------------------------------------------- forks of the user's own


def test_a_fork_leaves_the_parent_s_workers_alone(run_program: RunProgram) -> None:
    """In the child the executor says what to do; its end, in order or not, ends nothing of the parent's."""
    program = (
        HEAD
        + """
fexec = lithops.FunctionExecutor(log_level=None, worker_processes=2)
futures = fexec.map(work, paths)
started()

def refuse(use):
    try:
        use()
    except lithops.exceptions.InvalidCall as error:
        assert str(error) == (
            "this executor was made before the process forked, and its monitor stayed behind: "
            "make an executor in the child process"
        ), error
    else:
        raise AssertionError("it was not refused")

for ending in ("sys.exit", "os._exit"):
    sys.stdout.flush()
    child = os.fork()
    if not child:
        for use in (
            lambda: fexec.map(keep, [1]),
            lambda: fexec.call_async(keep, 1),
            lambda: fexec.map_reduce(keep, [1], sum),
            lambda: fexec.get_result(futures),
            lambda: fexec.wait(futures),
            lambda: list(fexec.as_completed(futures)),
            lambda: futures[0].result(),
            lambda: futures[0].exception(),
        ):
            refuse(use)
        fexec.close()
        if ending == "sys.exit":
            with lithops.FunctionExecutor(log_level=None, worker_processes=1) as own:
                assert own.map(keep, [3, 4]).get_result(timeout=20) == [3, 4]
            sys.exit(0)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, ending
for number in range(2):
    os.kill(int(open(f"worker{number}").read()), 0)
assert not any(future.done for future in futures)
fexec.cancel(futures)
assert fexec.map(keep, [1, 2]).get_result(timeout=20) == [1, 2]
fexec.close()
print("well")
"""
    )
    assert run_program(program).stdout == "well\n"


def test_a_with_block_that_fails_leaves_nothing(workers: Callable[..., set[int]]) -> None:
    before = workers()

    def use() -> None:
        with FunctionExecutor(log_level=None, worker_processes=1) as fexec:
            fexec.map(time.sleep, [60] * 3)
            raise ValueError("of the user's own")

    with pytest.raises(ValueError, match="of the user's own"):
        use()
    assert workers() <= before

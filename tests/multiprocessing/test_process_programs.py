"""Whole programs with processes: classes of scripts, ends without a join, Ctrl-C, kills, forks."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RunProgram = Callable[..., Any]
StartProgram = Callable[..., Any]

_SLEEPERS = """
import os, sys, time
import lithops.multiprocessing as mp

def sleep(number):
    with open(f"pid-{number}", "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)

if __name__ == "__main__":
    processes = [mp.Process(target=sleep, args=(number,), daemon=DAEMON) for number in range(2)]
    for process in processes:
        process.start()
    while not all(os.path.exists(f"pid-{number}") for number in range(2)):
        time.sleep(0.01)
    print("ready", flush=True)
"""


def _ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _pids(folder: Path) -> list[int]:
    return [int((folder / f"pid-{number}").read_text()) for number in range(2)]


@pytest.mark.parametrize("module", ["multiprocessing", "lithops.multiprocessing"])
def test_a_class_of_a_script(run_program: RunProgram, module: str) -> None:
    program = run_program(
        f"""
import sys
import {module} as mp

class Worker(mp.Process):
    def __init__(self, word, **options):
        super().__init__(**options)
        self.word = word

    def run(self):
        print(self.word, self.name, self.daemon, sys.argv[1:], mp.parent_process().name, flush=True)
        sys.exit(5)

if __name__ == "__main__":
    mp.set_start_method("spawn")
    worker = Worker("hello", name="Ada", daemon=True)
    worker.start()
    worker.join()
    print(worker.exitcode, worker.word, worker)
""",
        "argument",
    )
    lines = program.stdout.splitlines()
    assert lines[0] == "hello Ada True ['argument'] MainProcess"
    assert lines[1].startswith("5 hello <Worker name='Ada' pid=")


@pytest.mark.parametrize("module", ["multiprocessing", "lithops.multiprocessing"])
def test_the_loggers_level_goes_along(run_program: RunProgram, module: str) -> None:
    program = run_program(
        f"""
import {module} as mp

def level(_=None):
    mp.get_logger().critical("heard")
    return mp.get_logger().getEffectiveLevel()

def tell(queue):
    queue.put(level())

if __name__ == "__main__":
    mp.set_start_method("spawn")
    mp.log_to_stderr().setLevel(37)
    queue = mp.Queue()
    process = mp.Process(target=tell, args=(queue,))
    process.start()
    print(queue.get())
    process.join()
    with mp.Pool(1) as pool:
        print(pool.map(level, [1, 2]))
"""
    )
    said = program.stdout.splitlines()
    assert [line for line in said if "heard" not in line] == ["37", "[37, 37]"]
    assert (program.stdout + program.stderr).count("heard") == 3


@pytest.mark.parametrize("module", ["multiprocessing", "lithops.multiprocessing"])
def test_a_program_waits_for_its_processes_and_stops_its_daemons(
    run_program: RunProgram, module: str
) -> None:
    program = run_program(
        f"""
import time
import {module} as mp

def late():
    time.sleep(0.5)
    print("late", flush=True)

def never():
    time.sleep(60)

if __name__ == "__main__":
    mp.set_start_method("spawn")
    mp.Process(target=never, daemon=True).start()
    mp.Process(target=late).start()
    print("end", flush=True)
"""
    )
    assert program.stdout == "end\nlate\n"
    assert program.stderr == ""


def test_shared_objects_stay_until_the_last_process_has_ended(run_program: RunProgram) -> None:
    """Whichever was made first."""
    program = run_program(
        """
import time
import lithops.multiprocessing as mp

def nothing():
    pass

def late(queue):
    time.sleep(0.5)
    queue.put(1)
    print("put", queue.get(), flush=True)

if __name__ == "__main__":
    first = mp.Process(target=nothing)
    first.start()
    first.join()
    mp.Process(target=late, args=(mp.Queue(),)).start()
"""
    )
    assert program.stdout == "put 1\n"
    assert program.stderr == ""


@pytest.mark.parametrize("then", ["processes[0].join()", "time.sleep(60)"])
@pytest.mark.parametrize("daemon", [True, False])
def test_ctrl_c(
    start_program: StartProgram, tmp_path: Path, then: str, daemon: bool, eventually: Callable[..., None]
) -> None:
    program = start_program(_SLEEPERS.replace("DAEMON", str(daemon)) + f"    {then}\n")
    assert program.stdout.readline() == "ready\n"
    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=20)
    assert program.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert errors.count("Traceback") == 1
    eventually(lambda: all(map(_ended, _pids(tmp_path))))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_that_is_killed_takes_its_processes_along(
    start_program: StartProgram, tmp_path: Path, number: int, eventually: Callable[..., None]
) -> None:
    program = start_program(_SLEEPERS.replace("DAEMON", "False") + "    time.sleep(60)\n")
    assert program.stdout.readline() == "ready\n"
    program.send_signal(number)
    program.communicate(timeout=20)
    assert program.returncode == -number
    eventually(lambda: all(map(_ended, _pids(tmp_path))))


def test_a_fork_of_the_program_has_processes_of_its_own(run_program: RunProgram, tmp_path: Path) -> None:
    program = run_program(
        _SLEEPERS.replace("DAEMON", "True")
        + """
    sys.stdout.flush()
    child = os.fork()
    if not child:
        mine = mp.Process(target=print, args=("in the fork",))
        mine.start()
        mine.join()
        print(mine.exitcode, mp.active_children(), flush=True)
        sys.exit(3)
    print(os.waitpid(child, 0)[1] >> 8, [process.is_alive() for process in processes], flush=True)
    from multiprocessing import connection
    processes[0].terminate()
    print(connection.wait([processes[0].sentinel]) == [processes[0].sentinel])
"""
    )
    assert program.stdout == "ready\nin the fork\n0 []\n3 [True, True]\nTrue\n"
    assert "Traceback" not in program.stderr


def test_a_fork_does_not_keep_a_sentinel_silent(run_program: RunProgram) -> None:
    program = run_program(
        _SLEEPERS.replace("DAEMON", "True")
        + """
    child = os.fork()
    if not child:
        time.sleep(60)
    from multiprocessing import connection
    processes[0].terminate()
    print(connection.wait([processes[0].sentinel], 20) == [processes[0].sentinel], flush=True)
    os.kill(child, 9)
    os.waitpid(child, 0)
"""
    )
    assert program.stdout == "ready\nTrue\n"


def test_importing_the_module_does_nothing(run_program: RunProgram) -> None:
    program = run_program(
        """
import os, sys, threading
before = os.listdir("/proc/self/fd")
import lithops.multiprocessing as mp
assert mp.current_process().name == "MainProcess"
assert os.listdir("/proc/self/fd") == before
assert threading.active_count() == 1
print([name for name in ("redis", "numpy", "cloudpickle", "lithops.executors") if name in sys.modules])
"""
    )
    assert program.stdout == "[]\n"


def test_descriptors_are_given_back(run_program: RunProgram) -> None:
    program = run_program(
        """
import gc, os, time
import lithops.multiprocessing as mp

def nothing():
    pass

def run(close):
    process = mp.Process(target=nothing)
    process.start()
    process.join()
    if close:
        process.close()

def count():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))

if __name__ == "__main__":
    run(True)
    before = count()
    for number in range(20):
        run(number % 2)
    # One worker or another may be ending still.
    print(count() - before < 5)
"""
    )
    assert program.stdout == "True\n"

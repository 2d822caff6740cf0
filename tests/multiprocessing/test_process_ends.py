"""How processes end: exit codes, what they say on standard error, and who ends with whom."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import process_functions as functions
import pytest

import lithops.multiprocessing as lithops_mp


def _run(mp: Any, target: Callable[..., object], *args: Any) -> Any:
    process = mp.Process(target=target, args=args)
    process.start()
    process.join()
    return process


@pytest.mark.parametrize(
    ("code", "expected"), [(None, 0), (0, 0), (7, 7), (True, 1), (-1, 255), (256, 0), ("why", 1), (2.5, 1)]
)
def test_exit_codes_of_sys_exit(mp: Any, code: Any, expected: int) -> None:
    if mp is not lithops_mp and not isinstance(code, str | None):
        pytest.skip("it takes its time, and two of them are enough")
    assert _run(mp, functions.leave, code).exitcode == expected


@pytest.mark.ours
def test_text_that_a_process_leaves_with_is_shown(mp: Any, capfd: pytest.CaptureFixture[str]) -> None:
    _run(mp, functions.leave, "that is why")
    assert capfd.readouterr().err == "that is why\n"


@pytest.mark.local_only("files")
def test_last_words_go_where_the_process_wants_them(
    mp: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "words"
    assert _run(mp, functions.leave_unheard, str(file), [1, 2, 3]).exitcode == 1
    assert file.read_text() == "[1, 2, 3]\n"
    process = _run(mp, functions.leave_unheard, str(file), None)
    assert process.exitcode == 1
    first, *_, last = file.read_text().splitlines()
    assert (first, last) == (f"Process {process.name}:", "ValueError: told nobody else")
    assert capfd.readouterr().err == ""


def test_the_exit_code_of_the_system(mp: Any) -> None:
    assert _run(mp, functions.leave_at_once, 9).exitcode == 9


def test_zero_of_the_system_too() -> None:
    assert _run(lithops_mp, functions.leave_at_once, 0).exitcode == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT, signal.SIGSEGV])
def test_signals(number: int) -> None:
    process = _run(lithops_mp, functions.kill_self, number)
    assert process.exitcode == -number
    assert f"exitcode=-{signal.Signals(number).name}" in repr(process)


def test_a_signal_of_the_standard_librarys(mp: Any) -> None:
    assert _run(mp, functions.kill_self, signal.SIGKILL).exitcode == -signal.SIGKILL


@pytest.mark.local_only("pids")
def test_killed_from_outside(mp: Any, place: Any) -> None:
    process = mp.Process(target=functions.touch_and_sleep, args=(place / "pid",))
    process.start()
    functions.wait_for(place / "pid")
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_interrupted_from_outside(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    process = lithops_mp.Process(target=functions.touch_and_sleep, args=(tmp_path / "pid",), name="Ada")
    process.start()
    functions.wait_for(tmp_path / "pid")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    process.join()
    assert process.exitcode == 1
    assert "Process Ada:\nTraceback" in capfd.readouterr().err


def test_an_exception_is_one_and_shown(mp: Any, capfd: pytest.CaptureFixture[str]) -> None:
    process = mp.Process(target=functions.fail, args=("no luck",), name="Ada")
    process.start()
    process.join()
    assert process.exitcode == 1
    output, errors = capfd.readouterr()
    assert output == ""
    assert errors.startswith("Process Ada:\nTraceback (most recent call last):\n")
    assert errors.endswith("ValueError: no luck\n")
    assert "raise ValueError(message)" in errors


@pytest.mark.ours
def test_a_keyboard_interrupt_is_an_exception(mp: Any) -> None:
    assert _run(mp, functions.interrupted).exitcode == 1


@pytest.mark.ours
def test_what_stops_a_process_before_it_runs(mp: Any) -> None:
    process = mp.Process(target=functions.nothing)
    process.start()
    process.terminate()
    process.join()
    assert process.exitcode in (0, -signal.SIGTERM)
    assert isinstance(process.pid, int)


@pytest.mark.ours
def test_a_cause_that_is_no_code_of_the_process_is_told(mp: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """Its arguments cannot be unpickled there."""
    process = mp.Process(target=functions.note, args=(functions.Unreadable(),), name="Ada")
    process.start()
    process.join()
    assert process.exitcode == 1
    errors = capfd.readouterr().err
    assert "Process Ada:" in errors
    assert "cannot be read" in errors


def test_fifty_processes_that_wait_for_each_other(tmp_path: Path) -> None:
    processes = [
        lithops_mp.Process(target=functions.meet, args=(tmp_path, number, 50)) for number in range(50)
    ]
    for process in processes:
        process.start()
    assert len(lithops_mp.active_children()) >= 50
    for process in processes:
        process.join()
    assert {process.exitcode for process in processes} == {0}
    assert len({process.pid for process in processes}) == 50


def test_first_processes_of_many_threads(tmp_path: Path, run_program: Callable[..., Any]) -> None:
    program = run_program(
        f"""
import sys, threading
from pathlib import Path
sys.path += {sys.path!r}
import process_functions as functions
import lithops.multiprocessing as mp

def run(number):
    go.wait()
    process = mp.Process(target=functions.meet, args=(Path.cwd(), number, 8))
    process.start()
    process.join()
    codes.append(process.exitcode)

if __name__ == "__main__":
    codes, go = [], threading.Barrier(8)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(codes)
"""
    )
    assert program.stdout == f"{[0] * 8}\n"


def test_workers_end_with_their_processes(
    eventually: Callable[..., None], workers: Callable[..., set[int]], tmp_path: Path
) -> None:
    processes = [lithops_mp.Process(target=functions.wait_for, args=(tmp_path / "go",)) for _ in range(30)]
    for process in processes:
        process.start()
    assert {process.pid for process in processes} <= workers()
    (tmp_path / "go").touch()
    for process in processes:
        process.join()
    eventually(lambda: not workers())

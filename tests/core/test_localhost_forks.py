"""The process that forks workers: what they have of it, its death, and what it cannot do."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gates import Gate, pass_gate

from lithops import FunctionExecutor
from lithops.exceptions import LithopsError, WorkerLost

Eventually = Callable[..., None]
Make = Callable[..., FunctionExecutor]

pytestmark = pytest.mark.localhost_storage


@pytest.fixture
def make() -> Iterator[Make]:
    """An executor with keys of the section `localhost`."""
    made: list[FunctionExecutor] = []

    def create(**section: Any) -> FunctionExecutor:
        made.append(FunctionExecutor(config={"localhost": section}, log_level=None))
        return made[-1]

    yield create
    for each in made:
        each.close()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The name of a module with that text, which workers find."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    def write(text: str) -> str:
        (tmp_path / "preloaded_module.py").write_text(text)
        return "preloaded_module"

    return write


def parent(_: object = None) -> int:
    return os.getppid()


def where(_: object = None) -> tuple[int, str, int]:
    return os.getpid(), os.getcwd(), os.getsid(0)


def ask(fexec: FunctionExecutor, function: Callable[..., Any], value: Any = None) -> Any:
    return fexec.call_async(function, (value,)).result(timeout=30)


def test_all_workers_come_from_one_process(make: Make) -> None:
    fexec = make(worker_processes=3, calls_per_worker=1)
    assert len(set(fexec.map(parent, range(6), chunksize=1).get_result(timeout=30))) == 1
    assert ask(fexec, parent) != os.getpid()


def test_each_worker_leads_a_session_and_is_where_the_program_is(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fexec = make(worker_processes=1, calls_per_worker=1)
    seen = []
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        seen.append(ask(fexec, where))
    assert [folder for _, folder, _ in seen] == [str(tmp_path / "here"), str(tmp_path / "there")]
    assert all(pid == leader for pid, _, leader in seen)
    assert len({pid for pid, _, _ in seen}) == 2


def test_calls_go_on_when_it_dies_and_another_takes_its_place(
    make: Make, tmp_path: Path, eventually: Eventually
) -> None:
    fexec = make(worker_processes=2)
    gate = Gate(tmp_path)
    running = fexec.call_async(pass_gate, (gate.path,))
    server = ask(fexec, parent)
    eventually(gate.arrived)
    os.kill(server, signal.SIGKILL)
    gate.open()
    running.result(timeout=30)
    # Both workers die with a call, and new ones are needed.
    for future in fexec.map(os._exit, [3, 4], chunksize=1):
        with pytest.raises(WorkerLost):
            future.result(timeout=30)
    assert ask(fexec, parent) != server


def test_workers_have_imported_what_is_configured(make: Make, module: Callable[[str], str]) -> None:
    name = module("import os\npid = os.getpid()\n")
    fexec = make(worker_processes=2, preload=[name, "there.is.no.such.module"])

    def imported(_: object) -> tuple[bool, int]:
        return name in sys.modules, sys.modules[name].pid

    found = fexec.map(imported, range(4), chunksize=1).get_result(timeout=30)
    assert {was_there for was_there, _ in found} == {True}
    assert {pid for _, pid in found} == {ask(fexec, parent)}


def test_a_module_that_fails_ends_the_call_and_says_why(make: Make, module: Callable[[str], str]) -> None:
    fexec = make(preload=[module("raise ValueError('not today')")])
    with pytest.raises(WorkerLost, match="before it was ready") as caught:
        ask(fexec, parent)
    assert "ValueError: not today" in str(caught.value)


def test_the_system_refuses_another_process(make: Make, module: Callable[[str], str]) -> None:
    refuse = "import errno, os\ndef refuse():\n    raise OSError(errno.EAGAIN, 'no')\nos.fork = refuse\n"
    fexec = make(preload=[module(refuse)])
    with pytest.raises(LithopsError, match=r"cannot be started: .*Resource temporarily unavailable"):
        ask(fexec, parent)


def test_workers_end_when_the_program_is_killed(
    start_program: Callable[..., Any], workers: Callable[..., set[int]], eventually: Eventually
) -> None:
    program = start_program(
        """
import signal, time, lithops
if __name__ == "__main__":
    with lithops.FunctionExecutor(log_level=None, worker_processes=2) as fexec:
        fexec.map(time.sleep, [0, 0], chunksize=1).get_result()
        print("ready", flush=True)
        signal.pause()
""",
    )
    assert program.stdout.readline() == "ready\n"
    alive = workers(program.pid)
    assert alive
    program.kill()
    eventually(lambda: not [pid for pid in alive if os.path.exists(f"/proc/{pid}")])


def test_the_standard_librarys_managers_let_workers_in(make: Make) -> None:
    fexec = make()
    with multiprocessing.get_context("spawn").Manager() as manager:
        shared = manager.dict()

        def note(number: int) -> bool:
            shared[number] = os.getpid()
            return any("AUTHKEY" in name for name in os.environ)

        assert fexec.get_result(fexec.map(note, range(3))) == [False] * 3
        assert sorted(shared.keys()) == [0, 1, 2]
        assert os.getpid() not in shared.values()

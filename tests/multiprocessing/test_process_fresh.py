"""Processes begin with nothing that others have left, and workers of pools are numbered."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import fresh_functions as functions
import pytest
from valkey_server import Valkey

import lithops.multiprocessing as lithops_mp
from lithops.multiprocessing import program
from lithops.shared.server import PASSWORD_VARIABLE, VARIABLE, Server
from lithops.shared.session import Session, new_name


def _run(mp: Any, target: Any, *args: Any) -> None:
    process = mp.Process(target=target, args=args)
    process.start()
    process.join()
    assert process.exitcode == 0


@pytest.mark.local_only("warm")
def test_what_a_process_changes_is_gone_with_it(mp: Any) -> None:
    found = mp.SimpleQueue()
    _run(mp, functions.leave_traces)
    _run(mp, functions.find_traces, found)
    assert found.get() == (False, False, os.getcwd(), False)
    found.close()


@pytest.mark.local_only("files")
def test_processes_start_where_the_program_is(
    mp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = mp.SimpleQueue()
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        _run(mp, functions.find_traces, found)
        assert found.get()[2] == str(tmp_path / name)
    found.close()


@pytest.mark.local_only("warm")
def test_what_is_to_be_done_at_the_end_is_done_before_the_process_is_joined(mp: Any, tmp_path: Path) -> None:
    process = mp.Process(target=functions.register_ends, args=(str(tmp_path),), name="Ada")
    process.start()
    process.join()
    words = [line.partition(" ")[0] for line in (tmp_path / "notes").read_text().splitlines()]
    assert sorted(words) == ["finalizer", "first", "second"]
    assert words.index("second") < words.index("first")


def test_processes_draw_numbers_of_their_own(mp: Any) -> None:
    drawn = mp.SimpleQueue()
    for _ in range(3):
        _run(mp, functions.draw, drawn)
    assert len({drawn.get() for _ in range(3)}) == 3
    drawn.close()


@pytest.mark.local_only("workers")
def test_workers_of_a_pool_are_numbered_one_after_the_other(mp: Any) -> None:
    for _ in range(2):
        (before,) = mp.Process()._identity
        with mp.Pool(3) as pool:
            seen = set(pool.map(functions.identity, range(60), chunksize=1))
        numbers = {identity for _, identity, _ in seen}
        assert numbers <= {(before + 1,), (before + 2,), (before + 3,)}
        assert len(numbers) == len({pid for _, _, pid in seen}) == len(seen)
        assert {name for name, _, _ in seen} == {f"SpawnPoolWorker-{number}" for (number,) in numbers}
        (after,) = mp.Process()._identity
        assert after == before + 4


@pytest.mark.local_only("children")
def test_workers_of_a_pool_in_a_process_have_its_number_before_theirs(mp: Any) -> None:
    found = mp.SimpleQueue()
    process = mp.Process(target=functions.identities_of_workers, args=(mp.Pool, found))
    process.start()
    process.join()
    assert process.exitcode == 0
    (number,) = process._identity
    assert re.fullmatch(rf"SpawnPoolWorker-{number}:\d", found.get())
    found.close()


def test_modules_can_be_there_from_the_start() -> None:
    assert "colorsys" not in _modules()
    lithops_mp.set_forkserver_preload(["colorsys", "there.is.none"])
    try:
        with pytest.raises(TypeError, match="must be a list of strings"):
            lithops_mp.set_forkserver_preload([1])
        assert "colorsys" in _modules()
    finally:
        program.preload([])


def _modules() -> list[str]:
    with lithops_mp.Pool(1) as pool:
        found: list[str] = pool.apply(functions.modules)
        return found


def test_a_process_that_nobody_can_kill_ends_when_it_is_told_to(valkey: Valkey, start_program: Any) -> None:
    """As in a function of a cloud: the program is elsewhere, and has nothing but the server."""
    session = Session(Server(f"test:{new_name()}", 60, host=valkey.host, port=valkey.port), valkey.password)
    program = start_program(
        """
import time
from lithops.multiprocessing.identity import ParentProcess
from lithops.multiprocessing.process import Process, run_process
from lithops.shared import keeper

def work():
    print("running", flush=True)
    time.sleep(60)

keeper._ROUND_S = 0.05
code, words = run_process(Process(target=work), ParentProcess.here(), "the process", None, False)
print(code, words.splitlines()[-1])
""",
        env={**os.environ, VARIABLE: session.server.text(), PASSWORD_VARIABLE: valkey.password},
    )
    try:
        assert program.stdout.readline() == "running\n"
        assert session.is_alive("the process")
        session.bury("the process")
        output, errors = program.communicate(timeout=30)
        assert output == "1 KeyboardInterrupt\n", errors
    finally:
        session.close(remove=True)

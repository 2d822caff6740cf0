"""The server that a program starts for itself: private, and gone when the program is, however it ends."""

from __future__ import annotations

import gc
import importlib.util
import os
import pickle
import shutil
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lithops.exceptions import ConfigError, SharedStateError
from lithops.multiprocessing import program
from lithops.multiprocessing.current import current_session
from lithops.multiprocessing.synchronize import Lock
from lithops.shared.embedded import EmbeddedServer
from lithops.shared.server import Server
from lithops.shared.session import Session

Eventually = Callable[..., None]

PROGRAM = """
import sys
import lithops.multiprocessing as mp
from lithops.multiprocessing.current import current_session

lock = mp.Lock()
lock.acquire()
print(current_session().server.folder, flush=True)
sys.stdin.readline()
"""


@pytest.fixture(autouse=True, scope="module")
def program_ends(nothing_left_behind: None) -> Iterator[None]:
    yield
    gc.collect()
    program.close()


@pytest.fixture
def folder() -> Iterator[str]:
    """A server's own."""
    server = EmbeddedServer()
    yield server.folder
    server.close()
    assert not os.path.exists(server.folder)
    assert not servers_in(server.folder)


def servers_in(folder: str) -> list[int]:
    """The processes whose command line speaks of the folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(folder.encode() in each for each in line[1:]) or folder.encode() in line[0]:
            found.append(int(pid))
    return found


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_nobody_else_gets_in(folder: str) -> None:
    assert mode(folder) == 0o700
    assert mode(f"{folder}/password") == 0o600
    assert mode(f"{folder}/settings") == 0o600
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(f"{folder}/socket")
        stranger.sendall(b"KEYS *\r\n")
        assert stranger.recv(100).startswith(b"-NOAUTH")


def test_it_listens_on_no_network(folder: str) -> None:
    session = Session(Server("mine", 60, folder=folder))
    assert session.run("CONFIG", "GET", "port") == [b"port", b"0"]
    session.close(remove=True)


def test_each_has_a_password_of_its_own(folder: str) -> None:
    other = EmbeddedServer()
    assert Path(folder, "password").read_text() != Path(other.folder, "password").read_text()
    other.close()


def test_the_password_does_not_travel() -> None:
    lock = Lock()
    password = Path(lock._session.server.folder, "password").read_text()
    assert password.encode() not in pickle.dumps(lock)
    assert password not in lock._session.server.text()


def test_it_is_started_once() -> None:
    assert Lock()._session is Lock()._session is current_session()


def test_two_programs_have_two(start_program: Callable[..., Any]) -> None:
    programs = [start_program(PROGRAM, stdin=-1) for _ in range(2)]
    folders = [each.stdout.readline().strip() for each in programs]
    assert len({*folders, current_session().server.folder}) == 3


def test_it_ends_with_the_program(start_program: Callable[..., Any], eventually: Eventually) -> None:
    one = start_program(PROGRAM, stdin=-1)
    folder = one.stdout.readline().strip()
    assert servers_in(folder)
    output, errors = one.communicate("\n", timeout=60)
    assert one.returncode == 0, errors
    assert (output, errors) == ("", "")
    assert not os.path.exists(folder)
    assert not servers_in(folder)


def test_it_ends_with_a_program_that_is_killed(
    start_program: Callable[..., Any], eventually: Eventually
) -> None:
    one = start_program(PROGRAM, stdin=-1)
    folder = one.stdout.readline().strip()
    one.kill()
    eventually(lambda: not os.path.exists(folder), "its folder is left behind")
    eventually(lambda: not servers_in(folder), "it is left behind")


def test_it_survives_ctrl_c(folder: str) -> None:
    # The terminal sends it to a group of processes, which the server is not in.
    assert servers_in(folder)
    assert os.getpgid(0) not in {os.getpgid(pid) for pid in servers_in(folder)}


def test_a_worker_elsewhere_is_told_what_to_configure(folder: str) -> None:
    gone = Server("mine", 60, folder=folder + "-elsewhere")
    with pytest.raises(ConfigError, match="a worker elsewhere cannot reach: configure a section redis"):
        Session(gone)


def test_a_server_that_has_ended_is_spoken_of() -> None:
    server = EmbeddedServer()
    session = Session(Server("mine", 60, folder=server.folder))
    assert session.run("PING") in (b"PONG", "PONG", True)
    server.close()
    with pytest.raises(SharedStateError, match=r"the embedded server, .*check that it runs"):
        session.run("PING")
    session.close(remove=False)


def test_a_missing_server_is_spoken_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    before = set(os.listdir(os.environ["TMPDIR"]))
    with pytest.raises(ConfigError, match=r"pip install 'lithops\[multiprocessing\]'.*section redis"):
        EmbeddedServer()
    assert set(os.listdir(os.environ["TMPDIR"])) == before


def test_a_missing_client_is_spoken_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"package redis: pip install 'lithops\[multiprocessing\]'"):
        Session(Server("mine", 60, host="localhost", port=1))


def test_a_server_that_does_not_start_is_spoken_of(monkeypatch: pytest.MonkeyPatch) -> None:
    from lithops.shared import embedded

    monkeypatch.setattr(embedded, "_START_S", 0.05)
    monkeypatch.setattr(embedded, "_binary", lambda: shutil.which("false"))
    before = set(os.listdir(os.environ["TMPDIR"]))
    with pytest.raises(ConfigError, match=r"has not started within .* configure a server of your own"):
        EmbeddedServer()
    assert set(os.listdir(os.environ["TMPDIR"])) == before


UNREACHABLE = """
import lithops.multiprocessing as mp
try:
    mp.Queue()
except ConnectionError as error:
    print(error)
"""


def test_a_configured_server_that_is_not_there_is_said_once(
    run_program: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITHOPS_CONFIG", '{"redis": {"host": "127.0.0.1", "port": 1, "hots": "x"}}')
    ended = run_program(UNREACHABLE)
    assert "127.0.0.1:1" in ended.stdout
    assert "section redis" in ended.stdout
    assert "Traceback" not in ended.stderr
    assert "hots" in ended.stderr
    assert "host" in ended.stderr


FORKING = """
import os, sys, time
import lithops.multiprocessing as mp
from lithops.multiprocessing.current import current_session

lock = mp.Lock()
print(current_session().server.folder, flush=True)
if os.fork() == 0:
    os.close(0), os.close(1), os.close(2)
    until = time.monotonic() + 30
    while os.path.exists(current_session().server.folder) and time.monotonic() < until:
        time.sleep(0.01)
    os._exit(0)
"""


def test_a_child_that_the_program_forks_does_not_keep_it(
    run_program: Callable[..., Any], eventually: Eventually
) -> None:
    folder = run_program(FORKING).stdout.strip()
    eventually(lambda: not servers_in(folder), "the server goes on")
    assert not os.path.exists(folder)

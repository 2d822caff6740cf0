"""What all tests share: a world of their own, servers, executors, programs to run, and a look at what is left behind.

With ``--storage NAME`` the executors that tests share keep their objects there, all but the smallest of them.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from azurite_server import Azurite, running_azurite
from fake_gcs_server import FakeGcs, running_fake_gcs
from seaweedfs_server import SeaweedFS, running_seaweedfs
from valkey_server import Valkey, running_valkey

from lithops import FunctionExecutor
from lithops.compute.backends.localhost import backend as localhost
from lithops.storage.client import Storage as StorageClient

# How long one example takes says more of the machine than of the code.
hypothesis.settings.register_profile("lithops", deadline=None)
hypothesis.settings.load_profile("lithops")
pytest.register_assert_rewrite("lithops.testing", "processes_conformance", "joblib_conformance")

_FORK_SERVER = b"lithops.compute.backends.localhost.forks"
"""In the command line of the process that forks workers, and in theirs."""
_MATPLOTLIB_CACHE = os.path.expanduser("~/.cache/matplotlib")
"""Kept from the user's own world: its list of fonts takes seconds to make."""

Condition = Callable[[], object]
Eventually = Callable[..., None]
RunProgram = Callable[..., "subprocess.CompletedProcess[str]"]
StartProgram = Callable[..., "subprocess.Popen[str]"]
Workers = Callable[..., set[int]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--storage",
        default="localhost",
        choices=[*SECTIONS],
        help="where shared executors keep their objects",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--storage") != "localhost":
        other = pytest.mark.skip(reason="it chooses its storage itself")
        for item in items:
            if item.get_closest_marker("localhost_storage"):
                item.add_marker(other)


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with running_seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def fake_gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGcs]:
    with running_fake_gcs(tmp_path_factory.mktemp("fake-gcs")) as server:
        yield server


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    with running_azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with running_valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


SECTIONS: dict[str, tuple[str, Callable[[Any], dict[str, Any]]]] = {
    "localhost": ("", lambda server: {}),
    "minio": ("seaweedfs", lambda server: server.settings),
    "gcp_storage": ("fake_gcs", lambda server: {"endpoint": server.endpoint}),
    "azure_storage": ("azurite", lambda server: server.settings),
    "redis": ("valkey", lambda server: server.settings),
}
"""The storages: their servers, and their sections of the configuration."""


@pytest.fixture(scope="session")
def storage_config(request: pytest.FixtureRequest) -> Callable[[str], dict[str, Any]]:
    """A configuration with the storage of that name, whose server runs from then on."""

    def configure(name: str) -> dict[str, Any]:
        fixture, section = SECTIONS[name]
        server = request.getfixturevalue(fixture) if fixture else None
        return {"lithops": {"storage": name}, name: section(server)}

    return configure


@pytest.fixture(scope="session", autouse=True)
def chosen_storage(
    own_world: None, request: pytest.FixtureRequest, storage_config: Callable[[str], dict[str, Any]]
) -> Iterator[None]:
    """The storage that the command line names is that of all executors without a configuration of their own."""
    name: str = request.config.getoption("--storage")
    if name == "localhost":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITHOPS_CONFIG", json.dumps(storage_config(name)))
        patch.setattr(localhost, "_INLINE_BYTES", 1000)
        yield


@pytest.fixture(scope="session", autouse=True)
def own_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No configuration, and temporary files in a folder of this session, here and in every process that is started."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "home").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", _MATPLOTLIB_CACHE))
        patch.delenv("LITHOPS_CONFIG", raising=False)
        patch.delenv("LITHOPS_CONFIG_FILE", raising=False)
        # Programs that are started in the background ignore Ctrl-C, and so would all that they start.
        interrupted = signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
        signal.signal(signal.SIGINT, interrupted)


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind(own_world: None, eventually: Eventually) -> Iterator[None]:
    """After each module, no process that forks workers may be left, nor one of its workers."""
    yield
    gc.collect()  # executors and their futures hold each other
    eventually(
        lambda: not (servers := _started_by({os.getpid()})) | _started_by(servers),
        "worker processes are left behind", within_s=5,
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def log_as_at_first() -> Iterator[None]:
    """Executors set up the library's log, once for a process: each module begins with none."""
    logger = logging.getLogger("lithops")
    before = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.fixture(scope="module")
def fexec(nothing_left_behind: None) -> Iterator[FunctionExecutor]:
    """An executor with two workers, one for each module: its tests leave it as they find it."""
    with FunctionExecutor(log_level=None, worker_processes=2) as executor:
        yield executor


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the objects that this process stores from now on."""
    keys: list[str] = []
    put = StorageClient.put_object

    def note(client: StorageClient, bucket: str, key: str, body: Any) -> None:
        keys.append(key)
        put(client, bucket, key, body)

    monkeypatch.setattr(StorageClient, "put_object", note)
    return keys


@pytest.fixture(scope="session")
def eventually() -> Eventually:
    """Wait until something is true, and fail if it is not in time: for what no event tells of."""

    def wait(condition: Condition, failure: str = "it does not happen", *, within_s: float = 10) -> None:
        until = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < until, f"{failure}, after {within_s} s"
            time.sleep(0.005)

    return wait


@pytest.fixture(scope="session")
def workers() -> Workers:
    """The pids of the localhost workers of a process: this one, if no other is named."""

    def list_workers(parent: int | None = None) -> set[int]:
        servers = _started_by({os.getpid() if parent is None else parent})
        return _started_by(servers)

    return list_workers


def _started_by(parents: set[int]) -> set[int]:
    """The children of these processes that run workers, or fork them."""
    if not os.path.isdir("/proc/self"):
        pytest.skip("processes are looked for in /proc")
    return {pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _parent(pid) in parents}


def _parent(pid: int) -> int | None:
    """Of a process that runs a worker, or forks them."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
        if _FORK_SERVER in Path(f"/proc/{pid}/cmdline").read_bytes():
            return int(status.rpartition(")")[2].split()[1])
    except OSError:  # it has ended in the meantime
        pass
    return None


@pytest.fixture
def start_program(tmp_path: Path) -> Iterator[StartProgram]:
    """Start a Python program, given as text; it is killed with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
        path = tmp_path / f"program_{len(started)}.py"
        path.write_text(source)
        program: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, str(path), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            **options,  # type: ignore[call-overload]
        )
        started.append(program)
        return program

    yield start
    for program in started:
        program.kill()
        program.communicate()


@pytest.fixture
def run_program(start_program: StartProgram) -> RunProgram:
    """Run a Python program, given as text, to its end; it has to end well, unless `check=False`."""

    def run(
        source: str, *arguments: str, check: bool = True, within_s: float = 30
    ) -> subprocess.CompletedProcess[str]:
        program = start_program(source, *arguments)
        output, errors = program.communicate(timeout=within_s)
        assert not check or program.returncode == 0, f"exit code {program.returncode}\n{output}\n{errors}"
        return subprocess.CompletedProcess(program.args, program.returncode, output, errors)

    return run

"""Workers in containers keep every promise that worker processes keep, against a real engine."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ClassVar

import docker_engine
import pytest

from lithops import FunctionExecutor
from lithops.compute.backends.localhost.runtime import runtime_of
from lithops.compute.base import RuntimeInfo, Surroundings
from lithops.constants import LITHOPS_TEMP_DIR
from lithops.exceptions import CallTimeout, ComputeError, ConfigError, WorkerLost
from lithops.testing.compute import ComputeConformance
from lithops.wire.messages import Task

_IMAGE = f"lithops-tests:{sys.version_info[0]}.{sys.version_info[1]}"
_PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def image(nothing_left_behind: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image that an engine of this machine can run, and which holds this interpreter alone."""
    folder = tmp_path_factory.mktemp("engine")
    with pytest.MonkeyPatch.context() as patch:
        if docker_engine.engine_answers():
            with docker_engine.imported_image(_IMAGE, folder) as name:
                yield name
        elif docker_engine.can_be_started():
            with docker_engine.started_engine(folder) as host:
                patch.setenv("DOCKER_HOST", host)
                with docker_engine.imported_image(_IMAGE, folder) as name:
                    yield name
        elif os.environ.get("CI") == "true":
            pytest.fail("there is no container engine, and none can be started: apt install docker.io")
        else:
            pytest.skip(
                "needs a container engine that runs, or can be started by root: apt install docker.io"
            )


@pytest.fixture(scope="module")
def fexec(image: str) -> Iterator[FunctionExecutor]:
    config = {"lithops": {"data_limit": False}, "localhost": {"runtime": image, "worker_processes": 2}}
    with FunctionExecutor(config=config, log_level=None) as executor:
        yield executor
    assert docker_engine.containers() == set()


class TestContainers(ComputeConformance):
    captures_subprocesses: ClassVar[bool] = False  # the image has no program that the suite could start

    @pytest.fixture(autouse=True)
    def _engine(self, image: str) -> Iterator[None]:
        self.image = image
        yield
        assert docker_engine.containers() == set()

    def make_executor(self, tmp_path: Path, **section: Any) -> FunctionExecutor:
        localhost = {"root": str(tmp_path), "worker_processes": 2, "runtime": self.image}
        return FunctionExecutor(config={"lithops": section, "localhost": localhost})


def test_calls_run_in_the_container(fexec: FunctionExecutor) -> None:
    def look() -> tuple[list[str], int, bool]:
        import os
        import subprocess
        import sys

        print("out of a container")
        subprocess.run([sys.executable, "-c", "print('and of its programs')"], check=True)
        print("in two streams", file=sys.stderr)
        return os.listdir("/etc"), os.getuid(), "LITHOPS_TEST_SECRET" in os.environ

    os.environ["LITHOPS_TEST_SECRET"] = "stays here"
    try:
        future = fexec.call_async(look, ())
        files, user, knows = future.result(timeout=_PATIENCE_S)
    finally:
        del os.environ["LITHOPS_TEST_SECRET"]
    assert "made_for_lithops" in files
    assert not os.path.exists("/etc/made_for_lithops")
    assert user == os.getuid()
    assert not knows
    assert future.logs == "out of a container\nand of its programs\nin two streams\n"


def test_many_calls_and_large_data(fexec: FunctionExecutor) -> None:
    fexec.map(lambda x: x * x, range(700))
    assert fexec.get_result(timeout=_PATIENCE_S) == [x * x for x in range(700)]
    data = os.urandom(9 << 20)  # stored, and mapped into the container's memory
    future = fexec.call_async(lambda body: body[::-1], (data,))
    assert future.result(timeout=_PATIENCE_S) == data[::-1]


def test_data_of_the_callers_default_storage_is_seen(fexec: FunctionExecutor) -> None:
    reference = fexec.storage.put_cloudobject(b"left here")
    future = fexec.call_async(lambda ref, storage: storage.get_cloudobject(ref), (reference,))
    assert future.result(timeout=_PATIENCE_S) == b"left here"


def test_a_call_that_holds_the_interpreter_is_stopped_by_its_timeout(fexec: FunctionExecutor) -> None:
    def hold(number: int) -> int:
        import re

        # One call into C that lets nobody else run, for much longer than this test may take.
        return number if number != 1 else bool(re.match(r"(a+)+$", "a" * 60 + "b"))

    futures = fexec.map(hold, range(4), timeout=1)
    fexec.wait(futures, throw_except=False, timeout=_PATIENCE_S)
    with pytest.raises(CallTimeout, match="longer than its timeout of 1 s"):
        futures[1].result()
    assert [futures[i].result() for i in (0, 2, 3)] == [0, 2, 3]


@pytest.mark.parametrize(
    ("how", "words"),
    [("exit", "exit code 7"), ("kill", "killed by SIGKILL"), ("fault", "killed by SIGSEGV")],
)
def test_a_dead_worker_costs_its_call_and_says_how_it_died(
    fexec: FunctionExecutor, how: str, words: str
) -> None:
    def die(number: int) -> int:
        import ctypes
        import os
        import signal

        if number == 2:
            print("nearly there")
            if how == "fault":
                ctypes.string_at(0)
            os._exit(7) if how == "exit" else os.kill(os.getpid(), signal.SIGKILL)
        return number

    futures = fexec.map(die, range(6))
    fexec.wait(futures, throw_except=False, timeout=_PATIENCE_S)
    with pytest.raises(WorkerLost, match=words) as caught:
        futures[2].result()
    assert "nearly there" in str(caught.value)
    assert [futures[i].result() for i in (0, 1, 3, 4, 5)] == [0, 1, 3, 4, 5]


_INTERRUPTED = """
import sys, lithops

def rest(number):
    import time
    time.sleep(600)

with lithops.FunctionExecutor(log_level=None, runtime=sys.argv[1], worker_processes=2) as fexec:
    fexec.map(rest, range(3))
    print("ready", flush=True)
    fexec.get_result()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_container_outlives_its_program(
    image: str, start_program: Any, eventually: Any, number: signal.Signals
) -> None:
    others = docker_engine.containers()
    program = start_program(_INTERRUPTED, image)
    assert program.stdout.readline() == "ready\n"
    eventually(lambda: len(docker_engine.containers() - others) == 2, "they do not start", within_s=30)
    program.send_signal(number)
    program.wait(30)
    if number == signal.SIGINT:
        assert docker_engine.containers() == others
    eventually(lambda: docker_engine.containers() == others, "containers are left", within_s=20)


_KILLED_AT_ONCE = """
import os, signal, sys, lithops

fexec = lithops.FunctionExecutor(log_level=None, runtime=sys.argv[1], worker_processes=1)
invoke = fexec.compute_handler.invoke

def die(task, runtime):
    print(invoke(task, runtime), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

fexec.compute_handler.invoke = die
fexec.call_async(lambda: None, ()).result()
"""


def test_a_container_that_starts_too_late_ends_by_itself(
    image: str, start_program: Any, eventually: Any
) -> None:
    program = start_program(_KILLED_AT_ONCE, image)
    name = program.stdout.readline().strip()
    assert name.startswith("lithops-worker-")
    # Only the container itself removes it, once it has seen that its client is gone.
    folder = Path(LITHOPS_TEMP_DIR, name)
    eventually(lambda: not folder.exists(), "the worker's folder is left", within_s=20)
    eventually(lambda: name not in docker_engine.containers(), "the container is left", within_s=20)


def test_closing_while_a_container_starts(image: str) -> None:
    with FunctionExecutor(log_level=None, runtime=image, worker_processes=2) as executor:
        names: SimpleQueue[str] = SimpleQueue()
        invoke = executor.compute_handler.invoke

        def tell(task: Task, runtime: RuntimeInfo) -> str:
            names.put(invoke(task, runtime))
            return "told"

        executor.compute_handler.invoke = tell  # type: ignore[method-assign]
        executor.call_async(lambda: __import__("time").sleep(600), ())
        name = names.get(timeout=_PATIENCE_S)
    assert name not in docker_engine.containers()
    assert not Path(LITHOPS_TEMP_DIR, name).exists()


# ---------------------------------------------------------------- what can be wrong


def test_an_image_that_does_not_exist(image: str) -> None:
    with (
        FunctionExecutor(log_level=None, runtime="lithops.invalid/no-such-image:1") as executor,
        pytest.raises(ConfigError, match=r"'lithops\.invalid/no-such-image:1'.* pulled.*docker pull"),
    ):
        executor.call_async(abs, (1,))


def test_an_image_without_python(image: str, tmp_path: Path) -> None:
    name = "lithops-tests:empty"
    (tmp_path / "nothing").mkdir()
    archive = shutil.make_archive(str(tmp_path / "empty"), "tar", tmp_path / "nothing")
    assert docker_engine.docker("import", archive, name).returncode == 0
    try:
        with FunctionExecutor(log_level=None, runtime=name) as executor:
            future = executor.call_async(abs, (1,))
            with pytest.raises(WorkerLost, match=r"(?s)image 'lithops-tests:empty'.*exec python3 failed"):
                future.result(timeout=_PATIENCE_S)
    finally:
        docker_engine.docker("image", "rm", name)


def test_an_engine_that_does_not_run(image: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    with (
        FunctionExecutor(log_level=None, runtime=image) as executor,
        pytest.raises(ComputeError, match=r"docker does not work: .*start its service"),
    ):
        executor.call_async(abs, (1,))


def test_no_engine_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        FunctionExecutor(log_level=None, runtime="python:3.11-slim") as executor,
        pytest.raises(ConfigError, match=r"'python:3\.11-slim'.*give its path.*install docker or podman"),
    ):
        executor.call_async(abs, (1,))


# ---------------------------------------------------------------- what a runtime's name says


@pytest.mark.parametrize(
    ("named", "kind"),
    [
        ("", "interpreter"),
        ("/no/such/python", "interpreter"),
        ("~/venv/bin/python", "interpreter"),
        ("./python", "interpreter"),
        ("sh", "interpreter"),
        ("python:3.11-slim", "image"),
        ("registry.example.org/team/python:3.11", "image"),
    ],
)
def test_names_of_runtimes(named: str, kind: str) -> None:
    assert runtime_of(named, Surroundings(), []).kind == kind


def test_a_container_is_its_own_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITHOPS_CONTAINER_IMAGE", "python:3.11-slim")
    assert runtime_of("python:3.11-slim", Surroundings(), []).name == sys.executable
    assert runtime_of("python:3.12-slim", Surroundings(), []).kind == "image"

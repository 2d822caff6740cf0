"""Custom runtimes on AWS of a Dockerfile, in earnest: an engine builds and pushes the image, the stand-in pulls it and
runs it in containers."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker_engine
import pytest
from aws_fixtures import Aws, AwsProgram, of_lambda, running_aws
from aws_fixtures import aws_program as aws_program
from aws_registry import Registry, running_registry
from server import missing

from lithops import FunctionExecutor
from lithops.compute.backends.aws_lambda.backend import AwsLambda
from lithops.exceptions import CallTimeout, OutOfMemory, WorkerLost

pytestmark = pytest.mark.docker

_PATIENCE_S = 90.0
_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
_BASE = "lithops-tests"
# What AWS's own image has, and this one must get, is Lambda's runtime and what that is linked with.
_DOCKERFILE = f"""
ARG PYTHON={_PYTHON}
FROM {_BASE}:${{PYTHON}}
ENV LAMBDA_TASK_ROOT=/var/task PYTHONPATH=/var/runtime
WORKDIR /var/task
COPY libraries/ /usr/lib/
COPY runtime/ /var/runtime/
COPY only_there.py ${{LAMBDA_TASK_ROOT}}/
RUN ["python3", "-c", "import awslambdaric, boto3, only_there"]
ENTRYPOINT ["python3", "-m", "awslambdaric"]
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, own_world: None) -> Iterator[Registry]:
    """A registry, and an engine that knows it."""
    if not docker_engine.can_be_started():
        missing("a container engine that root can start", "apt install docker.io")
    folder = tmp_path_factory.mktemp("engine")
    (folder / "registry").mkdir()
    with (
        running_registry(folder / "registry") as registry,
        docker_engine.started_engine(
            folder, *registry.options_of_engine, environment=registry.environment_of_engine
        ) as host,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("DOCKER_HOST", host)
        with docker_engine.imported_image(f"{_BASE}:{_PYTHON}", folder):
            yield registry


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory, registry: Registry) -> Iterator[Aws]:
    with (
        running_aws(tmp_path_factory.mktemp("aws"), engine=True) as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in cloud.environment.items():
            patch.setenv(name, value)
        yield cloud


@pytest.fixture(scope="module")
def dockerfile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file, with what it copies beside it."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "Dockerfile").write_text(_DOCKERFILE)
    (folder / "only_there.py").write_text("ANSWER = 42\n")
    (folder / "runtime").mkdir()
    for source in of_lambda():
        if source.is_dir():
            shutil.copytree(source, folder / "runtime" / source.name, ignore=_other_services)
        else:
            shutil.copy2(source, folder / "runtime")
    (folder / "libraries").mkdir()
    for library in docker_engine.libraries_of((folder / "runtime").rglob("*.so")):
        shutil.copy2(library, folder / "libraries")
    return folder / "Dockerfile"


def _other_services(folder: str, names: list[str]) -> list[str]:
    """What the SDK knows of services that no function here asks: nearly all that it weighs."""
    services = Path(folder).parts[-2:] == ("botocore", "data")
    return [name for name in names if services and Path(folder, name).is_dir() and name != "s3"]


@pytest.fixture
def built(aws_program: AwsProgram, registry: Registry, dockerfile: Path) -> Iterator[AwsProgram]:
    """The cloud with an image of the name `mine`."""
    with aws_program.executor() as executor:
        backend = executor.compute_handler
        assert isinstance(backend, AwsLambda)
        said = backend.build("mine", dockerfile)
        name, tag = said.removeprefix(f"the image {registry.host}/").split(":")
        assert [each.partition("@")[0] for each in registry.tell(aws_program.aws)] == [f"{name}:{tag}"]
        forget(f"{registry.host}/{name}:{tag}")
        yield aws_program
        backend.remove("mine")


def forget(image: str) -> None:
    """Let the engine have it from the registry, or not at all."""
    removed = docker_engine.docker("image", "rm", image)
    assert removed.returncode == 0, removed.stderr


def executor_of(program: AwsProgram, **section: Any) -> FunctionExecutor:
    return program.executor(runtime="mine", **section)


def test_an_image_is_built_pushed_pulled_and_run(built: AwsProgram, eventually: Any) -> None:
    def look(number: int) -> tuple[int, int, bool, int]:
        import os

        import only_there  # type: ignore[import-not-found]

        print("out of a container")
        return number, only_there.ANSWER, os.path.exists("/etc/made_for_lithops"), os.getuid()

    assert importlib.util.find_spec("only_there") is None
    with executor_of(built) as executor:
        futures = executor.map(look, range(6))
        results = executor.get_result(futures, timeout=_PATIENCE_S)
        assert [(number, answer, there) for number, answer, there, _ in results] == [
            (number, 42, True) for number in range(6)
        ]
        assert all(user != 0 for *_, user in results)
        assert futures[0].logs == "out of a container\n"
        assert containers_of_functions()
    built.aws.set(recycle=True)
    eventually(lambda: not containers_of_functions(), "containers are left", within_s=20)


def test_who_takes_more_memory_than_the_function_has_is_killed_by_the_engine(built: AwsProgram) -> None:
    def allocate(number: int) -> int:
        return len(bytearray(600 << 20)) if number == 2 else number

    with executor_of(built, runtime_memory=192) as executor:
        futures = executor.map(allocate, range(4))
        executor.wait(futures, throw_except=False, timeout=_PATIENCE_S)
        assert [futures[i].result() for i in (0, 1, 3)] == [0, 1, 3]
        with pytest.raises(MemoryError, match="Memory Size: 192 MB\tMax Memory Used: 192 MB") as caught:
            futures[2].result()
        assert isinstance(caught.value, OutOfMemory)
        assert "Runtime exited with error: signal: killed" in str(caught.value)


def test_a_container_that_ends_by_itself_is_told(built: AwsProgram) -> None:
    def leave(number: int) -> int:
        import os

        if number == 1:
            os._exit(7)
        return number

    with executor_of(built) as executor:
        futures = executor.map(leave, range(3))
        executor.wait(futures, throw_except=False, timeout=_PATIENCE_S)
        assert [futures[i].result() for i in (0, 2)] == [0, 2]
        with pytest.raises(WorkerLost, match="Runtime exited with error: exit status 7"):
            futures[1].result()


def test_a_container_that_takes_too_long_is_killed(built: AwsProgram) -> None:
    def hang(number: int) -> int:
        if number == 1:
            import signal
            import time

            signal.signal(signal.SIGALRM, signal.SIG_IGN)  # as code that never returns to the interpreter
            time.sleep(60)
        return number

    with executor_of(built, runtime_timeout=5) as executor:
        futures = executor.map(hang, range(3))
        executor.wait(futures, throw_except=False, timeout=_PATIENCE_S)
        assert [futures[i].result() for i in (0, 2)] == [0, 2]
        with pytest.raises(CallTimeout, match=r"Task timed out after 5\.00 seconds"):
            futures[1].result()


def test_who_has_not_logged_in_cannot_push(registry: Registry, tmp_path: Path) -> None:
    image = f"{registry.host}/lithops/anybody:1"
    assert docker_engine.docker("tag", f"{_BASE}:{_PYTHON}", image).returncode == 0
    pushed = docker_engine.docker("--config", str(tmp_path), "push", image)
    forget(image)
    assert pushed.returncode != 0
    assert "no basic auth credentials" in pushed.stderr


def containers_of_functions() -> list[str]:
    listed = docker_engine.docker("ps", "--all", "--quiet")
    assert listed.returncode == 0, listed.stderr
    return listed.stdout.split()

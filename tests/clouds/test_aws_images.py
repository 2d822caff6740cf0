"""Custom runtimes on AWS of a Dockerfile. In the place of docker is a program that does as little as can be looked at;
the registry is moto's, and the stand-in runs what would be in the image.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from aws_fixtures import AwsProgram
from aws_fixtures import aws as aws
from aws_fixtures import aws_program as aws_program

from lithops import FunctionExecutor
from lithops.compute.backends.aws_lambda.backend import AwsLambda
from lithops.exceptions import ComputeError

PATIENCE_S = 60.0
DOCKER = """#!{python}
import json, os, shutil, sys, time
home = {home!r}
said = sys.stdin.read() if "--password-stdin" in sys.argv else ""
with open(home + "/log", "a") as log:
    log.write(json.dumps([sys.argv[1:], said]) + "\\n")
command, last = sys.argv[1], sys.argv[-1]
if command == "build" and "--provenance=false" in sys.argv:
    sys.exit("unknown flag: --provenance")
if command == "build" and os.path.isdir(last + "/worker"):
    shutil.copytree(last + "/worker", home + "/root", dirs_exist_ok=True)
if command == "push":
    import boto3
    repository, _, tag = last.partition("/")[2].partition(":")
    boto3.client("ecr").put_image(
        repositoryName=repository, imageTag=tag, imageManifestMediaType="application/vnd.oci.image.manifest.v1+json",
        imageManifest=json.dumps({{"schemaVersion": 2, "config": {{"digest": str(time.time())}}, "layers": []}}),
    )
"""


@pytest.fixture
def docker(aws_program: AwsProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the program writes down what it was asked for, and leaves what an image would hold."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER.format(python=sys.executable, home=str(tmp_path)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    aws = aws_program.aws
    for name, value in (
        ("AWS_ACCESS_KEY_ID", aws.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", aws.secret_access_key),
        ("AWS_DEFAULT_REGION", aws.region),
    ):
        monkeypatch.setenv(name, value)
    (tmp_path / "Dockerfile").write_text("FROM public.ecr.aws/lambda/python:3.11\n")
    aws.set(images={"/lithops/": str(tmp_path / "root")})
    return tmp_path


def backend_of(executor: FunctionExecutor) -> AwsLambda:
    backend = executor.compute_handler
    assert isinstance(backend, AwsLambda)
    return backend


def test_a_runtime_of_a_dockerfile(aws_program: AwsProgram, docker: Path) -> None:
    with aws_program.executor(namespace="img", architecture="arm64") as executor:
        said = backend_of(executor).build("Mine", docker / "Dockerfile")
        assert ".dkr.ecr.eu-west-1.amazonaws.com/lithops/img/mine-" in said
    commands = [json.loads(line) for line in (docker / "log").read_text().splitlines()]
    assert [arguments[0] for arguments, _ in commands] == ["build", "build", "build", "login", "push"]
    assert all("linux/arm64" in arguments for arguments, _ in commands[:3])
    assert commands[0][0][-1] == str(docker)
    (arguments, password) = commands[3]
    assert "--password-stdin" in arguments
    assert password
    assert password not in str([each for each, _ in commands])


def test_functions_of_an_image_run(aws_program: AwsProgram, docker: Path) -> None:
    with aws_program.executor(namespace="run", runtime="mine") as executor:
        with pytest.raises(ComputeError, match="lithops runtime build"):
            executor.map(lambda x: x, range(2))
        backend_of(executor).build("mine", docker / "Dockerfile")
        assert executor.get_result(executor.map(lambda x: x + 1, range(3)), timeout=PATIENCE_S) == [1, 2, 3]
        functions = aws_program.aws.client("lambda").list_functions()["Functions"]
        (function,) = (each for each in functions if each["FunctionName"].startswith("lithops-run-mine"))
        assert function["PackageType"] == "Image"
        assert function["ImageConfigResponse"]["ImageConfig"]["Command"][0].endswith("entry.handler")
        assert [info.name for info in backend_of(executor).runtimes()] == ["mine"]
        backend_of(executor).remove("mine")
        left = aws_program.aws.client("ecr").describe_repositories()["repositories"]
        assert "lithops/run/mine" not in [each["repositoryName"] for each in left]


def test_an_image_of_another_release_is_told(aws_program: AwsProgram, docker: Path) -> None:
    with aws_program.executor(namespace="old", runtime="mine") as executor:
        backend = backend_of(executor)
        backend.build("mine", docker / "Dockerfile")
        backend._package = type(backend._package)(b"", "0" * 64)
        with pytest.raises(ComputeError, match="another release"):
            backend.deploy("mine", 0, 60)
        backend.remove("mine")


def test_an_image_of_another_python_is_told(aws_program: AwsProgram, docker: Path) -> None:
    with aws_program.executor(namespace="py", runtime="mine") as executor:
        backend = backend_of(executor)
        backend.build("mine", docker / "Dockerfile")
        sandbox = docker / "root" / "lithops" / "worker" / "sandbox.py"
        sandbox.write_text(sandbox.read_text().replace('"python": f"', '"python": f"1'))
        with pytest.raises(ComputeError, match=r"has Python 13\.\d+ .*lithops runtime build") as error:
            backend.deploy("mine", 0, 60)
        assert "this program Python 3." in str(error.value)
        backend.remove("mine")


def test_what_docker_says_is_told(
    aws_program: AwsProgram, docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (docker / "bin" / "docker").write_text("#!/bin/sh\necho 'no such base' >&2\nexit 1\n")
    with aws_program.executor() as executor:
        with pytest.raises(ComputeError, match="no such base"):
            backend_of(executor).build("mine", docker / "Dockerfile")
        shutil.rmtree(docker / "bin")
        monkeypatch.setenv("PATH", str(docker / "bin"))
        with pytest.raises(ComputeError, match="docker is not installed"):
            backend_of(executor).build("mine", docker / "Dockerfile")

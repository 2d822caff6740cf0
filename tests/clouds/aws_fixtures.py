"""AWS, as far as this library uses it: the stand-in for Lambda, and moto for IAM, STS, ECR and CloudWatch Logs."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import sysconfig
import urllib.request
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aws_control import ACCOUNT
from seaweedfs_server import SeaweedFS
from server import answers, free_ports, missing, running

from lithops import FunctionExecutor

_OF_AWS = (
    "awslambdaric", "boto3", "botocore", "dateutil", "jmespath", "s3transfer", "simplejson", "six",
    "snapshot_restore_py", "urllib3",
)  # fmt: skip
"""What the environment of Lambda's functions has beside Python: its runtime, and the SDK."""


@dataclass(frozen=True)
class Aws:
    """What tests need to know of the cloud that runs."""

    lambda_endpoint: str
    moto_endpoint: str
    folder: Path
    region: str = "eu-west-1"
    access_key_id: str = SeaweedFS.access_key_id
    secret_access_key: str = field(default=SeaweedFS.secret_access_key, repr=False)
    account_id: str = ACCOUNT

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead SDKs here."""
        services = {"IAM", "STS", "ECR", "LOGS"}
        return {
            "AWS_ENDPOINT_URL_LAMBDA": self.lambda_endpoint,
            **{f"AWS_ENDPOINT_URL_{name}" if name != "LOGS" else "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": self.moto_endpoint
               for name in services},
        }  # fmt: skip

    @property
    def settings(self) -> dict[str, str]:
        """The section `aws` of a configuration."""
        return {
            "region": self.region,
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
        }

    def client(self, service: str, **options: Any) -> Any:
        import boto3

        endpoint = self.lambda_endpoint if service == "lambda" else self.moto_endpoint
        return boto3.client(
            service,
            endpoint_url=endpoint,
            region_name=self.region,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            **options,
        )

    def set(self, **settings: Any) -> None:
        """Change the stand-in's `Settings`; `recycle=True` ends all idle sandboxes."""
        self._control("PUT", settings)

    def settings_now(self) -> dict[str, Any]:
        settings: dict[str, Any] = self._control("GET", None)
        del settings["counts"]
        return settings

    @property
    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self._control("GET", None)["counts"]
        return counts

    def make_role(self, name: str) -> str:
        """A role that Lambda may assume; its ARN."""
        trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"},
                                "Action": "sts:AssumeRole"}]}  # fmt: skip
        role = self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        return str(role["Role"]["Arn"])

    def _control(self, method: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.lambda_endpoint}/_control", data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@contextmanager
def running_aws(folder: Path, **settings: Any) -> Iterator[Aws]:
    """The cloud while it runs. `settings` are those of the stand-in (`aws_invocations.Settings`)."""
    for module, install in (("awslambdaric", "awslambdaric"), ("moto", "'moto[server]'"), ("boto3", "boto3")):
        if importlib.util.find_spec(module) is None:
            missing(module, f"pip install {install}")
    lambda_port, moto_port = free_ports(2)
    aws = Aws(f"http://127.0.0.1:{lambda_port}", f"http://127.0.0.1:{moto_port}", folder)
    moto = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(moto_port)]
    python, runtime = _make_environment(folder)
    configuration = {
        "folder": str(folder),
        "port": lambda_port,
        "moto": aws.moto_endpoint,
        "region": aws.region,
        "python": str(python),
        "runtime": str(runtime),
        "access_keys": [aws.access_key_id, "AKIDROLE"],
        "settings": settings,
    }
    service = [
        sys.executable,
        str(Path(__file__).with_name("aws_lambda_service.py")),
        json.dumps(configuration),
    ]
    with (
        running(moto, ready=lambda: answers(moto_port), log=folder / "moto.log"),
        running(service, ready=lambda: answers(lambda_port), log=folder / "lambda.log"),
    ):  # fmt: skip
        yield aws


def _make_environment(folder: Path) -> tuple[Path, Path]:
    """An interpreter without packages of its own, and the folder of those that Lambda's functions find anyway."""
    home = folder / "python"
    venv.EnvBuilder(symlinks=True, with_pip=False).create(home)
    runtime = folder / "runtime"
    runtime.mkdir()
    for each in of_lambda():
        (runtime / each.name).symlink_to(each)
    return home / "bin" / "python", runtime


def of_lambda() -> list[Path]:
    """The packages and modules of Lambda's environment, as they are installed here."""
    packages = Path(sysconfig.get_path("platlib"))
    names = (*_OF_AWS, "runtime_client")
    return [packages / entry for entry in os.listdir(packages) if entry.partition(".")[0] in names]


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory, own_world: None) -> Iterator[Aws]:
    """The cloud, with `AWS_ENDPOINT_URL_...` in the environment: one for each module, so that no other sees that."""
    with running_aws(tmp_path_factory.mktemp("aws")) as cloud, pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.environment.items():
            patch.setenv(name, value)
        yield cloud


@dataclass(frozen=True)
class AwsProgram:
    """What programs have that use the cloud: functions on the stand-in, objects on SeaweedFS."""

    aws: Aws
    storage: SeaweedFS
    bucket: str = "lithops-test"

    def config(self, *, lithops: Mapping[str, Any] | None = None, **section: Any) -> dict[str, Any]:
        """A configuration; `section` are keys of `aws_lambda`."""
        return {
            "lithops": {"backend": "aws_lambda", "storage": "aws_s3", **(lithops or {})},
            "aws": self.aws.settings,
            "aws_lambda": section,
            "aws_s3": {"storage_bucket": self.bucket},
        }

    def executor(self, *, lithops: Mapping[str, Any] | None = None, **section: Any) -> FunctionExecutor:
        return FunctionExecutor(config=self.config(lithops=lithops, **section), log_level=None)


@contextmanager
def program_on(aws: Aws, seaweedfs: SeaweedFS) -> Iterator[AwsProgram]:
    """The cloud with S3, and a role that may use it. The stand-in's settings are put back at the end."""
    role = {
        "AWS_ACCESS_KEY_ID": seaweedfs.access_key_id,
        "AWS_SECRET_ACCESS_KEY": seaweedfs.secret_access_key,
        "AWS_ENDPOINT_URL_S3": seaweedfs.endpoint,
    }
    before = aws.settings_now()
    aws.set(role_environment=role)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_S3", seaweedfs.endpoint)
        yield AwsProgram(aws, seaweedfs)
    aws.set(**{**before, "refuse_for_s": 0.0, "role_environment": role, "recycle": True})


SANDBOXES = 20
"""At once, where tests come by the hundred: some run on, unseen, after their processes were stopped."""


@pytest.fixture(scope="session")
def lasting_aws(tmp_path_factory: pytest.TempPathFactory, own_world: None) -> Iterator[Aws]:
    """The cloud for all modules of a folder: it takes seconds to start."""
    with running_aws(tmp_path_factory.mktemp("aws"), processes=SANDBOXES) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def lasting_aws_program(lasting_aws: Aws, seaweedfs: SeaweedFS) -> Iterator[AwsProgram]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in lasting_aws.environment.items():
            patch.setenv(name, value)
        with program_on(lasting_aws, seaweedfs) as program:
            yield program


def way_over_aws(test: pytest.Item, local: Mapping[str, str]) -> Any:
    """The parameter with which a test runs over the cloud. `local` are the reasons that `local_only` may name."""
    marks = [pytest.mark.aws]
    if only := test.get_closest_marker("local_only"):
        marks.append(pytest.mark.skip(reason=local[only.args[0]]))
    return pytest.param("aws_lambda", marks=marks)


def sort_aws_last(items: list[pytest.Item]) -> None:
    """What runs over the cloud comes last in its module: no other test is to find its configuration."""
    order = {path: number for number, path in enumerate(dict.fromkeys(item.path for item in items))}
    items.sort(key=lambda item: (order[item.path], item.get_closest_marker("aws") is not None))


@pytest.fixture
def aws_program(aws: Aws, seaweedfs: SeaweedFS) -> Iterator[AwsProgram]:
    with program_on(aws, seaweedfs) as program:
        yield program

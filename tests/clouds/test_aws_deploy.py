"""What is deployed to AWS, when, and with which settings: through the real SDK, on the stand-in."""

from __future__ import annotations

import io
import json
import logging
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_fixtures import Aws, AwsProgram
from aws_fixtures import aws as aws
from aws_fixtures import aws_program as aws_program

from lithops.compute.backends.aws_lambda.backend import AwsLambda
from lithops.compute.backends.aws_lambda.config import AwsLambdaConfig
from lithops.compute.base import (
    ComputeBackend,
    SupportsBuild,
    SupportsDiagnosis,
    SupportsHealth,
    SupportsPricing,
    SupportsResponses,
    Surroundings,
)
from lithops.compute.serverless.package import Package, build
from lithops.config.check import check_section
from lithops.exceptions import ComputeError, ConfigError


class ScaledClock:
    """Time that passes twenty times as fast for whoever waits."""

    def now(self) -> float:
        import time

        return time.monotonic() * 20

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        return event.wait(None if timeout_s is None else timeout_s / 20)


def make(
    aws: Aws, *, storage: str = "aws_s3", environment: dict[str, str] | None = None, **section: Any
) -> AwsLambda:
    config = check_section(
        AwsLambdaConfig, {**aws.settings, **section}, section="aws_lambda", origin="a test"
    )
    return AwsLambda(config, Surroundings(storage, environment or {}), clock=ScaledClock())


def functions(aws: Aws) -> dict[str, dict[str, Any]]:
    pages = aws.client("lambda").get_paginator("list_functions").paginate()
    return {function["FunctionName"]: function for page in pages for function in page["Functions"]}


@pytest.fixture
def recorded(aws_program: AwsProgram, tmp_path: Path) -> Iterator[Path]:
    """The bodies of all requests to Lambda from now on."""
    file = tmp_path / "requests"
    file.touch()
    aws_program.aws.set(record=str(file))
    yield file
    aws_program.aws.set(record="")


@pytest.fixture
def cloud(aws_program: AwsProgram) -> Iterator[Aws]:
    """The cloud, without what a test has deployed."""
    aws = aws_program.aws
    aws.set(pending_s=0.05, role_delay_s=0.05)
    before = functions(aws)
    yield aws
    for name in functions(aws).keys() - before.keys():
        aws.client("lambda").delete_function(FunctionName=name)


def requests(recorded: Path) -> list[str]:
    """Methods and paths."""
    lines = recorded.read_bytes().split(b"\n")
    return [line.decode() for line in lines if line.startswith((b"GET /", b"POST /", b"PUT /", b"DELETE /"))]


def test_it_is_what_it_says(aws: Aws) -> None:
    backend: ComputeBackend = make(aws)
    for capability in (SupportsBuild, SupportsDiagnosis, SupportsHealth, SupportsPricing, SupportsResponses):
        assert isinstance(backend, capability)


def test_the_first_use_deploys_and_says_so(cloud: Aws, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lithops"):
        info = make(cloud, namespace="first").deploy("", 0, 60)
    assert info.memory_mb == 256
    said = [record.message for record in caplog.records if record.name.startswith("lithops.compute")]
    assert "deploying lithops-first-python3" in said[0]
    assert "eu-west-1" in said[0]
    assert "is ready after" in said[-1]
    caplog.clear()
    with caplog.at_level(logging.INFO, "lithops"):
        make(cloud, namespace="first").deploy("", 0, 60)
    assert caplog.records == []


def test_the_second_program_finds_it_with_one_request(cloud: Aws, recorded: Path) -> None:
    first = make(cloud, namespace="second").deploy("", 0, 60)
    count = len(requests(recorded))
    other = make(cloud, namespace="second")
    assert other.deploy("", 0, 60) == first
    assert other.deploy("", 256, 60) == first
    (request,) = requests(recorded)[count:]
    assert request.startswith("GET /2015-03-31/functions/lithops-second-python3")
    assert request.endswith("/configuration")


def test_changed_content_is_deployed_and_nothing_else(cloud: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    make(cloud, namespace="content").deploy("", 0, 60)
    before = functions(cloud)

    def changed(entry: Mapping[str, bytes], **where: Any) -> Package:
        return build({**entry, "changed.py": b""}, **where)

    monkeypatch.setattr("lithops.compute.backends.aws_lambda.backend.build_package", changed)
    make(cloud, namespace="content").deploy("", 0, 60)
    (new,) = functions(cloud).keys() - before.keys()
    monkeypatch.undo()
    make(cloud, namespace="content").deploy("", 0, 60)
    assert functions(cloud).keys() == {*before, new}


@pytest.mark.parametrize(
    "change",
    [
        {"runtime_memory": 512},
        {"runtime_timeout": 100},
        {"worker_processes": 2},
        {"ephemeral_storage": 1024},
        {"env_vars": {"NEW": "1"}},
        {"user_tags": {"new": "1"}},
    ],
)
def test_changed_settings_make_another_function(cloud: Aws, change: dict[str, Any]) -> None:
    make(cloud, namespace="settings").deploy("", 0, 60)
    before = functions(cloud)
    make(cloud, namespace="settings", **change).deploy("", 0, 60)
    assert len(functions(cloud).keys() - before.keys()) == 1


def test_the_package_is_small_and_complete(cloud: Aws, recorded: Path) -> None:
    import base64

    make(cloud, namespace="package").deploy("", 0, 60)
    body = recorded.read_bytes().partition(b"POST /2015-03-31/functions\n")[2].split(b"\n")[0]
    package = base64.b64decode(json.loads(body)["Code"]["ZipFile"])
    assert len(package) < 200_000
    names = zipfile.ZipFile(io.BytesIO(package)).namelist()
    assert "lithops/compute/backends/aws_lambda/entry.py" in names
    assert "lithops/storage/backends/aws_s3/backend.py" in names
    for absent in ("executors", "aws_lambda/backend", "azure", "gcp", "config/loader"):
        assert not any(absent in name for name in names)


def test_settings_reach_the_api_as_it_wants_them(cloud: Aws) -> None:
    access_point = "arn:aws:elasticfilesystem:eu-west-1:123456789012:access-point/fsap-0123456789abcdef0"
    backend = make(
        cloud,
        environment={"LITHOPS_CREDENTIALS": '{"minio":{"access_key_id":"m"}}'},
        namespace="every",
        runtime_memory=1769,
        runtime_timeout=900,
        worker_processes=2,
        architecture="arm64",
        ephemeral_storage=2048,
        env_vars={"OWN": "value"},
        user_tags={"project": "genome 7"},
        vpc={"subnets": ["subnet-1", "subnet-2"], "security_groups": ["sg-1"]},
        efs=[{"access_point": access_point, "mount_path": "/mnt/data"}],
    )
    backend.deploy("", 0, 60)
    (name,) = (name for name in functions(cloud) if name.startswith("lithops-every-"))
    client = cloud.client("lambda")
    about = client.get_function(FunctionName=name)
    said = about["Configuration"]
    assert (said["MemorySize"], said["Timeout"]) == (1769, 900)
    assert said["Architectures"] == ["arm64"]
    assert said["EphemeralStorage"] == {"Size": 2048}
    assert said["Environment"]["Variables"] == {
        "OWN": "value",
        "LITHOPS_CREDENTIALS": '{"minio": {"access_key_id": "m"}}',
        "LITHOPS_WORKER_PROCESSES": "2",
    }
    assert said["VpcConfig"]["SubnetIds"] == ["subnet-1", "subnet-2"]
    assert said["VpcConfig"]["SecurityGroupIds"] == ["sg-1"]
    assert said["FileSystemConfigs"] == [{"Arn": access_point, "LocalMountPath": "/mnt/data"}]
    assert about["Tags"]["project"] == "genome 7"
    assert about["Tags"]["lithops:runtime"].startswith("python3.")
    retries = client.get_function_event_invoke_config(FunctionName=name)
    assert (retries["MaximumRetryAttempts"], retries["MaximumEventAgeInSeconds"]) == (0, 300)


@pytest.mark.parametrize(
    ("section", "allowed"),
    [
        ({"runtime_memory": 64}, "from 128 to 10240"),
        ({"runtime_memory": 10241}, "from 128 to 10240"),
        ({"runtime_timeout": 901}, "from 1 to 900"),
        ({"worker_processes": 0}, "from 1 to 6"),
        ({"invoke_pool_threads": 0}, "from 1 to 512"),
        ({"max_workers": 0}, "1 or more"),
        ({"architecture": "arm"}, "'x86_64' or 'arm64'"),
        ({"invocation": "fast"}, "'auto' or 'direct' or 'event'"),
        ({"ephemeral_storage": 100}, "from 512 to 10240"),
        ({"namespace": "a b"}, "1 to 20 letters"),
        ({"execution_role": "arn:aws:s3:::bucket"}, "an IAM role"),
        ({"env_vars": {"AWS_REGION": "x"}}, "keep for itself"),
        ({"env_vars": {"X1": "x" * 5000}}, "4096 bytes"),
        ({"user_tags": {"aws:x": "y"}}, "40 tags"),
        ({"vpc": {"subnets": ["subnet-1"]}}, "security_groups"),
        ({"efs": [{"mount_path": "/mnt/x"}]}, "access_point"),
        ({"runtime": "with space"}, "letters, digits"),
        ({"runtime_memory": "256"}, "without quotes"),
    ],
)
def test_wrong_values_are_refused_with_what_is_allowed(
    aws: Aws, section: dict[str, Any], allowed: str
) -> None:
    with pytest.raises(ConfigError, match=next(iter(section))) as error:
        make(aws, **section)
    assert allowed in str(error.value)


def test_a_file_system_needs_a_network(aws: Aws) -> None:
    point = "arn:aws:elasticfilesystem:eu-west-1:123456789012:access-point/fsap-0123456789abcdef0"
    with pytest.raises(ConfigError, match="vpc"):
        make(aws, efs=[{"access_point": point, "mount_path": "/mnt/x"}])


def test_memory_of_a_call_is_checked_before_it_is_sent(aws: Aws) -> None:
    with pytest.raises(ComputeError, match="from 128 to 10240"):
        make(aws).deploy("", 64, 60)


def test_an_environment_that_is_too_large_is_refused(aws: Aws) -> None:
    with pytest.raises(ComputeError, match="4096"):
        make(aws, environment={"SECRET": "x" * 5000}).deploy("", 0, 60)


# ---------------------------------------------------------------- roles


def test_a_role_is_made_that_may_do_what_functions_need(cloud: Aws) -> None:
    make(cloud, namespace="roles").deploy("", 0, 60)
    (function,) = (each for name, each in functions(cloud).items() if name.startswith("lithops-roles-"))
    name = function["Role"].rpartition("/")[2]
    iam = cloud.client("iam")
    role = iam.get_role(RoleName=name)["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {
        "Service": "lambda.amazonaws.com"
    }
    policy = iam.get_role_policy(RoleName=name, PolicyName="lithops")["PolicyDocument"]
    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert {"s3:PutObject", "logs:PutLogEvents"} <= actions
    assert not any("*" in action for action in actions)


def test_a_role_that_is_named_is_used(cloud: Aws) -> None:
    arn = cloud.make_role("of-the-user")
    for number, name in enumerate(("of-the-user", arn)):
        cloud.set(role_delay_s=0.0)
        make(cloud, namespace=f"named{number}", execution_role=name).deploy("", 0, 60)
        (function,) = (each for key, each in functions(cloud).items() if f"named{number}" in key)
        assert function["Role"] == arn


def test_a_role_that_does_not_exist_is_told(cloud: Aws) -> None:
    with pytest.raises(ComputeError, match="cannot be assumed by Lambda"):
        make(cloud, execution_role="nobody", namespace="norole").deploy("", 0, 60)


def test_who_may_not_make_a_role_is_told_what_to_ask_for(cloud: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import ClientError

    backend = make(cloud, namespace="denied", vpc={"subnets": ["subnet-1"], "security_groups": ["sg-1"]})
    iam = backend._connection.client("iam")

    def deny(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "CreateRole")

    monkeypatch.setattr(iam, "create_role", deny)
    with pytest.raises(ComputeError, match=r"aws_lambda\.execution_role") as error:
        backend.deploy("", 0, 60)
    for needed in ("s3:PutObject", "ec2:CreateNetworkInterface", "lambda.amazonaws.com", "not you"):
        assert needed in str(error.value)


def test_missing_rights_are_told(cloud: Aws) -> None:
    cloud.set(denied=["GetFunctionConfiguration"])
    with pytest.raises(ComputeError, match="lithops doctor"):
        make(cloud).deploy("", 0, 60)
    cloud.set(denied=[])


def test_credentials_that_nobody_knows_are_told(cloud: Aws) -> None:
    with pytest.raises(ComputeError, match="does not know these credentials"):
        make(cloud, access_key_id="AKIDSTRANGER").deploy("", 0, 60)
    with pytest.raises(ConfigError, match="alone"):
        AwsLambda(AwsLambdaConfig(access_key_id="AKID"), Surroundings())


# ---------------------------------------------------------------- runtimes


def test_runtimes_are_listed_and_removed(cloud: Aws) -> None:
    backend = make(cloud, namespace="listed")
    deployed = [backend.deploy("", memory, 60) for memory in (256, 512)]
    others = make(cloud, namespace="other").deploy("", 0, 60)
    assert set(backend.runtimes()) == set(deployed)
    backend.remove(deployed[0].name)
    assert backend.runtimes() == []
    assert make(cloud, namespace="other").runtimes() == [others]
    with pytest.raises(ComputeError, match="lithops runtime list"):
        backend.remove(deployed[0].name)
    assert backend.deploy("", 256, 60) == deployed[0]


def test_a_runtime_that_was_not_built_is_told(cloud: Aws) -> None:
    with pytest.raises(ComputeError, match=r"lithops runtime build -b aws_lambda -f requirements.txt mine"):
        make(cloud).deploy("mine", 0, 60)


def test_another_python_is_told(cloud: Aws) -> None:
    with pytest.raises(ComputeError, match="another Python than this program"):
        make(cloud).deploy("python3.9", 0, 60)


def test_a_runtime_of_another_python_is_told(cloud: Aws) -> None:
    cloud.client("lambda").publish_layer_version(
        LayerName="lithops-ofold-py3-9-x86-64",
        Content={"ZipFile": _zip({"python/x.py": b"x = 1"})},
        Description="{}",
    )
    with pytest.raises(ComputeError, match="lithops runtime build"):
        make(cloud).deploy("ofold", 0, 60)


def test_a_deployment_that_fails_leaves_nothing(cloud: Aws) -> None:
    cloud.set(denied=["PutFunctionEventInvokeConfig"])
    with pytest.raises(ComputeError, match="not authorized"):
        make(cloud, namespace="half").deploy("", 0, 60)
    cloud.set(denied=[])
    assert not any(name.startswith("lithops-half-") for name in functions(cloud))


def test_two_programs_deploy_at_once(cloud: Aws) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        infos = list(pool.map(lambda _: make(cloud, namespace="race").deploy("", 0, 60), range(4)))
    assert len(set(infos)) == 1
    assert sum(name.startswith("lithops-race-") for name in functions(cloud)) == 1


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


# ---------------------------------------------------------------- doctor, prices


def test_what_doctor_finds(cloud: Aws) -> None:
    cloud.set(concurrency=10)
    found = {finding.what: finding for finding in make(cloud).diagnose()}
    assert all(finding.ok for finding in found.values()), found
    assert cloud.account_id in found["AWS identity"].says
    assert found["AWS region"].says == "eu-west-1"
    assert "10 activations at once; max_workers=1000 is more" in found["AWS Lambda concurrency"].says


def test_what_doctor_finds_wrong(cloud: Aws) -> None:
    cloud.set(denied=["ListFunctions"])
    found = {finding.what: finding for finding in make(cloud, execution_role="nobody").diagnose()}
    cloud.set(denied=[])
    assert not found["AWS Lambda functions"].ok
    assert not found["role of the functions"].ok
    assert found["AWS identity"].ok


def test_the_least_policy_is_json_without_wildcards_among_actions(cloud: Aws) -> None:
    policies = json.loads(json.dumps(make(cloud).policy()))
    for document in policies.values():
        assert document["Version"] == "2012-10-17"
        for statement in document["Statement"]:
            assert statement["Effect"] == "Allow"
            assert not any("*" in action for action in statement["Action"])


def test_prices(cloud: Aws) -> None:
    backend = make(cloud, runtime_memory=1024)
    price = backend.prices(backend.deploy("", 0, 60))
    assert price.second == pytest.approx(0.0000166667)
    assert price.activation == pytest.approx(0.0000002)
    assert price.source.startswith("https://aws.amazon.com/")
    arm = make(cloud, architecture="arm64", ephemeral_storage=10240)
    assert arm.prices(arm.deploy("", 2048, 60)).second == pytest.approx(2 * 0.0000133334 + 9.5 * 0.0000000309)

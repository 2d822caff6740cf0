"""The parts of the AWS backend that need no cloud: names, deaths, limits, the entry."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithops.compute.backends.aws_lambda.activations import EVENT_BYTES
from lithops.compute.backends.aws_lambda.backend import AwsLambda
from lithops.compute.backends.aws_lambda.config import AwsLambdaConfig
from lithops.compute.backends.aws_lambda.deaths import deaths
from lithops.compute.backends.aws_lambda.names import (
    About,
    about,
    function_name,
    repository_name,
    resource_name,
)
from lithops.compute.base import Surroundings
from lithops.wire.codec import task_to_text
from lithops.wire.messages import Call, FailureKind, InlineBlob, JobSpec, StorageRef, Task

ONE = "8f507cfc-0000-4697-b07a-ac58fc914c95"
TWO = "9a507cfc-1111-4697-b07a-ac58fc914c95"


def events(*lines: str, stream: str = "s") -> list[dict[str, Any]]:
    return [{"logStreamName": stream, "message": line + "\n"} for line in lines]


def report(activation_id: str, end: str = "", used: int = 30) -> str:
    return (
        f"REPORT RequestId: {activation_id}\tDuration: 3.00 ms\tBilled Duration: 3 ms\tMemory Size: 128 MB\t"
        f"Max Memory Used: {used} MB\t{end}"
    )


@pytest.mark.parametrize(
    ("lines", "kind", "words"),
    [
        ([f"2026-11-22T10:00:00.000Z {ONE} Task timed out after 3.00 seconds", report(ONE, "Status: timeout")],
         FailureKind.TIMEOUT, "runtime_timeout"),
        ([f"2026-11-22T10:00:00.000Z {ONE} Task timed out after 3.00 seconds", report(ONE)],
         FailureKind.TIMEOUT, "Task timed out after 3.00"),
        ([f"RequestId: {ONE} Error: Runtime exited with error: signal: killed\nRuntime.ExitError",
          report(ONE, "Status: error\tError Type: Runtime.OutOfMemory", 128)],
         FailureKind.MEMORY, "runtime_memory"),
        ([f"RequestId: {ONE} Error: Runtime exited with error: signal: killed\nRuntime.ExitError",
          report(ONE, used=127)],
         FailureKind.MEMORY, "signal: killed"),
        ([f"RequestId: {ONE} Error: Runtime exited with error: signal: killed\nRuntime.ExitError",
          report(ONE, used=40)],
         FailureKind.LOST, "signal: killed"),
        ([f"RequestId: {ONE} Error: Runtime exited with error: exit status 7\nRuntime.ExitError",
          report(ONE, "Status: error\tError Type: Runtime.ExitError")],
         FailureKind.LOST, "exit status 7"),
        (["[ERROR] Runtime.ImportModuleError: Unable to import module 'x': No module named 'y'",
          report(ONE, "Status: error\tError Type: Runtime.ImportModuleError")],
         FailureKind.LOST, "No module named 'y'"),
    ],
)  # fmt: skip
def test_how_activations_die(lines: list[str], kind: FailureKind, words: str) -> None:
    found = deaths(events(*lines), {ONE, TWO})
    assert found.keys() == {ONE}
    assert found[ONE].kind is kind
    assert words in found[ONE].message


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("exit status 9", 9),
        ("signal: killed", -9),
        ("signal: segmentation fault", -11),
        ("signal: no such", None),
    ],
)
def test_how_the_process_ended(said: str, code: int | None) -> None:
    line = f"RequestId: {ONE} Error: Runtime exited with error: {said}"
    assert deaths(events(line), {ONE})[ONE].exit_code == code


def test_who_lives_is_not_dead() -> None:
    alive = events(f"START RequestId: {ONE} Version: $LATEST", "[ERROR] of the user", report(ONE))
    assert deaths(alive, {ONE}) == {}
    assert deaths(events(report(ONE, "Status: error\tError Type: X")), {TWO}) == {}
    assert deaths([], {ONE}) == {}


def test_streams_are_kept_apart() -> None:
    mixed = [
        events("[ERROR] of the first", stream="a"),
        events("[ERROR] of the second", stream="b"),
        events(report(TWO, "Status: error\tError Type: X"), stream="b"),
        events(report(ONE, "Status: error\tError Type: X"), stream="a"),
    ]
    found = deaths([event for part in mixed for event in part], {ONE, TWO})
    assert "of the first" in found[ONE].message
    assert "of the second" in found[TWO].message
    assert "of the first" not in found[TWO].message


def test_a_long_log_is_quoted_in_part() -> None:
    found = deaths(events(*["[ERROR] " + "x" * 500] * 50, report(ONE, "Status: error\tError Type: X")), {ONE})
    assert len(found[ONE].message) < 3000
    assert "Error Type: X" in found[ONE].message


@given(
    st.none() | st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True),
    st.from_regex(r"[\w.\-/:@]{1,160}", fullmatch=True),
    st.integers(128, 10240),
)
def test_names_are_what_aws_allows(namespace: str | None, runtime: str, memory_mb: int) -> None:
    name = function_name(namespace, runtime, memory_mb, "0123456789ab")
    assert re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", name)
    assert name.startswith("lithops-")
    assert name.endswith(f"-{memory_mb}-0123456789ab")
    assert re.fullmatch(r"[a-zA-Z0-9-_]{1,140}", resource_name(namespace, runtime, "3.11", "x86_64"))
    repository = repository_name(namespace, runtime)
    assert re.fullmatch(r"[a-z0-9]+([._-][a-z0-9]+)*(/[a-z0-9]+([._-][a-z0-9]+)*)*", repository)


def test_names_of_runtimes_are_not_mixed_up() -> None:
    runtimes = ["a-b", "a.b", "a_b", "A-b", "a:b", "a/b"]
    assert len({resource_name(None, runtime, "3.11", "arm64") for runtime in runtimes}) == len(runtimes)
    assert len({repository_name(None, runtime) for runtime in runtimes}) == len(runtimes)


def test_functions_say_what_they_are() -> None:
    said = About("mine", "3.11", "here")
    assert about({"FunctionName": "lithops-x", "Description": said.to_text()}) == said
    assert about({"FunctionName": "others-x", "Description": said.to_text()}) is None
    assert about({"FunctionName": "lithops-x", "Description": "something else"}) is None


def test_the_largest_task_fits_an_event() -> None:
    """2000 calls is the most that a task has; a function, its modules and extra arguments are inline at most."""
    limits = AwsLambda(AwsLambdaConfig(), Surroundings()).limits
    blob = InlineBlob(bytes(limits.inline_bytes))
    job = JobSpec(
        "x" * 50, blob, "h" * 64, StorageRef("aws_s3", "b" * 63, {"region": "eu-west-1"}), 900.0, 1 << 20,
        modules=blob, modules_hash="h" * 64, extra=blob,
    )  # fmt: skip
    each = limits.payload_bytes // 2000
    calls = tuple(Call(99_999, (InlineBlob(bytes(each)),)) for _ in range(2000))
    assert len(task_to_text(Task(99_999, job, calls, 60.0))) < EVENT_BYTES - 60_000


@pytest.mark.parametrize(
    ("invocation", "connections", "activations"), [("auto", 32, 1000), ("direct", 64, 64), ("event", 0, 1000)]
)
def test_connections(invocation: Any, connections: int, activations: int) -> None:
    limits = AwsLambda(AwsLambdaConfig(invocation=invocation), Surroundings()).limits
    assert (limits.invoke_threads, limits.connections) == (64, connections)
    assert limits.max_activations == activations
    few = dataclasses.replace(AwsLambdaConfig(invocation=invocation), max_workers=3)
    assert AwsLambda(few, Surroundings()).limits.max_activations == 3


def test_what_the_entry_imports() -> None:
    """Neither the SDK nor the backend: they would cost each cold start."""
    program = "import lithops.compute.backends.aws_lambda.entry, json, sys; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    modules = set(json.loads(done.stdout))
    assert not modules & {
        "boto3",
        "botocore",
        "urllib3",
        "cloudpickle",
        "yaml",
        "tqdm",
        "numpy",
        "multiprocessing",
    }
    ours = {name for name in modules if name.startswith("lithops.")}
    assert "lithops.compute.backends.aws_lambda.backend" not in ours
    assert not any(
        name.startswith(("lithops.config", "lithops.executors", "lithops.prepare")) for name in ours
    )

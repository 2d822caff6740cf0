"""The stand-in for Lambda refuses what Lambda refuses, and does with functions what Lambda does: through boto3."""

from __future__ import annotations

import base64
import io
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aws_fixtures import Aws
from aws_fixtures import aws as aws
from botocore.config import Config
from botocore.exceptions import ClientError

SOURCE = """
import json, os, sys, time

NUMBER = [0]

def handler(event, context):
    NUMBER[0] += 1
    do = event.get("do", "echo")
    if do == "sleep":
        time.sleep(event["s"])
    if do == "allocate":
        return len(bytearray(event["mb"] << 20))
    if do == "child":
        import subprocess
        subprocess.run([sys.executable, "-c", f"x = bytearray({event['mb']} << 20); import time; time.sleep(5)"])
    if do == "exit":
        os._exit(event["code"])
    if do == "raise":
        raise KeyError("of the function")
    if do == "long":
        return "x" * event["length"]
    if do == "count":
        return NUMBER[0]
    if do == "look":
        return {"pid": os.getpid(), "env": dict(os.environ), "left_ms": context.get_remaining_time_in_millis()}
    if do == "mark":
        path = os.path.join(os.environ["TMPDIR"], "mark")
        marks = open(path).read() if os.path.exists(path) else ""
        open(path, "w").write(marks + "x")
        return marks
    if do == "tick":
        with open(event["file"], "a") as file:
            file.write("x")
        raise RuntimeError("again")
    if do == "once":
        with open(event["file"], "a") as file:
            file.write("x")
    if do == "import":
        return __import__(event["name"]).__name__
    print("said", event.get("word"))
    return event
"""
Eventually = Callable[..., None]


def zipped(**files: str | bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/") + ".py", text)
    return buffer.getvalue()


class Function:
    """A function that was made for one test."""

    def __init__(self, aws: Aws, name: str) -> None:
        self.name = name
        # What the SDK refuses by itself is to be refused by the service.
        settings = Config(
            max_pool_connections=40, retries={"total_max_attempts": 1}, parameter_validation=False
        )
        self.client: Any = aws.client("lambda", config=settings)

    def run(self, do: str = "echo", **event: Any) -> tuple[Any, str]:
        """What the function returned or failed with, and the end of its log."""
        answer = self.client.invoke(
            FunctionName=self.name, Payload=json.dumps({"do": do, **event}), LogType="Tail"
        )
        tail = base64.b64decode(answer["LogResult"]).decode()
        said = json.loads(answer["Payload"].read())
        assert ("FunctionError" in answer) == (isinstance(said, dict) and "errorType" in said)
        return said, tail

    def leave(self, do: str, **event: Any) -> str:
        answer = self.client.invoke(
            FunctionName=self.name, InvocationType="Event", Payload=json.dumps({"do": do, **event})
        )
        assert answer["StatusCode"] == 202
        return str(answer["ResponseMetadata"]["RequestId"])


@pytest.fixture(scope="module")
def role(aws: Aws) -> str:
    return aws.make_role("functions")


@pytest.fixture
def make(aws: Aws, role: str, request: pytest.FixtureRequest) -> Iterator[Callable[..., Function]]:
    """Makes functions that are active; they go with the test, and so do changed settings."""
    before = aws.settings_now()
    made: list[Function] = []

    def make(source: str = SOURCE, **options: Any) -> Function:
        function = Function(aws, f"f-{request.node.name.partition('[')[0][:40]}-{len(made)}")
        aws.set(pending_s=0.0, role_delay_s=0.0)
        function.client.create_function(
            **{
                "FunctionName": function.name,
                "Runtime": python_name(),
                "Role": role,
                "Handler": "main.handler",
                "Code": {"ZipFile": zipped(main=source)},
                "Timeout": 10,
                **options,
            }
        )
        made.append(function)
        return function

    yield make
    for function in made:
        function.client.delete_function(FunctionName=function.name)
    aws.set(**{**before, "refuse_for_s": 0.0})


def python_name() -> str:
    import sys

    return f"python{sys.version_info[0]}.{sys.version_info[1]}"


def refusal(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


# ---------------------------------------------------------------- sandboxes


def test_a_function_runs_on_awss_own_runtime(make: Callable[..., Function], aws: Aws) -> None:
    function = make(MemorySize=256, Environment={"Variables": {"OWN": "value"}})
    said, tail = function.run("look")
    environment = said["env"]
    assert environment["OWN"] == "value"
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == function.name
    assert environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert environment["AWS_REGION"] == aws.region
    assert 9_000 < said["left_ms"] <= 10_000
    assert "REPORT RequestId: " in tail
    assert "Init Duration" in tail


def test_a_warm_sandbox_is_used_again_and_keeps_its_files(make: Callable[..., Function]) -> None:
    function = make()
    assert [function.run("count")[0] for _ in range(3)] == [1, 2, 3]
    assert [function.run("mark")[0] for _ in range(3)] == ["", "x", "xx"]


def test_a_sandbox_is_frozen_between_invocations(
    make: Callable[..., Function], eventually: Eventually
) -> None:
    function = make()
    pid = function.run("look")[0]["pid"]

    def state() -> str:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]

    eventually(lambda: state() == "T", "it is not stopped")
    assert function.run("look")[0]["pid"] == pid


def test_only_the_package_and_the_sdk_can_be_imported(make: Callable[..., Function]) -> None:
    function = make()
    assert function.run("import", name="boto3")[0] == "boto3"
    for name in ("lithops", "cloudpickle", "pytest", "obstore"):
        assert function.run("import", name=name)[0]["errorType"] == "ModuleNotFoundError"


def test_an_exception_is_a_function_error(make: Callable[..., Function]) -> None:
    said, tail = make().run("raise")
    assert (said["errorType"], said["errorMessage"]) == ("KeyError", "'of the function'")
    assert "[ERROR] KeyError" in tail


def test_too_much_memory_is_killed(make: Callable[..., Function]) -> None:
    function = make(MemorySize=128)
    for do in ("allocate", "child"):
        said, tail = function.run(do, mb=400)
        assert said["errorType"] == "Runtime.ExitError"
        assert "signal: killed" in said["errorMessage"]
        assert "Max Memory Used: 128 MB" in tail
        assert "Error Type: Runtime.OutOfMemory" in tail
    assert function.run("count")[0] == 1


def test_too_much_time_is_killed(make: Callable[..., Function]) -> None:
    began = time.monotonic()
    said, tail = make(Timeout=1).run("sleep", s=30)
    assert 1 <= time.monotonic() - began < 5
    assert "Task timed out after 1.00 seconds" in said["errorMessage"]
    assert "Status: timeout" in tail


@pytest.mark.parametrize(("code", "words"), [(3, "exit status 3"), (0, "without providing a reason")])
def test_a_process_that_ends_is_an_error(make: Callable[..., Function], code: int, words: str) -> None:
    said, tail = make().run("exit", code=code)
    assert words in said["errorMessage"]
    assert "Runtime.ExitError" in tail


@pytest.mark.parametrize(
    ("source", "kind"),
    [("import nowhere", "Runtime.ImportModuleError"), ("def f(:", "Runtime.UserCodeSyntaxError"),
     ("1/0", "ZeroDivisionError"), ("import os; os._exit(4)", "Runtime.ExitError")],
)  # fmt: skip
def test_a_function_that_cannot_start(make: Callable[..., Function], source: str, kind: str) -> None:
    said, tail = make(source).run()
    assert said["errorType"] == kind
    assert "INIT_REPORT" in tail
    assert f"Error Type: {kind}" in tail


def test_logs_go_to_cloudwatch(make: Callable[..., Function], aws: Aws, eventually: Eventually) -> None:
    function = make()
    function.run(word="loudly")
    logs = aws.client("logs")

    def lines() -> list[str]:
        try:
            found = logs.filter_log_events(logGroupName=f"/aws/lambda/{function.name}")
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [event["message"].rstrip() for event in found["events"]]

    eventually(lambda: len(lines()) >= 4, "there are no logs")
    assert [line.split()[0] for line in lines()] == ["START", "said", "END", "REPORT"]


# ---------------------------------------------------------------- sizes


def test_payloads_have_limits(make: Callable[..., Function], eventually: Eventually, tmp_path: Any) -> None:
    function = make()
    file = tmp_path / "ran"
    empty = len(json.dumps({"do": "once", "file": str(file), "x": ""}))
    function.leave("once", file=str(file), x="x" * (1_048_576 - empty))
    eventually(file.exists, "the largest event did not arrive")
    with pytest.raises(ClientError) as error:
        function.leave("once", file=str(file), x="x" * (1_048_577 - empty))
    assert refusal(error) == ("RequestTooLargeException", 413)
    # Each environment counts for itself, and the first may not be free yet.
    assert function.run("count", x="x" * 6_000_000)[0] in (1, 2)
    with pytest.raises(ClientError) as error:
        function.run("count", x="x" * 6_291_456)
    assert refusal(error) == ("RequestTooLargeException", 413)


def test_responses_have_a_limit(make: Callable[..., Function]) -> None:
    function = make(MemorySize=512)
    assert len(function.run("long", length=6_000_000)[0]) == 6_000_000
    assert function.run("long", length=6_400_000)[0]["errorType"] == "Function.ResponseSizeTooLarge"


def test_packages_have_limits(make: Callable[..., Function]) -> None:
    with pytest.raises(ClientError) as error:
        make(Code={"ZipFile": zipped(main=SOURCE, noise=os.urandom(51 << 20))})
    assert refusal(error) == ("RequestEntityTooLargeException", 413)
    with pytest.raises(ClientError, match="Unzipped size must be smaller than 262144000 bytes"):
        make(Code={"ZipFile": zipped(main=SOURCE, zeros=bytes(251 << 20))})
    with pytest.raises(ClientError, match="Could not unzip"):
        make(Code={"ZipFile": b"no zip"})


def test_layers_are_merged_and_counted(make: Callable[..., Function], aws: Aws) -> None:
    client = aws.client("lambda")

    def publish(name: str, **files: str | bytes) -> str:
        made = client.publish_layer_version(LayerName=name, Content={"ZipFile": zipped(**files)})
        return str(made["LayerVersionArn"])

    arns = [publish("l-one", python__one="x = 1"), publish("l-two", python__two="y = 2")]
    function = make(Layers=arns)
    assert function.run("import", name="one")[0] == "one"
    assert function.run("import", name="two")[0] == "two"
    large = publish("l-large", zeros=bytes(249 << 20))
    with pytest.raises(ClientError, match="Unzipped size"):
        make(Layers=[large, publish("l-more", zeros=bytes(2 << 20))])
    with pytest.raises(ClientError, match="more than 5 layers"):
        make(Layers=[arns[0]] * 6)
    assert publish("l-one", python__one="x = 2").endswith(":2")
    listed = client.list_layer_versions(LayerName="l-one", MaxItems=1)["LayerVersions"]
    assert [each["Version"] for each in listed] == [2]
    assert {"l-one", "l-two"} <= {each["LayerName"] for each in client.list_layers()["Layers"]}
    client.delete_layer_version(LayerName="l-one", VersionNumber=2)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_layer_version(LayerName="l-one", VersionNumber=2)


# ---------------------------------------------------------------- concurrency


def test_concurrency_has_a_limit(make: Callable[..., Function], aws: Aws) -> None:
    function = make()
    aws.set(concurrency=2)
    with ThreadPoolExecutor(5) as pool:
        tries = [pool.submit(function.run, "sleep", s=1) for _ in range(5)]
        errors = [one.exception() for one in tries]
    refused = [error for error in errors if error is not None]
    assert len(refused) == 3
    for error in refused:
        assert isinstance(error, ClientError)
        assert error.response["Error"]["Code"] == "TooManyRequestsException"
        assert error.response["Reason"] == "ConcurrentInvocationLimitExceeded"
        assert error.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"


def test_a_function_may_have_a_share(make: Callable[..., Function], aws: Aws) -> None:
    function = make()
    function.client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError) as error:
        function.run()
    assert error.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_new_sandboxes_come_at_a_rate(make: Callable[..., Function], aws: Aws) -> None:
    function = make()
    aws.set(burst=3, burst_every_s=10.0)
    with ThreadPoolExecutor(6) as pool:
        tries = [pool.submit(function.run, "sleep", s=0.5) for _ in range(6)]
        refused = [one for one in tries if one.exception() is not None]
    assert len(refused) == 3
    assert [function.run()[1] for _ in range(2)]  # warm ones are there


def test_events_wait_for_room(make: Callable[..., Function], aws: Aws, eventually: Eventually) -> None:
    function = make()
    aws.set(concurrency=1)
    before = aws.counts["invocations"]
    for _ in range(10):
        function.leave("echo")
    eventually(lambda: aws.counts["invocations"] == before + 10, "events got lost")


def test_a_storm_refuses_a_part(make: Callable[..., Function], aws: Aws) -> None:
    function = make()
    aws.set(refuse_rate=0.5, refuse_for_s=30.0, refuse_with=[429, 500])
    codes = []
    for _ in range(40):
        try:
            function.leave("echo")
        except ClientError as error:
            codes.append(error.response["Error"]["Code"])
    assert 8 <= len(codes) <= 32
    assert set(codes) == {"TooManyRequestsException", "ServiceException"}
    aws.set(refuse_for_s=0.0)
    function.leave("echo")


# ---------------------------------------------------------------- events


def test_a_failed_event_runs_twice_again(
    make: Callable[..., Function], aws: Aws, eventually: Eventually, tmp_path: Any
) -> None:
    function, file = make(), tmp_path / "ticks"
    aws.set(rerun_delay_s=0.05)
    function.leave("tick", file=str(file))
    eventually(lambda: file.exists() and file.read_text() == "xxx", "it did not run three times")


def test_re_runs_can_be_turned_off(
    make: Callable[..., Function], aws: Aws, eventually: Eventually, tmp_path: Any
) -> None:
    function, file = make(), tmp_path / "ticks"
    aws.set(rerun_delay_s=0.05)
    function.client.put_function_event_invoke_config(FunctionName=function.name, MaximumRetryAttempts=0)
    function.leave("tick", file=str(file))
    eventually(file.exists)
    before = aws.counts["reruns"]
    eventually(lambda: function.run("count")[0] >= 2, "its sandbox is not used again")
    assert (aws.counts["reruns"], file.read_text()) == (before, "x")


def test_events_come_twice_now_and_then(
    make: Callable[..., Function], aws: Aws, eventually: Eventually, tmp_path: Any
) -> None:
    function, file = make(), tmp_path / "ticks"
    aws.set(duplicates=1.0)
    function.leave("once", file=str(file))
    eventually(lambda: file.exists() and file.read_text() == "xx")


# ---------------------------------------------------------------- the control plane


def test_a_new_function_is_pending(make: Callable[..., Function], aws: Aws, role: str) -> None:
    function = make()
    aws.set(pending_s=0.5)
    name = f"{function.name}-late"
    options = {"Runtime": python_name(), "Role": role, "Handler": "main.handler"}
    code = {"ZipFile": zipped(main=SOURCE)}
    assert function.client.create_function(FunctionName=name, Code=code, **options)["State"] == "Pending"
    with pytest.raises(function.client.exceptions.ResourceConflictException, match="Pending"):
        function.client.invoke(FunctionName=name, Payload=b"{}")
    with pytest.raises(function.client.exceptions.ResourceConflictException, match="already exist"):
        function.client.create_function(FunctionName=name, Code=code, **options)
    waiter = function.client.get_waiter("function_active_v2")
    waiter.wait(FunctionName=name, WaiterConfig={"Delay": 1})
    changed = function.client.update_function_configuration(FunctionName=name, MemorySize=512)
    assert changed["LastUpdateStatus"] == "InProgress"
    with pytest.raises(function.client.exceptions.ResourceConflictException, match="update is in progress"):
        function.client.update_function_code(FunctionName=name, **code)
    function.client.delete_function(FunctionName=name)
    with pytest.raises(function.client.exceptions.ResourceNotFoundException):
        function.client.get_function_configuration(FunctionName=name)


def test_new_code_is_used_from_the_next_invocation(make: Callable[..., Function]) -> None:
    function = make()
    function.run()
    function.client.update_function_code(
        FunctionName=function.name, ZipFile=zipped(main="def handler(event, context): return 'new'")
    )
    assert function.run()[0] == "new"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"MemorySize": 127}, "greater than or equal to 128"),
        ({"MemorySize": 10241}, "less than or equal to 10240"),
        ({"Timeout": 901}, "less than or equal to 900"),
        ({"EphemeralStorage": {"Size": 511}}, "greater than or equal to 512"),
        ({"Architectures": ["mips"]}, "x86_64, arm64"),
        ({"Runtime": "python2.7"}, "runtime"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "reserved keys"),
        ({"Environment": {"Variables": {"LONG": "x" * 4096}}}, "4KB"),
        ({"VpcConfig": {"SubnetIds": ["subnet-1"]}}, "coexist"),
        ({"FileSystemConfigs": [{"Arn": "arn:aws:elasticfilesystem:eu-west-1:123456789012:access-point/fsap-"
                                 + "0" * 17, "LocalMountPath": "/mnt/x"}]}, "VPC"),
        ({"Tags": {"aws:x": "y"}}, "tag"),
        ({"Role": "arn:aws:iam::123456789012:role/nobody"}, "cannot be assumed by Lambda"),
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_refused(
    make: Callable[..., Function], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClientError, match=words) as error:
        make(**options)
    assert refusal(error)[1] == 400


def test_a_new_role_cannot_be_assumed_for_a_moment(make: Callable[..., Function], aws: Aws) -> None:
    aws.set(role_delay_s=0.3)
    role = aws.make_role("quite-new")
    client, code = aws.client("lambda"), {"ZipFile": zipped(main=SOURCE)}

    def create() -> None:
        client.create_function(
            FunctionName="of-a-new-role", Runtime=python_name(), Role=role, Handler="main.handler", Code=code
        )

    with pytest.raises(ClientError, match="cannot be assumed"):
        create()
    time.sleep(0.4)
    create()
    client.delete_function(FunctionName="of-a-new-role")


def test_lists_have_pages(make: Callable[..., Function]) -> None:
    functions = [make() for _ in range(3)]
    pages = list(
        functions[0].client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
    )
    names = {function["FunctionName"] for page in pages for function in page["Functions"]}
    assert len(pages) >= 2
    assert {function.name for function in functions} <= names


def test_tags(make: Callable[..., Function]) -> None:
    function = make(Tags={"a": "1"})
    about = function.client.get_function(FunctionName=function.name)
    arn = about["Configuration"]["FunctionArn"]
    assert about["Tags"] == {"a": "1"}
    function.client.tag_resource(Resource=arn, Tags={"b": "2"})
    function.client.untag_resource(Resource=arn, TagKeys=["a"])
    assert function.client.list_tags(Resource=arn)["Tags"] == {"b": "2"}


def test_strangers_are_refused(aws: Aws) -> None:
    import dataclasses

    stranger = dataclasses.replace(aws, access_key_id="AKIDSTRANGER").client("lambda")
    with pytest.raises(ClientError) as error:
        stranger.list_functions()
    assert refusal(error) == ("UnrecognizedClientException", 403)


def test_actions_can_be_denied(aws: Aws, make: Callable[..., Function]) -> None:
    make()
    aws.set(denied=["ListFunctions"])
    with pytest.raises(ClientError) as error:
        aws.client("lambda").list_functions()
    aws.set(denied=[])
    assert refusal(error) == ("AccessDeniedException", 403)


def test_invocations_are_limited_by_their_client(make: Callable[..., Function], aws: Aws) -> None:
    function = make()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: function.run(), range(100)))  # warm
        began = time.monotonic()
        list(pool.map(lambda _: function.leave("echo"), range(500)))
        took = time.monotonic() - began
    print(f"{500 / took:.0f} events a second")
    assert 500 / took > 100

"""Activations on AWS: started, refused, lost and counted, through the real SDK, on the stand-in."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aws_fixtures import AwsProgram
from aws_fixtures import aws as aws
from aws_fixtures import aws_program as aws_program

from lithops import FunctionExecutor
from lithops.exceptions import CallTimeout, OutOfMemory, WorkerLost

Eventually = Callable[..., None]
PATIENCE_S = 60.0
SOON_S = 15.0
"""Within so many seconds a death is known: logs are looked into every five."""


@pytest.fixture(params=["direct", "event"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def survivors(executor: FunctionExecutor, function: Callable[[int], Any], kind: type[BaseException]) -> str:
    """Four calls, of which the one with 2 dies: the message of its error. The others must have returned."""
    began = time.monotonic()
    futures = executor.map(function, range(4))
    executor.wait(futures, throw_except=False, timeout=PATIENCE_S)
    assert time.monotonic() - began < SOON_S
    assert [futures[i].result() for i in (0, 1, 3)] == [0, 1, 3]
    error = futures[2].exception()
    assert isinstance(error, kind), error
    return str(error)


# ---------------------------------------------------------------- deaths


def test_out_of_memory(aws_program: AwsProgram, mode: str) -> None:
    def allocate(number: int) -> int:
        if number == 2:
            return len(bytearray(600 << 20))
        return number

    with aws_program.executor(invocation=mode) as executor:
        message = survivors(executor, allocate, OutOfMemory)
        assert "runtime_memory" in message
        assert "signal: killed" in message
        assert "Max Memory Used: 256 MB" in message


def test_the_time_limit_of_an_activation(aws_program: AwsProgram, mode: str) -> None:
    def hang(number: int) -> int:
        if number == 2:
            import signal
            import time

            signal.signal(signal.SIGALRM, signal.SIG_IGN)  # as code that never returns to the interpreter
            time.sleep(60)
        return number

    with aws_program.executor(invocation=mode, runtime_timeout=3) as executor:
        message = survivors(executor, hang, CallTimeout)
        assert "Task timed out after 3.00 seconds" in message
        assert "runtime_timeout" in message


@pytest.mark.parametrize("when", ["during", "after"])
def test_an_exit(aws_program: AwsProgram, mode: str, when: str) -> None:
    def leave(number: int, when: str) -> int:
        import os
        import threading

        if number == 2 and when == "during":
            os._exit(7)
        if number == 2:
            # After the call, while its report is under way.
            from lithops.worker.handler import Worker

            def die(*_: object) -> None:
                os._exit(7)

            Worker._run_call = die  # type: ignore[method-assign,assignment]
            threading.Timer(0.0, os._exit, (7,)).start()
            threading.Event().wait()
        return number

    with aws_program.executor(invocation=mode) as executor:
        began = time.monotonic()
        futures = executor.map(leave, range(4), extra_args=(when,))
        executor.wait(futures, throw_except=False, timeout=PATIENCE_S)
        assert time.monotonic() - began < SOON_S
        assert [futures[i].result() for i in (0, 1, 3)] == [0, 1, 3]
        error = futures[2].exception()
        assert isinstance(error, WorkerLost)
        assert "exit status 7" in str(error)


def test_a_function_that_cannot_start(
    aws_program: AwsProgram, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {"lithops/worker/__init__.py": b"import a_module_that_nobody_has"}
    with aws_program.executor(invocation=mode, namespace="broken") as executor:
        from lithops.compute.backends.aws_lambda import backend
        from lithops.compute.serverless.package import build

        monkeypatch.setattr(
            backend, "build_package", lambda entry, **where: build({**entry, **broken}, **where)
        )
        began = time.monotonic()
        future = executor.call_async(lambda x: x, 1)
        error = future.exception(timeout=PATIENCE_S)
        assert time.monotonic() - began < SOON_S
        assert isinstance(error, WorkerLost)
        assert "a_module_that_nobody_has" in str(error)
        assert "lithops runtime build" in str(error)


def test_a_lost_answer_is_asked_for_again(aws_program: AwsProgram) -> None:
    with aws_program.executor(invocation="direct") as executor:
        executor.map(lambda x: x, range(4))
        executor.get_result(timeout=PATIENCE_S)
        aws_program.aws.set(drop_replies=2)
        executor.map(lambda x: x * 2, range(6))
        assert executor.get_result(timeout=PATIENCE_S) == [0, 2, 4, 6, 8, 10]


def test_logs_that_may_not_be_read_are_told_once(
    aws_program: AwsProgram, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from botocore.exceptions import ClientError

    from lithops.compute.backends.aws_lambda.backend import AwsLambda

    with aws_program.executor(invocation="event") as executor:
        executor.map(lambda x: x, range(2))
        executor.get_result(timeout=PATIENCE_S)
        backend = executor.compute_handler
        assert isinstance(backend, AwsLambda)
        asked = []

        def deny(**_: Any) -> None:
            asked.append(1)
            raise ClientError(
                {"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "FilterLogEvents"
            )

        monkeypatch.setattr(backend._connection.client("logs"), "filter_log_events", deny)
        ids = list(backend._activations._started)
        with caplog.at_level(logging.WARNING, "lithops"):
            assert backend.dead(ids) == {}
            assert backend.dead(ids) == {}
    assert asked == [1]
    assert len([record for record in caplog.records if "logs:FilterLogEvents" in record.message]) == 1


# ---------------------------------------------------------------- refusals


def counting(folder: Path) -> Callable[[int], int]:
    """A function that leaves a file for each time it runs."""
    path = str(folder)

    def count(number: int) -> int:
        import os
        import uuid

        with open(os.path.join(path, f"{number}-{uuid.uuid4().hex}"), "w"):
            return number

    return count


def runs(folder: Path) -> list[int]:
    return sorted(int(name.partition("-")[0]) for name in os.listdir(folder))


@pytest.mark.parametrize(("mode", "storm_s"), [("direct", 3.0), ("event", 3.0), ("auto", 10.0)])
def test_a_storm_of_refusals_loses_nothing(
    aws_program: AwsProgram, mode: str, storm_s: float, tmp_path: Path
) -> None:
    with aws_program.executor(invocation=mode) as executor:
        executor.map(lambda x: x, range(8))
        executor.get_result(timeout=PATIENCE_S)
        aws_program.aws.set(refuse_rate=0.9, refuse_for_s=storm_s, refuse_with=[429, 429, 500])
        before = aws_program.aws.counts["refused"]
        executor.map(counting(tmp_path), range(200))
        assert executor.get_result(timeout=PATIENCE_S) == list(range(200))
    assert aws_program.aws.counts["refused"] > before
    assert runs(tmp_path) == list(range(200))


def test_a_small_concurrency_is_respected(aws_program: AwsProgram, mode: str, tmp_path: Path) -> None:
    aws_program.aws.set(concurrency=3)
    with aws_program.executor(invocation=mode) as executor:
        executor.map(counting(tmp_path), range(60))
        assert executor.get_result(timeout=PATIENCE_S) == list(range(60))
    assert runs(tmp_path) == list(range(60))


def test_duplicate_events_settle_once(aws_program: AwsProgram) -> None:
    aws_program.aws.set(duplicates=0.5)
    with aws_program.executor(invocation="event") as executor:
        executor.map(lambda x: x + 1, range(40))
        assert executor.get_result(timeout=PATIENCE_S) == list(range(1, 41))
    assert aws_program.aws.counts["duplicates"] > 0


def test_a_thousand_activations(aws_program: AwsProgram) -> None:
    with aws_program.executor(invocation="direct") as executor:
        executor.map(lambda x: x, range(24))
        executor.get_result(timeout=PATIENCE_S)
        before = aws_program.aws.counts["invocations"]
        began = time.monotonic()
        executor.map(lambda x: x, range(1000), chunksize=1)
        assert executor.get_result(timeout=PATIENCE_S) == list(range(1000))
        print(f"{1000 / (time.monotonic() - began):.0f} activations a second, with their results")
    assert aws_program.aws.counts["invocations"] - before == 1000


def test_max_workers_is_respected(aws_program: AwsProgram) -> None:
    def rest(_: int) -> tuple[float, float]:
        import time

        began = time.time()
        time.sleep(0.1)
        return began, time.time()

    with aws_program.executor(invocation="event", max_workers=2) as executor:
        spans = executor.get_result(executor.map(rest, range(8)), timeout=PATIENCE_S)
    for began, _ in spans:
        assert sum(start <= began < end for start, end in spans) <= 2


def test_calls_of_one_task_run_at_once(aws_program: AwsProgram, mode: str) -> None:
    def rest(number: int) -> tuple[int, str, float, float]:
        import os
        import time

        began = time.time()
        time.sleep(0.5)
        return number, os.environ["AWS_LAMBDA_FUNCTION_NAME"], began, time.time()

    with aws_program.executor(invocation=mode, worker_processes=2, max_workers=1) as executor:
        results = executor.get_result(executor.map(rest, range(4), chunksize=4), timeout=PATIENCE_S)
    assert [number for number, *_ in results] == [0, 1, 2, 3]
    spans = [(began, ended) for *_, began, ended in results]
    assert max(sum(start <= began < end for start, end in spans) for began, _ in spans) == 2


def test_two_runtimes_at_once(aws_program: AwsProgram) -> None:
    def memory(_: int) -> str:
        import os

        return os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]

    with aws_program.executor() as executor:
        futures = [executor.call_async(memory, 0, runtime_memory=mb) for mb in (256, 512, 256)]
        assert executor.get_result(futures, timeout=PATIENCE_S) == ["256", "512", "256"]


# ---------------------------------------------------------------- what the worker asks of the storage


def spying(file: Path) -> Callable[[int], int]:
    """A function from whose first run on the requests of its sandbox to S3 are written to the file."""
    path = str(file)

    def spy(number: int) -> int:
        import botocore.httpsession as http

        original = http.URLLib3Session.send
        if original.__name__ == "send_and_tell":
            return number

        def send_and_tell(self: Any, request: Any) -> Any:
            with open(path, "a") as log:
                log.write(f"{request.method}\n")
            return original(self, request)

        http.URLLib3Session.send = send_and_tell
        return number

    return spy


@pytest.mark.parametrize(("mode", "expected"), [("direct", []), ("event", ["PUT"])])
def test_how_often_a_warm_worker_asks_the_storage(
    aws_program: AwsProgram, mode: str, expected: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "s3"
    with aws_program.executor(invocation=mode, max_workers=1, namespace="counted") as executor:
        spy = spying(file)
        for _ in range(2):
            executor.call_async(spy, 1)
            executor.get_result(timeout=PATIENCE_S)
        file.write_text("")
        executor.call_async(spy, 2)
        executor.get_result(timeout=PATIENCE_S)
        assert file.read_text().split() == expected


def test_a_worker_without_need_of_storage_does_not_load_its_sdk(aws_program: AwsProgram) -> None:
    def loaded(_: int) -> list[str]:
        import sys

        return sorted(set(sys.modules) & {"boto3", "botocore", "lithops.storage.backends.aws_s3.backend"})

    with aws_program.executor(invocation="direct", namespace="bare") as executor:
        executor.call_async(loaded, 0)
        assert executor.get_result(timeout=PATIENCE_S) == []


# ---------------------------------------------------------------- secrets


def test_no_secret_travels(
    aws_program: AwsProgram, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws, record = aws_program.aws, tmp_path / "requests"
    aws.set(record=str(record))
    stored: list[bytes] = []
    with aws_program.executor(invocation=mode, namespace=f"secret-{mode}") as executor:
        backend = executor.storage.storage_handler
        original = backend.put

        def put(bucket: str, key: str, body: Any, **options: Any) -> Any:
            stored.append(b"".join(bytes(part) for part in body) if isinstance(body, list) else bytes(body))
            return original(bucket, key, body, **options)

        monkeypatch.setattr(backend, "put", put)
        executor.map(lambda x: x, [b"x" * 300_000, b"y"])
        executor.get_result(timeout=PATIENCE_S)
        storage = executor.storage
        stored += [storage.get_object(storage.bucket, key) for key in storage.list_keys(storage.bucket)]
    aws.set(record="")
    travelled = record.read_bytes()
    assert b"/invocations" in travelled
    assert sum(map(len, stored)) > 300_000
    for text in (travelled, *stored):
        for secret in (aws.secret_access_key, aws.access_key_id):
            assert secret.encode() not in text

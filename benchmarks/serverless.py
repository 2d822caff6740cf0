"""Calls on AWS Lambda, as the tests' stand-in has it: ``.venv/bin/python benchmarks/serverless.py``.

Needs the environment of the tests. Everything runs on this machine: the client, the stand-in, and the functions in
AWS's own language runtime, at most 12 at once.
"""

from __future__ import annotations

import argparse
import datetime
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import environments

sys.path.insert(0, str(environments.ROOT / "tests" / "servers"))
sys.path.insert(0, str(environments.ROOT / "tests" / "clouds"))

from aws_fixtures import AwsProgram, running_aws
from faulty_proxy import FaultyProxy
from seaweedfs_server import SeaweedFS, running_seaweedfs

from lithops import FunctionExecutor
from lithops.compute.serverless.package import build

OUTPUT = environments.ROOT / "docs" / "benchmarks" / "serverless.md"
CALLS = 1_000
COUNTED = 200
ROUNDS = 3
WARM = 24
MODES = ("direct", "event", "auto")
ENTRY = "lithops.compute.backends.aws_lambda.entry"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the file for the tables")
    output: Path = parser.parse_args().output
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as scratch:
        (Path(scratch) / "aws").mkdir()
        with running_seaweedfs(Path(scratch)) as storage, running_aws(Path(scratch) / "aws") as aws:
            os.environ.update(aws.environment, AWS_ENDPOINT_URL_S3=storage.endpoint)
            program = AwsProgram(aws, storage)
            _lead_functions_to(program, storage.endpoint)
            tables = [_throughput(program), _requests(program), _latencies(program), _package(Path(scratch))]
            text = "\n".join([_heading(), *(line for table in tables for line in (*table, ""))])
    print(text)
    output.write_text(text)


def _lead_functions_to(program: AwsProgram, endpoint: str) -> None:
    """Give the functions' role its credentials, and the endpoint of the storage."""
    role = {
        "AWS_ACCESS_KEY_ID": SeaweedFS.access_key_id,
        "AWS_SECRET_ACCESS_KEY": SeaweedFS.secret_access_key,
        "AWS_ENDPOINT_URL_S3": endpoint,
    }
    program.aws.set(role_environment=role, recycle=True)


@contextmanager
def _warm(program: AwsProgram, mode: str) -> Iterator[FunctionExecutor]:
    with program.executor(invocation=mode, namespace="bench") as executor:
        executor.map(abs, range(WARM))
        executor.get_result(timeout=60)
        yield executor


def _throughput(program: AwsProgram) -> Iterator[str]:
    yield f"| {CALLS:,} activations of one call each, results included | s | a second | client CPU, ms each |"
    yield "|---|---:|---:|---:|"
    for mode in MODES:
        with _warm(program, mode) as executor:
            yield _row(
                f"`invocation: {mode}`", [_timed(lambda: _map(executor, CALLS)) for _ in range(ROUNDS)]
            )
    yield _row(
        "boto3 alone, 64 threads, a request that is answered at once", [_bare(program) for _ in range(ROUNDS)]
    )


def _map(executor: FunctionExecutor, calls: int) -> None:
    executor.map(abs, range(calls))
    if executor.get_result(timeout=120) != list(range(calls)):
        raise AssertionError("wrong results")


def _bare(program: AwsProgram) -> tuple[float, float]:
    """What the SDK and the stand-in can do: the bound of all that is built on them."""
    from botocore.config import Config

    client = program.aws.client("lambda", config=Config(max_pool_connections=64))
    (name,) = [
        each["FunctionName"]
        for each in client.list_functions()["Functions"]
        if each["FunctionName"].startswith("lithops-bench")
    ][:1]

    def ask(_: int) -> bytes:
        payload: bytes = client.invoke(FunctionName=name, Payload=b'{"describe": true}')["Payload"].read()
        return payload

    with ThreadPoolExecutor(64) as threads:
        list(threads.map(ask, range(WARM)))
        return _timed(lambda: list(threads.map(ask, range(CALLS))))


def _timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds, and seconds of this process' CPU."""
    started, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - cpu


def _row(title: str, rounds: list[tuple[float, float]]) -> str:
    seconds, cpu_s = (statistics.median(each) for each in zip(*rounds, strict=True))
    return f"| {title} | {seconds:.2f} | {CALLS / seconds:,.0f} | {cpu_s / CALLS * 1e3:.2f} |"


def _requests(program: AwsProgram) -> Iterator[str]:
    yield f"| requests of the client to the storage, {COUNTED} calls | PUT | GET | LIST |"
    yield "|---|---:|---:|---:|"
    for mode in ("direct", "event"):
        with FaultyProxy(program.storage.endpoint).running() as proxy:
            os.environ["AWS_ENDPOINT_URL_S3"] = proxy.endpoint
            with _warm(program, mode) as executor:
                proxy.counts.clear()
                _map(executor, COUNTED)
                counts = proxy.counts.copy()
        yield f"| `invocation: {mode}` | {counts['PUT']} | {counts['GET']} | {counts['LIST']} |"
    os.environ["AWS_ENDPOINT_URL_S3"] = program.storage.endpoint


def _latencies(program: AwsProgram) -> Iterator[str]:
    with _warm(program, "auto") as executor:
        warm_s = [_timed(lambda: executor.call_async(abs, -1).result(timeout=60))[0] for _ in range(50)]
        cold_s = []
        for _ in range(7):
            program.aws.set(recycle=True)
            cold_s.append(_timed(lambda: executor.call_async(abs, -1).result(timeout=60))[0])
    yield "| one call, from the program and back | ms, median |"
    yield "|---|---:|"
    yield f"| warm | {statistics.median(warm_s) * 1e3:.1f} |"
    yield f"| cold: the sandbox's process starts first | {statistics.median(cold_s) * 1e3:.0f} |"


def _package(scratch: Path) -> Iterator[str]:
    package = build({}, storage="aws_s3", backend="aws_lambda")
    archive = zipfile.ZipFile(io.BytesIO(package.data))
    archive.extractall(scratch / "package")
    program = (
        f"import sys, time; sys.path.insert(0, {str(scratch / 'package')!r}); started = time.perf_counter(); "
        f"import {ENTRY}; print((time.perf_counter() - started) * 1e3, len(sys.modules), 'boto3' in sys.modules)"
    )
    command = [sys.executable, "-I", "-S", "-c", program]
    lines = [
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(8)
    ]
    imports_ms = [float(ms) for ms, _, _ in lines[1:]]  # the first one compiles
    yield "| what is deployed | |"
    yield "|---|---:|"
    yield f"| the package, bytes | {len(package.data):,} |"
    yield f"| … files | {len(archive.namelist())} |"
    yield f"| import of the entry, ms | {statistics.median(imports_ms):.0f} |"
    yield f"| … modules, the interpreter's own included | {lines[0][1]} |"
    yield f"| … the storage's SDK among them | {'yes' if lines[0][2] == 'True' else 'no'} |"


def _heading() -> str:
    return f"""# Calls on AWS Lambda's stand-in: `.venv/bin/python benchmarks/serverless.py`

Made on {datetime.date.today().isoformat()} on 2 cores, which client, stand-in, storage and functions share. The
stand-in is the tests' ([what it is](../../tests/clouds/aws.md)), with at most 12 sandboxes; the client is boto3. Times:
the median of {ROUNDS} rounds. A real cloud adds its network and its own time to start a sandbox, and takes away the
functions' share of these cores.
"""


if __name__ == "__main__":
    main()

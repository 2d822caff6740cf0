"""Jobs whose storage fails as clouds do: results are exact, and what cannot be helped ends in one clear error."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from faulty_proxy import Fault, FaultyProxy, azure_error, gcs_error, s3_error

from lithops import FunctionExecutor
from lithops.clock import SystemClock
from lithops.compute.backends.localhost.backend import LocalhostCompute
from lithops.compute.base import ComputeBackend, Surroundings
from lithops.config.loader import resolve
from lithops.config.passing import runtime_environment
from lithops.exceptions import AccessDenied, LithopsError, StorageUnavailable
from lithops.future import ResponseFuture
from lithops.storage import Storage, registry
from lithops.testing.functions import LocalFunctions

CALLS = 200
INLINE_BYTES = 2_000
"""Few results are smaller: nearly all of them, and all arguments, go through the storage."""
END_S = 90.0
"""By when everything has ended, well or badly."""

Config = dict[str, Any]
ConfigOf = Callable[[str], Config]
Executors = Callable[[Config, str], Any]

ERRORS = {"minio": s3_error, "gcp_storage": gcs_error, "azure_storage": azure_error}


@contextmanager
def proxied(config: Config, **options: Any) -> Iterator[tuple[Config, FaultyProxy]]:
    """The same configuration with a proxy in front of its storage."""
    name = config["lithops"]["storage"]
    url = urlsplit(config[name]["endpoint"])
    with FaultyProxy(f"http://{url.netloc}", errors=ERRORS[name], **options).running() as proxy:
        section = {**config[name], "endpoint": proxy.endpoint + url.path, "storage_bucket": "lithops-faults"}
        yield {**config, name: section}, proxy


@contextmanager
def executor_over(config: Config, compute_name: str, **section: Any) -> Iterator[FunctionExecutor]:
    """An executor whose calls send nearly everything through the storage."""
    lithops = {
        "backend": "localhost",
        "data_limit": False,
        "include_modules": None,
        "monitoring_interval": 0.2,
    }
    settings = resolve({**config, "lithops": {**config["lithops"], **lithops, **section}})
    environment = runtime_environment(settings)
    compute: ComputeBackend
    if compute_name == "functions":
        compute = LocalFunctions(inline_bytes=INLINE_BYTES, environment=environment)
    else:
        compute = LocalhostCompute(settings.compute, Surroundings(environment=environment))
    storage = registry.create(settings.storage_name, settings.storage)
    clock = SystemClock()
    with FunctionExecutor.over(compute, storage, settings, clock=clock, threaded=True) as executor:
        yield executor
    storage.close()


@pytest.fixture(autouse=True)
def small_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lithops.compute.backends.localhost.backend._INLINE_BYTES", INLINE_BYTES)


def bodies(seed: int) -> list[bytes]:
    chance = random.Random(seed)
    return [chance.randbytes(chance.choice([10, 3_000, 50_000])) for _ in range(CALLS)]


# ---------------------------------------------------------------- faults that pass


@pytest.mark.parametrize(
    ("storage", "compute", "seed", "rate"),
    [
        ("minio", "localhost", 1, 0.2),
        ("minio", "functions", 2, 0.2),
        ("gcp_storage", "functions", 3, 0.2),
        ("azure_storage", "functions", 4, 0.2),
    ],
)
def test_no_result_is_lost_or_wrong(
    storage_config: ConfigOf, tmp_path: Path, storage: str, compute: str, seed: int, rate: float
) -> None:
    def turned(index: int, body: bytes) -> bytes:
        # Whole in one step, and not through the storage: it says how often the call has run.
        with open(f"{folder}/{index}", "ab", buffering=0) as file:
            file.write(b".")
        return body[::-1] * 2

    folder, inputs = str(tmp_path), bodies(seed)
    settled: Counter[str] = Counter()
    with proxied(storage_config(storage), seed=seed, stall_s=0.1) as (config, proxy):
        with executor_over(config, compute) as executor:
            proxy.rate = rate
            futures = executor.map(turned, list(enumerate(inputs)))
            for future in futures:
                future.add_done_callback(lambda future: settled.update([future.call_id]))
            results = executor.get_result(timeout=END_S)
            executor.clean()
            left = executor.storage.list_keys(executor.storage.bucket)
        assert proxy.injected.total() > CALLS * rate / 2, proxy.counts
    assert results == [body[::-1] * 2 for body in inputs]
    assert settled == {future.call_id: 1 for future in futures}
    # Nobody asked for retries, and no worker died: each call has run once.
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        str(index): b"." for index in range(CALLS)
    }
    assert [key for key in left if executor.executor_id in key] == []


def test_calls_that_fail_are_run_again_as_often_as_was_asked(
    storage_config: ConfigOf, tmp_path: Path
) -> None:
    def third_time(index: int, body: bytes) -> bytes:
        with open(f"{folder}/{index}", "ab+", buffering=0) as file:
            file.write(b".")
            file.seek(0)
            if len(file.read()) < 3:
                raise RuntimeError("not yet" + "." * 5_000)
        return body * 3

    folder, inputs = str(tmp_path), bodies(3)[:50]
    with (
        proxied(storage_config("minio"), seed=3, stall_s=0.1) as (config, proxy),
        executor_over(config, "functions") as executor,
    ):
        proxy.rate = 0.2
        executor.map(third_time, list(enumerate(inputs)), retries=2)
        assert executor.get_result(timeout=END_S) == [body * 3 for body in inputs]
    assert {path.stat().st_size for path in tmp_path.iterdir()} == {3}


def test_map_reduce_under_faults(storage_config: ConfigOf) -> None:
    inputs = bodies(4)[:60]
    with (
        proxied(storage_config("minio"), seed=4, stall_s=0.1) as (config, proxy),
        executor_over(config, "functions") as executor,
    ):
        proxy.rate = 0.2
        executor.map_reduce(lambda body: body * 2, inputs, lambda results: b"".join(results))
        assert executor.get_result(timeout=END_S) == b"".join(body * 2 for body in inputs)


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_objects_are_exact_under_faults(storage_config: ConfigOf, tmp_path: Path, name: str) -> None:
    data = random.Random(5).randbytes(30_000_000)
    (tmp_path / "source").write_bytes(data)
    with proxied(storage_config(name), seed=5, stall_s=0.1) as (config, proxy):
        storage = Storage(config)
        storage.create_bucket(storage.bucket)
        proxy.rate = 0.2
        for turn in range(2):
            assert storage.upload_file(str(tmp_path / "source"), storage.bucket, "large")
            assert storage.download_file(storage.bucket, "large", str(tmp_path / "copy"))
            assert (tmp_path / "copy").read_bytes() == data
            assert storage.get_object(storage.bucket, "large") == data
            part = storage.get_object(storage.bucket, "large", extra_get_args={"Range": "bytes=-70000"})
            assert part == data[-70000:]
            storage.put_object(storage.bucket, f"small/{turn}", b"%d" % turn)
        assert storage.list_keys(storage.bucket, "small/") == ["small/0", "small/1"]
        storage.delete_objects(storage.bucket, storage.list_keys(storage.bucket))
        proxy.heal()
        assert storage.list_keys(storage.bucket) == []
        storage.storage_handler.close()


# ---------------------------------------------------------------- what cannot be helped


def start_job(executor: FunctionExecutor) -> list[ResponseFuture]:
    """A job that is under way: some of its calls have returned, most have not."""

    def slow(body: bytes) -> bytes:
        time.sleep(0.02)
        return body * 2

    futures: list[ResponseFuture] = executor.map(slow, [bytes(5_000)] * CALLS)
    for future in futures[:5]:
        assert future.result(timeout=END_S) == bytes(10_000)
    return futures


def ending(
    executor: FunctionExecutor, caplog: pytest.LogCaptureFixture, spoil: Callable[[], None]
) -> LithopsError:
    """How a job ends whose storage is spoilt in the middle of it."""
    futures = start_job(executor)
    caplog.clear()
    started = time.monotonic()
    spoil()
    with pytest.raises(LithopsError) as caught:
        executor.get_result(timeout=END_S)
    executor.cancel()
    assert all(future.done for future in futures)
    assert time.monotonic() - started < END_S
    # One error, and no traceback of ours beside it.
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
    assert "please report" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("compute", ["localhost", "functions"])
def test_a_bucket_that_vanishes(
    storage_config: ConfigOf, caplog: pytest.LogCaptureFixture, compute: str
) -> None:
    with (
        proxied(storage_config("minio")) as (config, proxy),
        executor_over(config, compute) as executor,
    ):
        error = ending(executor, caplog, lambda: proxy.fail_all(404, "NoSuchBucket"))
    assert "there is no bucket 'lithops-faults'; check the name, or create it" in str(error)


@pytest.mark.parametrize("compute", ["localhost", "functions"])
def test_a_secret_that_expires(
    storage_config: ConfigOf, caplog: pytest.LogCaptureFixture, compute: str
) -> None:
    with (
        proxied(storage_config("minio")) as (config, proxy),
        executor_over(config, compute) as executor,
    ):
        error = ending(executor, caplog, lambda: proxy.fail_all(403, "ExpiredToken"))
    assert "ExpiredToken" in str(error)
    assert "renew" in str(error)


@pytest.mark.parametrize("compute", ["localhost", "functions"])
def test_a_storage_that_stays_down(
    storage_config: ConfigOf, caplog: pytest.LogCaptureFixture, compute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lithops.storage.patience.ATTEMPTS", 4)  # here: workers are as patient as ever
    with (
        proxied(storage_config("minio")) as (config, proxy),
        executor_over(config, compute, execution_timeout=30) as executor,
    ):
        error = ending(executor, caplog, lambda: proxy.fail_all(503, "SlowDown"))
    assert "try again later" in str(error)


def test_a_storage_that_is_down_from_the_start(storage_config: ConfigOf) -> None:
    with proxied(storage_config("minio")) as (config, proxy):
        proxy.fail_all(403, "ExpiredToken")
        with executor_over(config, "localhost") as executor, pytest.raises(AccessDenied, match="renew"):
            executor.map(len, [bytes(5_000)])


def test_a_storage_that_never_answers_is_not_waited_for(
    storage_config: ConfigOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lithops.storage.backends.aws_s3.connection.READ_S", 0.3)
    with proxied(storage_config("minio"), seed=6, kinds=[Fault.STALL], stall_s=600) as (config, proxy):
        storage = Storage(config)
        storage.create_bucket(storage.bucket)
        proxy.rate = 0.3
        for number in range(10):
            storage.put_object(storage.bucket, "k", b"%d" % number)
            assert storage.get_object(storage.bucket, "k") == b"%d" % number
        proxy.rate = 1.0
        started = time.monotonic()
        with pytest.raises(StorageUnavailable, match=proxy.endpoint):
            storage.get_object(storage.bucket, "k")
        assert time.monotonic() - started < 30
        storage.storage_handler.close()


# ---------------------------------------------------------------- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only who may mount file systems has a small one to fill")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("compute", ["localhost", "functions"])
def test_a_disk_that_fills_up(small_disk: Path, caplog: pytest.LogCaptureFixture, compute: str) -> None:
    config = {"lithops": {"storage": "localhost"}, "localhost": {"root": str(small_disk)}}
    with executor_over(config, compute) as executor:

        def fill() -> None:
            # To the last page, of which the job may be taking some just now.
            with open(small_disk / "somebody's file", "wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4096))

        error = ending(executor, caplog, fill)
        assert "free space there, or move `root` to a larger disk" in str(error)
        with pytest.raises(StorageUnavailable, match="free space there"):
            executor.map(len, [bytes(3_000_000)])
        # Once there is room again, the same executor goes on.
        (small_disk / "somebody's file").unlink()
        executor.clean(force=True)
        assert executor.call_async(len, (bytes(5_000),)).result(timeout=END_S) == 5_000

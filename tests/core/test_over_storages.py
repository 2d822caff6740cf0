"""Jobs whose workers report through a storage alone, over every storage: what they leave, and what they cost."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty_proxy import FaultyProxy
from seaweedfs_server import SeaweedFS

from lithops import Storage
from lithops.clock import SystemClock
from lithops.config.loader import resolve
from lithops.config.passing import runtime_environment
from lithops.exceptions import StorageError, StorageNoSuchKeyError
from lithops.executors import FunctionExecutor
from lithops.prepare.partition import partition
from lithops.storage import registry
from lithops.storage.base import StorageBackend
from lithops.storage.urls import SCHEMES
from lithops.testing.functions import LocalFunctions
from lithops.wire.keys import CLOUDOBJECTS_PREFIX, JOBS_PREFIX
from lithops.worker.data import open_part

# It has its storages by itself.
pytestmark = pytest.mark.localhost_storage
Configure = Callable[[str], dict[str, Any]]
LARGE = 300_000


def open_executor(config: dict[str, Any], bucket: str) -> FunctionExecutor:
    """Over functions in two processes of this machine, and the storage of the configuration."""
    name = config["lithops"]["storage"]
    config = {**config, name: {**config[name], "storage_bucket": bucket}}
    settings = resolve(config, log_level=None)
    storage = registry.create(name, settings.storage)
    compute = LocalFunctions(environment=runtime_environment(settings))
    return FunctionExecutor.over(compute, storage, settings, clock=SystemClock(), threaded=True)


@pytest.fixture(scope="module", params=["localhost", "minio", "gcp_storage", "azure_storage", "redis"])
def config(request: pytest.FixtureRequest, storage_config: Configure) -> dict[str, Any]:
    return storage_config(request.param)


@pytest.fixture
def store(config: dict[str, Any]) -> Iterator[Storage]:
    """What a stranger sees of the bucket."""
    name = config["lithops"]["storage"]
    storage = Storage(backend=name, storage_config={**config[name], "storage_bucket": "over-storages"})
    storage.create_bucket(storage.bucket)
    yield storage
    storage.delete_objects(storage.bucket, storage.list_keys(storage.bucket))
    handler: StorageBackend = storage.storage_handler
    handler.close()


def double(data: bytes) -> bytes:
    return data + data


def noted(number: int, storage: Any) -> Any:
    return storage.put_cloudobject(b"%d" % number)


def test_everything_that_is_large_goes_through_the_storage(config: dict[str, Any], store: Storage) -> None:
    ballast = os.urandom(LARGE)

    def salted(data: bytes) -> bytes:
        return data + ballast[:1]

    datas = [os.urandom(LARGE) for _ in range(4)]
    with open_executor(config, store.bucket) as executor:
        executor.map(double, datas)
        assert executor.get_result(timeout=60) == [data + data for data in datas]
        executor.map_reduce(salted, datas, lambda results: b"".join(results))
        assert executor.get_result(timeout=60) == b"".join(data + ballast[:1] for data in datas)
        kinds = {key.split("/")[2] for key in store.list_keys(store.bucket, JOBS_PREFIX)}
        assert kinds >= {"arguments", "results", "status"}
    assert store.list_keys(store.bucket) == [], "an executor that has ended leaves nothing"


def test_cloud_objects_live_until_they_are_deleted(config: dict[str, Any], store: Storage) -> None:
    with open_executor(config, store.bucket) as executor:
        executor.map(noted, range(3))
        objects = executor.get_result(timeout=60)
    assert [store.get_cloudobject(each) for each in objects] == [b"0", b"1", b"2"]
    assert len(store.list_keys(store.bucket, CLOUDOBJECTS_PREFIX)) == 3
    store.delete_cloudobjects(objects)
    assert store.list_keys(store.bucket) == []


def test_a_program_that_may_keep_its_data(config: dict[str, Any], store: Storage) -> None:
    keeping = {**config, "lithops": {**config["lithops"], "data_cleaner": False}}
    with open_executor(keeping, store.bucket) as executor:
        executor.call_async(double, b"x")
        assert executor.get_result(timeout=60) == b"xx"
    assert store.list_keys(store.bucket, JOBS_PREFIX) != []


READER = """
import pickle, sys
futures = pickle.load(open(sys.argv[1], "rb"))
print([future.result(timeout=60) for future in futures])
"""


def test_another_program_reads_the_results(config: dict[str, Any], store: Storage, tmp_path: Path) -> None:
    name = config["lithops"]["storage"]
    with open_executor(config, store.bucket) as executor:
        futures = executor.map(double, [b"a", b"b"])
        (tmp_path / "futures").write_bytes(pickle.dumps(list(futures)))
        program = [sys.executable, "-c", READER, str(tmp_path / "futures")]
        # It knows the storage by a configuration of its own.
        (tmp_path / "config").write_text(repr({"lithops": {"storage": name}, name: config[name]}))
        environment = {**os.environ, "LITHOPS_CONFIG": "", "LITHOPS_CONFIG_FILE": str(tmp_path / "config")}
        environment["PYTHONPATH"] = str(Path(__file__).parent)
        read = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=90)
        assert read.stdout == "[b'aa', b'bb']\n", read.stderr


KILLED = """
import os, signal, sys
from test_over_storages import double, open_executor
executor = open_executor(eval(sys.argv[1]), sys.argv[2])
executor.map(double, [bytes(300_000)] * 2)
executor.get_result()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_program_leaves_goes_by_the_command_line(
    config: dict[str, Any], store: Storage, tmp_path: Path
) -> None:
    name = config["lithops"]["storage"]
    paths = [str(Path(__file__).parent), *filter(None, sys.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    program = [sys.executable, "-c", KILLED, repr(config), store.bucket]
    ended = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=90)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert store.list_keys(store.bucket, JOBS_PREFIX) != []
    store.put_object(store.bucket, "mine.csv", b"1,2")
    section = {**config[name], "storage_bucket": store.bucket}
    (tmp_path / "config").write_text(repr({**config, name: section}))
    command = [sys.executable, "-m", "lithops.cli.main", "clean", "-c", str(tmp_path / "config")]
    young = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert "jobs: 0 objects removed" in young.stdout
    assert "younger ones stay" in young.stdout
    command += ["--older-than", "0s"]
    subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert store.list_keys(store.bucket) == ["mine.csv"]


@pytest.mark.parametrize("calls", [50, 400])
def test_a_job_of_small_calls_is_cheap(seaweedfs: SeaweedFS, storage_config: Configure, calls: int) -> None:
    """As the server counts: one PUT and one GET a call, and little else, cleaning included."""
    config = storage_config("minio")
    with FaultyProxy(seaweedfs.endpoint).running() as proxy:
        section = {**config["minio"], "endpoint": proxy.endpoint}
        with open_executor({**config, "minio": section}, "budget") as executor:
            executor.map(abs, range(calls))
            assert executor.get_result(timeout=100) == list(range(calls))
        counts = proxy.counts
    assert counts["PUT"] <= calls + 1, "the bucket is one more"
    assert counts["GET"] <= calls
    others = counts.total() - min(counts["PUT"], calls) - counts["GET"]
    assert others <= 20 + 0.05 * calls, counts


def test_data_that_changes_after_it_was_cut_is_refused(store: Storage) -> None:
    store.put_object(store.bucket, "data/numbers", "1\n2\n3\n")
    pieces = partition([f"{store.bucket}/data/"], storage=store.storage_handler, chunk_size=2)
    assert [open_part(piece.part, store.storage_handler).data_stream.read() for piece in pieces] == [
        b"1\n",
        b"2\n",
        b"3\n",
    ]
    store.put_object(store.bucket, "data/numbers", "7\n8\n9\n")
    for piece in pieces:
        with pytest.raises(StorageError, match="changed after it was partitioned"):
            open_part(piece.part, store.storage_handler).data_stream.read()


def test_data_that_is_not_there_is_named_by_its_url(store: Storage) -> None:
    scheme = SCHEMES.get(store.backend, store.backend)
    with pytest.raises(StorageNoSuchKeyError, match=f"{scheme}://{store.bucket}/data/missing"):
        partition([f"{store.bucket}/data/missing"], storage=store.storage_handler)

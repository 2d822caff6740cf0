"""What is deployed: small, complete, and the same to the byte."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lithops.compute.base import Surroundings
from lithops.compute.serverless.package import build, worker_requirements
from lithops.exceptions import ConfigError

CLOUDS = {"aws_lambda": "aws_s3", "gcp_functions": "gcp_storage", "azure_functions": "azure_storage"}
ENTRY = {"main.py": b"print('hello')\n"}


@pytest.mark.parametrize(("backend", "storage"), CLOUDS.items())
def test_a_package_is_small_and_holds_what_is_needed(backend: str, storage: str) -> None:
    package = build(ENTRY, storage=storage, backend=backend)
    assert len(package.data) < 200_000
    names = set(zipfile.ZipFile(io.BytesIO(package.data)).namelist())
    assert {"main.py", f"lithops/compute/backends/{backend}/entry.py", "lithops/worker/sandbox.py"} <= names
    folders = {name.rpartition("/")[0] for name in names}
    assert not folders & {
        "lithops/prepare",
        "lithops/monitor",
        "lithops/cli",
        "lithops/config",
        "lithops/testing",
    }
    assert f"lithops/compute/backends/{backend}/backend.py" not in names
    others = {f"lithops/storage/backends/{each}" for each in [*CLOUDS.values(), "redis"] if each != storage}
    assert not folders & others


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    """In another process, at another time, under another umask and hash seed."""
    program = (
        "import os, sys; os.umask(0o077); sys.dont_write_bytecode = True\n"
        "from lithops.compute.serverless.package import build\n"
        f"package = build({ENTRY!r}, storage='aws_s3', backend='aws_lambda')\n"
        f"open({str(tmp_path / 'package')!r}, 'wb').write(package.data); print(package.digest)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    digest = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    package = build(ENTRY, storage="aws_s3", backend="aws_lambda")
    assert (tmp_path / "package").read_bytes() == package.data
    assert digest.strip() == package.digest


def test_another_content_has_another_name() -> None:
    digests = {
        build({"main.py": content}, storage=storage, backend="aws_lambda").digest
        for content in (b"1", b"2")
        for storage in ("aws_s3", "redis")
    }
    assert len(digests) == 4


@pytest.mark.parametrize("storage", ["aws_s3", "minio", "gcp_storage", "azure_storage", "redis", "localhost"])
def test_the_worker_of_a_package_starts_with_nothing_else_there(tmp_path: Path, storage: str) -> None:
    zipfile.ZipFile(io.BytesIO(build(ENTRY, storage=storage, backend="aws_lambda").data)).extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from lithops.worker.sandbox import Sandbox\n"
        "import lithops.worker.child, lithops.worker.children, lithops.worker.data, lithops.storage.client\n"
        "import cloudpickle, lithops\n"
        "print(Sandbox(isolated=False).answer({'describe': True}, 'a')['version'], lithops.__file__)\n"
    )
    started = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert str(tmp_path) in started.stdout


def test_what_reaches_shared_objects_is_there_where_they_are_configured() -> None:
    with_it, without = (
        {
            info.filename
            for info in zipfile.ZipFile(
                io.BytesIO(build(ENTRY, storage="aws_s3", backend="aws_lambda", shares_state=shares).data)
            ).infolist()
        }
        for shares in (True, False)
    )
    assert "lithops/multiprocessing/work.py" in without
    assert {"lithops/multiprocessing/queues.py", "lithops/multiprocessing/managers.py"} <= with_it - without
    assert not {name for name in with_it if name.endswith(("pool.py", "program.py", "embedded.py"))}
    assert worker_requirements(Surroundings("aws_s3", shares_state=True)) == ["boto3>=1.36", "redis>=5.0"]
    assert worker_requirements(Surroundings("redis", shares_state=True)) == ["redis>=5.0"]


def test_what_pip_has_to_install() -> None:
    assert worker_requirements(Surroundings("localhost")) == []
    assert [each.partition(">")[0] for each in worker_requirements(Surroundings("gcp_storage"))] == [
        "google-cloud-storage"
    ]


def test_a_storage_of_another_package_is_not_deployed() -> None:
    with pytest.raises(ConfigError, match="lithops runtime build"):
        build(ENTRY, storage="nimbus", backend="aws_lambda")

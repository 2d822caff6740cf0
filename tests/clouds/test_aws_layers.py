"""Custom runtimes on AWS: requirements become layers that functions import from."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from aws_fixtures import AwsProgram
from aws_fixtures import aws as aws
from aws_fixtures import aws_program as aws_program

from lithops.compute.backends.aws_lambda import layers
from lithops.compute.backends.aws_lambda.backend import AwsLambda
from lithops.compute.backends.aws_lambda.images import second_dockerfile
from lithops.exceptions import ComputeError

PATIENCE_S = 60.0
MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    """A ``requirements.txt`` of one package, whose wheel lies beside it: nothing is downloaded."""
    make_wheel(tmp_path, "1.0")
    file = tmp_path / "requirements.txt"
    file.write_text(f"--no-index\n--find-links {tmp_path}\nfrom-a-layer\n")
    return file


def make_wheel(folder: Path, version: str, platform: str = "any") -> None:
    information = f"from_a_layer-{version}.dist-info"
    with zipfile.ZipFile(folder / f"from_a_layer-{version}-py3-none-{platform}.whl", "w") as wheel:
        wheel.writestr("from_a_layer.py", f"VERSION = '{version}'\n")
        wheel.writestr(
            f"{information}/METADATA", f"Metadata-Version: 2.1\nName: from-a-layer\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{information}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-{platform}\n"
        )
        wheel.writestr(f"{information}/RECORD", "")


def test_a_runtime_of_requirements(aws_program: AwsProgram, requirements: Path) -> None:
    def version(_: int) -> str:
        import from_a_layer  # type: ignore[import-not-found]

        return str(from_a_layer.VERSION)

    def run() -> str:
        with aws_program.executor(runtime="mine", namespace="layers") as executor:
            future = executor.call_async(version, 0, include_modules=None)
            return str(future.result(timeout=PATIENCE_S))

    with aws_program.executor(namespace="layers") as executor:
        backend = executor.compute_handler
        assert isinstance(backend, AwsLambda)
        assert "arn:aws:lambda" in backend.build("mine", requirements)
        assert run() == "1.0"
        make_wheel(requirements.parent, "2.0")
        backend.build("mine", requirements)
        assert run() == "2.0"
        assert {info.name for info in backend.runtimes()} == {"mine"}
        backend.remove("mine")
        assert backend.runtimes() == []
        with pytest.raises(ComputeError, match="lithops runtime build"):
            backend.deploy("mine", 0, 60)


def test_the_sdk_of_another_clouds_storage_comes_by_itself(
    aws_program: AwsProgram, requirements: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "lithops.compute.backends.aws_lambda.backend"
    monkeypatch.setattr(f"{module}.worker_requirements", lambda surroundings: ["boto3>=1.36", "from-a-layer"])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(requirements.parent))

    def version(_: int) -> str:
        import from_a_layer

        return str(from_a_layer.VERSION)

    for _ in range(2):
        with aws_program.executor(namespace="sdk") as executor:
            assert executor.call_async(version, 0, include_modules=None).result(timeout=PATIENCE_S) == "1.0"
    layers = aws_program.aws.client("lambda").list_layers()["Layers"]
    (layer,) = (each for each in layers if each["LayerName"].startswith("lithops-sdk-storage-aws-s3"))
    assert layer["LatestMatchingVersion"]["Version"] == 1


def test_pips_own_words_are_told(aws_program: AwsProgram, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("--no-index\na-package-that-nobody-has\n")
    with aws_program.executor() as executor:
        backend = executor.compute_handler
        assert isinstance(backend, AwsLambda)
        with pytest.raises(ComputeError, match="a-package-that-nobody-has"):
            backend.build("mine", file)


@pytest.mark.parametrize("name", ["", "python3.11", "1.dkr.ecr.eu-west-1.amazonaws.com/x"])
def test_names_that_are_taken(aws_program: AwsProgram, requirements: Path, name: str) -> None:
    with aws_program.executor() as executor:
        backend = executor.compute_handler
        assert isinstance(backend, AwsLambda)
        with pytest.raises(ComputeError, match="take another one"):
            backend.build(name, requirements)
        with pytest.raises(ComputeError, match="there is no file"):
            backend.build("mine", requirements.with_name("nowhere.txt"))


def installed(folder: Path, python: str, architecture: str) -> str:
    """The version that is installed for Lambda, of the wheels in the folder."""
    target = folder / "target"
    given = ["--no-index", "--find-links", str(folder), "from-a-layer"]
    layers.install(given, target, python=python, architecture=architecture)
    return (target / "from_a_layer.py").read_text().split("'")[1]


@pytest.mark.parametrize(
    ("python", "architecture", "expected"),
    [
        ("3.10", "x86_64", "2.26"),
        ("3.11", "x86_64", "2.26"),
        ("3.11", "arm64", "2.26"),
        ("3.12", "x86_64", "2.34"),
        ("3.13", "arm64", "2.34"),
    ],
)
def test_no_wheel_needs_a_newer_c_library_than_lambda_has(
    tmp_path: Path, python: str, architecture: str, expected: str
) -> None:
    for minor in (17, 24, 26, 27, 28, 34, 35):
        make_wheel(tmp_path, f"2.{minor}", f"manylinux_2_{minor}_{MACHINES[architecture]}")
    assert installed(tmp_path, python, architecture) == expected


@pytest.mark.parametrize("platform", ["manylinux1", "manylinux2010", "manylinux2014", "manylinux_2_5"])
@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_wheels_for_old_systems_will_do(tmp_path: Path, python: str, platform: str) -> None:
    make_wheel(tmp_path, "1.0", f"{platform}_x86_64")
    assert installed(tmp_path, python, "x86_64") == "1.0"


def test_too_much_names_the_largest(tmp_path: Path) -> None:
    for name, size in (("giant", 200 << 20), ("large", 60 << 20), ("small", 1000)):
        (tmp_path / name).mkdir()
        with (tmp_path / name / "data.bin").open("wb") as file:
            file.truncate(size)
    with pytest.raises(ComputeError, match=r"giant \(200 MB\), large \(60 MB\), small \(0 MB\)"):
        layers.check_size(tmp_path)


def test_what_one_layer_cannot_hold_is_spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_ZIPPED_BYTES", 10_000)
    for number in range(6):
        (tmp_path / f"part{number}.bin").write_bytes(os.urandom(4000))
    archives = layers.pack(tmp_path)
    assert len(archives) == 3
    assert all(len(archive.data) <= 10_000 for archive in archives)
    assert archives == layers.pack(tmp_path)
    (tmp_path / "part9.bin").write_bytes(os.urandom(11_000))
    with pytest.raises(ComputeError, match=r"part9\.bin"):
        layers.pack(tmp_path)


def test_a_layer_is_readable_whatever_the_files_are(tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("x = 1")
    (tmp_path / "secret.py").chmod(0o600)
    (archive,) = layers.pack(tmp_path)
    (tmp_path / "out.zip").write_bytes(archive.data)
    (entry,) = zipfile.ZipFile(tmp_path / "out.zip").infolist()
    assert entry.filename == "python/secret.py"
    assert entry.external_attr >> 16 & 0o444 == 0o444


def test_the_second_dockerfile() -> None:
    assert second_dockerfile("mine:1").splitlines() == [
        "FROM mine:1",
        "COPY worker/ ${LAMBDA_TASK_ROOT:-/var/task}/",
        'CMD ["lithops.compute.backends.aws_lambda.entry.handler"]',
    ]

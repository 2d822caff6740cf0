"""joblib in functions of the stand-in for AWS Lambda."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from aws_fixtures import Aws, program_on
from aws_fixtures import aws as aws
from joblib_conformance import REQUIREMENTS, RUNTIME, JoblibOnACloud
from seaweedfs_server import SeaweedFS

from lithops.compute.backends.aws_lambda.backend import AwsLambda

_PACKAGES = ("joblib", "cloudpickle", "numpy")
_NAMESPACE = "joblib"


@pytest.fixture(scope="module")
def configuration(
    aws: Aws, seaweedfs: SeaweedFS, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """Its packages are this machine's: none is downloaded."""
    folder = tmp_path_factory.mktemp("wheels")
    for package in _PACKAGES:
        pack(metadata.distribution(package), folder)
    requirements = folder / "requirements.txt"
    requirements.write_text(f"--no-index\n--find-links {folder}\n{REQUIREMENTS}")
    with program_on(aws, seaweedfs) as program:
        with program.executor(namespace=_NAMESPACE) as executor:
            assert isinstance(executor.compute_handler, AwsLambda)
            executor.compute_handler.build(RUNTIME, requirements)
        yield program.config(namespace=_NAMESPACE, runtime=RUNTIME)


def pack(package: metadata.Distribution, folder: Path) -> None:
    """A wheel of what is installed, less its tests. It says that it is of any machine: the stand-in's is this one."""
    name = f"{package.name.replace('-', '_')}-{package.version}"
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as wheel:
        for file in package.files or ():
            if not {"..", "tests", "__pycache__"} & set(file.parts) and file.name not in ("RECORD", "WHEEL"):
                wheel.write(str(file.locate()), file.as_posix())
        wheel.writestr(
            f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{name}.dist-info/RECORD", "")


class TestJoblib(JoblibOnACloud):
    function_name = "AWS_LAMBDA_FUNCTION_NAME"

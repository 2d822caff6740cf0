"""Custom runtimes of a ``requirements.txt``: the packages lie in layers beside the function's own code.

A layer holds 50 MB as it is sent, and a function has up to five of them, together 250 MB unzipped. So what is
installed is spread over as many layers as it needs; in the function they are one folder.
"""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lithops.compute.backends.aws_lambda.config import AwsLambdaConfig
from lithops.compute.backends.aws_lambda.connection import Connection, translate_errors
from lithops.compute.backends.aws_lambda.names import digest, resource_name
from lithops.exceptions import ComputeError

_ZIPPED_BYTES = 48 << 20
_UNZIPPED_BYTES = 245 << 20
"""A little less than Lambda allows: the function's own code is counted as well."""
_MOST_LAYERS = 5
_EPOCH = (1980, 1, 1, 0, 0, 0)
_OLD_PYTHONS = ("3.10", "3.11")
"""Lambda runs these on Amazon Linux 2, and later ones on Amazon Linux 2023."""
_GLIBC, _OLD_GLIBC, _OLDEST_GLIBC = 34, 26, 5
"""The version of their C library, without the ``2.`` before it, and the first that wheels were made for."""
_OLD_NAMES = ("manylinux2014", "manylinux2010", "manylinux1")
_MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
_LISTED = 8

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Layers:
    """A runtime that has been built."""

    arns: tuple[str, ...]
    content: str


class LayerStore:
    """The layers of this account's custom runtimes."""

    def __init__(self, config: AwsLambdaConfig, connection: Connection) -> None:
        self._config = config
        self._connection = connection

    def find(self, runtime: str, python: str) -> Layers | None:
        """The latest that was built under this name; None: nothing was. One request."""
        client, name = self._connection.client("lambda"), self._name(runtime, python)
        with translate_errors(f"looking for the runtime {runtime}"):
            versions = client.list_layer_versions(LayerName=name, MaxItems=1)["LayerVersions"]
        if not versions:
            return None
        said = json.loads(versions[0]["Description"])
        return Layers((*said["others"], versions[0]["LayerVersionArn"]), said["content"])

    def pythons(self, runtime: str) -> list[str]:
        """The Pythons for which a runtime of this name was built."""
        names = {self._name(runtime, python): python for python in ("3.10", "3.11", "3.12", "3.13", "3.14")}
        return [names[layer["LayerName"]] for layer in self._list() if layer["LayerName"] in names]

    def build(self, runtime: str, python: str, requirements: Sequence[str]) -> Layers:
        """Install what pip's arguments name, and make layers of it."""
        with tempfile.TemporaryDirectory(prefix="lithops-layer-") as folder:
            install(requirements, Path(folder), python=python, architecture=self._config.architecture)
            return self.publish(runtime, python, Path(folder))

    def publish(self, runtime: str, python: str, folder: Path) -> Layers:
        """Make layers of what is installed in the folder. Raises `ComputeError` if it is more than a function bears."""
        check_size(folder)
        archives = pack(folder)
        content = digest(*(archive.digest for archive in archives))
        name = self._name(runtime, python)
        others: list[str] = []
        # The last one is what is looked for, and names the others.
        for number, archive in enumerate(archives):
            last = number == len(archives) - 1
            description = json.dumps({"content": content, "others": others}) if last else f"part of {name}"
            others.append(
                self._publish(name if last else f"{name}-part{number}", description, archive.data, python)
            )
        return Layers(tuple(others), content)

    def remove(self, runtime: str) -> int:
        """Delete all layers of that name, and tell how many versions there were."""
        client, deleted = self._connection.client("lambda"), 0
        wanted = tuple(self._name(runtime, python) for python in ("3.10", "3.11", "3.12", "3.13", "3.14"))
        for layer in self._list():
            name = layer["LayerName"]
            if name not in wanted and not name.startswith(tuple(f"{each}-part" for each in wanted)):
                continue
            with translate_errors(f"deleting the layer {name}"):
                pages = client.get_paginator("list_layer_versions").paginate(LayerName=name)
                for version in [each["Version"] for page in pages for each in page["LayerVersions"]]:
                    client.delete_layer_version(LayerName=name, VersionNumber=version)
                    deleted += 1
        return deleted

    def _name(self, runtime: str, python: str) -> str:
        return resource_name(self._config.namespace, runtime, python, self._config.architecture)

    def _list(self) -> list[dict[str, Any]]:
        client = self._connection.client("lambda")
        with translate_errors("listing layers"):
            pages = client.get_paginator("list_layers").paginate()
            return [layer for page in pages for layer in page["Layers"]]

    def _publish(self, name: str, description: str, data: bytes, python: str) -> str:
        _logger.info("uploading the layer %s: %.1f MB", name, len(data) / (1 << 20))
        with translate_errors(f"publishing the layer {name}"):
            answer = self._connection.client("lambda").publish_layer_version(
                LayerName=name,
                Description=description,
                Content={"ZipFile": data},
                CompatibleRuntimes=[f"python{python}"],
                CompatibleArchitectures=[self._config.architecture],
            )
        return str(answer["LayerVersionArn"])


# ---------------------------------------------------------------- from requirements to archives


def install(requirements: Sequence[str], target: Path, *, python: str, architecture: str) -> None:
    """Have pip install for Lambda's system what the arguments name. Raises `ComputeError` with pip's own words."""
    command = [sys.executable, "-m", "pip", "install", *requirements, "--target", str(target), "--no-compile"]
    command += ["--only-binary", ":all:", "--python-version", python, "--implementation", "cp", "--upgrade"]
    command += ["--disable-pip-version-check", "--no-warn-conflicts", "--quiet"]
    for platform in _platforms(python):
        command += ["--platform", f"{platform}_{_MACHINES[architecture]}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ComputeError(
            f"pip could not install the requirements for Python {python} on {architecture}, of wheels alone; "
            "take other versions, or build an image (lithops runtime build -b aws_lambda -f Dockerfile NAME). "
            f"pip said:\n{done.stderr.strip()}"
        )


def _platforms(python: str) -> list[str]:
    """What Lambda's system can load, the best first. To pip, none of them implies those before it."""
    newest = _OLD_GLIBC if python in _OLD_PYTHONS else _GLIBC
    return [*(f"manylinux_2_{minor}" for minor in range(newest, _OLDEST_GLIBC - 1, -1)), *_OLD_NAMES]


@dataclass(frozen=True, slots=True)
class Archive:
    """The zip of a layer."""

    data: bytes
    digest: str


def check_size(folder: Path) -> None:
    """Raises `ComputeError`, which names the largest packages, if the folder holds more than a function may have."""
    sizes: dict[str, int] = defaultdict(int)
    for path in _files(folder):
        sizes[path.relative_to(folder).parts[0]] += path.stat().st_size
    total = sum(sizes.values())
    if total <= _UNZIPPED_BYTES:
        return
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:_LISTED]
    raise ComputeError(
        f"the packages take {total / (1 << 20):.0f} MB unzipped, and a function on AWS Lambda may have "
        f"{_UNZIPPED_BYTES >> 20} MB; leave some out, or build an image, which may have 10 GB (lithops runtime build "
        "-b aws_lambda -f Dockerfile NAME). The largest are "
        + ", ".join(f"{name} ({size / (1 << 20):.0f} MB)" for name, size in largest)
    )


def pack(folder: Path) -> list[Archive]:
    """The folder as archives, none of which is too large to be sent. The same files give the same bytes."""
    archives: list[Archive] = []
    current: list[tuple[str, bytes]] = []
    room = _ZIPPED_BYTES
    for path in _files(folder):
        name = f"python/{path.relative_to(folder).as_posix()}"
        data = path.read_bytes()
        length = len(_zipped([(name, data)]))
        if length > _ZIPPED_BYTES:
            raise ComputeError(
                f"{path.name} takes {length >> 20} MB zipped, and a layer of AWS Lambda {_ZIPPED_BYTES >> 20} MB at "
                "most; build an image instead (lithops runtime build -b aws_lambda -f Dockerfile NAME)"
            )
        if length > room and current:
            archives.append(_archive(current))
            current, room = [], _ZIPPED_BYTES
        current.append((name, data))
        room -= length
    if current:
        archives.append(_archive(current))
    if not archives:
        raise ComputeError("the requirements install nothing; name at least one package")
    if len(archives) > _MOST_LAYERS:
        raise ComputeError(
            f"the packages need {len(archives)} layers, and a function on AWS Lambda has {_MOST_LAYERS} at most; leave "
            "some out, or build an image (lithops runtime build -b aws_lambda -f Dockerfile NAME)"
        )
    return archives


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _archive(files: Sequence[tuple[str, bytes]]) -> Archive:
    data = _zipped(files)
    return Archive(data, digest([name for name, _ in files], data.hex()))


def _zipped(files: Sequence[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, data in files:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o100755 << 16
            archive.writestr(info, data)
    return buffer.getvalue()

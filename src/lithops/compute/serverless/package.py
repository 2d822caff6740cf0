"""What is deployed to a cloud's functions: the worker, one storage backend and one entry, not the whole library.

The zip is the same to the byte wherever it is built of the same sources, so that its content can name a deployment.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lithops import version
from lithops.compute.base import Surroundings
from lithops.exceptions import ConfigError
from lithops.storage import registry as storage_registry

_MODULES = (
    "__init__", "accounts", "cancelled", "clock", "constants", "exceptions", "registry", "settings", "version",
    "concurrent/__init__", "concurrent/futures/__init__", "concurrent/futures/work",
    "util/__init__", "util/joblib/__init__", "util/joblib/worker",
)  # fmt: skip
_PACKAGES = ("wire", "worker", "storage", "shared")
_PROCESSES = tuple(
    f"multiprocessing/{name}"
    for name in ("__init__", "config", "context", "current", "identity", "output", "process", "work")
)
"""What functions need to be processes."""
_CLIENTS_OWN = frozenset(
    f"{name}.py"
    for name in (
        "shared/embedded", "multiprocessing/details", "multiprocessing/outbox", "multiprocessing/pool",
        "multiprocessing/popen", "multiprocessing/program",
    )
)  # fmt: skip
"""What starts processes and servers, which functions do not."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold: one that never changes."""
_READABLE = 0o100644 << 16

_SDKS = {
    "aws": ["boto3>=1.36"],
    "gcp": ["google-cloud-storage>=3.0"],
    "azure": ["azure-storage-blob>=12.28", "azure-identity>=1.24"],
    "redis": ["redis>=5.0"],
}
"""What workers need of an extra of this package."""


@dataclass(frozen=True, slots=True)
class Package:
    """A zip, and the name of its content."""

    data: bytes
    digest: str
    """The SHA-256 of the files' names and contents, in hexadecimal digits."""


def build(entry: Mapping[str, bytes], *, storage: str, backend: str, shares_state: bool = False) -> Package:
    """The package for functions of the compute backend `backend` that use the storage backend `storage`.

    With `shares_state` it has what reaches the objects that processes share. `entry` are files beside the library: the
    module that the cloud loads, and what it reads of settings.
    """
    files = {**dict(_library(storage, backend, shares_state=shares_state)), **entry}
    content = hashlib.sha256()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in sorted(files.items()):
            content.update(f"{name}\0{len(data)}\0".encode())
            content.update(data)
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = _READABLE
            archive.writestr(info, data)
    return Package(buffer.getvalue(), content.hexdigest())


def worker_requirements(surroundings: Surroundings) -> list[str]:
    """What pip has to install for workers: the SDK of their storage, and what reaches the objects that they share."""
    row = storage_registry.row(surroundings.storage)
    extras = [] if row is None or row.extra is None else [row.extra]
    if surroundings.shares_state and "redis" not in extras:
        extras.append("redis")
    return [requirement for extra in extras for requirement in _SDKS[extra]]


def _library(storage: str, backend: str, *, shares_state: bool) -> Iterator[tuple[str, bytes]]:
    root = Path(version.__file__).parent
    paths = [root / f"{name}.py" for name in (*_MODULES, *_PROCESSES)]
    for package in (*_PACKAGES, "multiprocessing") if shares_state else _PACKAGES:
        paths += [
            path for path in (root / package).rglob("*.py") if "backends" not in path.parts[len(root.parts) :]
        ]
    paths += [root / "storage" / "backends" / "__init__.py", *_storage_folder(root, storage).glob("*.py")]
    compute = root / "compute"
    folder = compute / "backends" / backend
    paths += [
        compute / "__init__.py",
        compute / "backends" / "__init__.py",
        folder / "__init__.py",
        folder / "entry.py",
    ]
    for path in dict.fromkeys(paths):
        name = path.relative_to(root).as_posix()
        if name not in _CLIENTS_OWN:
            yield f"lithops/{name}", path.read_bytes()
    yield from _cloudpickle()


def _storage_folder(root: Path, storage: str) -> Path:
    row = storage_registry.row(storage)
    if row is None:
        raise ConfigError(
            f"the storage backend '{storage}' is not part of this package, so it cannot be deployed with it: "
            "make a custom runtime that has it, with `lithops runtime build`"
        )
    return root.joinpath(*row.backend.partition(":")[0].split(".")[1:-1])


def _cloudpickle() -> Iterator[tuple[str, bytes]]:
    spec = importlib.util.find_spec("cloudpickle")
    assert spec is not None
    assert spec.origin is not None
    for path in Path(spec.origin).parent.glob("*.py"):
        yield f"cloudpickle/{path.name}", path.read_bytes()

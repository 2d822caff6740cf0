"""Custom runtimes: their requirements, kept in the storage account so that every program finds them."""

from __future__ import annotations

import re
from pathlib import Path

from lithops.compute.base import ComputeError
from lithops.exceptions import NoSuchBucket, StorageNoSuchKeyError
from lithops.storage.base import StorageBackend

CONTAINER = "lithops-runtimes"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
_DEFAULT = re.compile(r"python3\.\d+")


class CustomRuntimes:
    """Requirements by the name of the runtime."""

    def __init__(self, storage: StorageBackend) -> None:
        self._storage = storage

    def check(self, name: str, file: Path) -> str:
        """The requirements in the file. Raises `ComputeError` for what cannot be made a runtime of that name."""
        if not _NAME.fullmatch(name) or _DEFAULT.fullmatch(name):
            raise ComputeError(
                f"azure_functions: {name!r} cannot be the name of a custom runtime; take 1 to 60 letters, digits, . _ "
                "and -, other than that of Azure's own Python"
            )
        if file.suffix != ".txt":
            raise ComputeError(
                f"azure_functions: {file.name} is no requirements.txt. The flex consumption plan of Azure Functions "
                "runs no images: write the packages that functions need into a requirements.txt, and run: "
                f"lithops runtime build -b azure_functions -f requirements.txt {name}"
            )
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ComputeError(f"azure_functions: {file} cannot be read: {error}; check its path") from error
        _check(text, file)
        return text

    def save(self, name: str, requirements: str) -> None:
        self._storage.ensure_bucket(CONTAINER)
        self._storage.put(CONTAINER, _key(name), requirements.encode())

    def requirements(self, name: str) -> str:
        try:
            return bytes(self._storage.get(CONTAINER, _key(name))).decode()
        except (StorageNoSuchKeyError, NoSuchBucket):
            raise ComputeError(
                f"azure_functions: there is no runtime '{name}'; make it with: lithops runtime build -b "
                f"azure_functions -f requirements.txt {name}"
            ) from None

    def remove(self, name: str) -> None:
        if self._storage.bucket_exists(CONTAINER):
            self._storage.delete(CONTAINER, [_key(name)])


def _key(name: str) -> str:
    return f"{name}/requirements.txt"


def _check(text: str, file: Path) -> None:
    """Refuse what the remote build cannot follow: other files, and other options than an index."""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith(("-r", "-c", "-e", ".", "/")):
            raise ComputeError(
                f"azure_functions: {file.name}, line {number}: {stripped!r} names a file of this machine, which "
                "Azure's build does not see; write the packages themselves"
            )

"""The remote build of a function app: the package's files, and what its requirements name, in one folder.

Nothing is downloaded. What this machine's Python has is linked; what it has not fails the build, as a name that the
package index does not have would.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path, PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement

PACKAGES = ".python_packages/lib/site-packages"


class BuildFailed(Exception):
    """The build's log, line by line."""

    def __init__(self, log: list[str]) -> None:
        super().__init__(log[-1])
        self.log = log


def build(package: bytes, folder: Path) -> list[str]:
    """Unpack the package into the folder, with its requirements. Gives the log."""
    log = ["Running oryx build..."]
    try:
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            archive.extractall(folder)
    except zipfile.BadZipFile as error:
        raise BuildFailed([*log, f"The package is no zip file: {error}"]) from error
    for name in ("host.json", "function_app.py"):
        if not (folder / name).is_file():
            raise BuildFailed([*log, f"Could not find {name} in the root of the package"])
    requirements = folder / "requirements.txt"
    if not requirements.is_file():
        return [*log, "Could not find requirements.txt; no packages are installed"]
    log.append("Running pip install...")
    lines = [line.partition("#")[0].strip() for line in requirements.read_text().splitlines()]
    link_packages([line for line in lines if line], folder / PACKAGES, log)
    return [*log, "Done in 1 sec(s)."]


def link_worker(folder: Path) -> None:
    """What the worker of Azure Functions brings along."""
    link_packages(["azure-functions"], folder, [])
    # Without its extensions, which are imported where functions use their types.
    _link(metadata.distribution("azure-functions-runtime"), folder)


def link_packages(lines: list[str], folder: Path, log: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    linked: set[str] = set()
    waiting = list(lines)
    while waiting:
        requirement = _parsed(waiting.pop(), log)
        name = requirement.name.lower().replace("_", "-")
        if name in linked or not _applies(requirement):
            continue
        linked.add(name)
        distribution = _installed(requirement, log)
        log.append(f"Collecting {name} ({distribution.version})")
        _link(distribution, folder)
        waiting += distribution.requires or []


def _parsed(line: str, log: list[str]) -> Requirement:
    try:
        return Requirement(line)
    except InvalidRequirement as error:
        raise BuildFailed([*log, f"ERROR: Invalid requirement: {line!r}: {error}"]) from error


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _installed(requirement: Requirement, log: list[str]) -> metadata.Distribution:
    try:
        distribution = metadata.distribution(requirement.name)
    except metadata.PackageNotFoundError:
        distribution = None
    if distribution is None or not requirement.specifier.contains(distribution.version, prereleases=True):
        found = f"from versions: {distribution.version}" if distribution else "from versions: none"
        raise BuildFailed(
            [
                *log,
                f"ERROR: Could not find a version that satisfies the requirement {requirement} ({found})",
                f"ERROR: No matching distribution found for {requirement}",
            ]
        )
    return distribution


def _link(distribution: metadata.Distribution, folder: Path) -> None:
    for path in _topmost(distribution):
        source = Path(str(distribution.locate_file(path)))
        link = folder / path
        link.parent.mkdir(parents=True, exist_ok=True)
        if source.exists() and not link.exists():
            os.symlink(source, link)


def _topmost(distribution: metadata.Distribution) -> Iterator[PurePosixPath]:
    """The distribution's files, a package that it shares with no other (as `azure` is shared) as one."""
    files = [
        PurePosixPath(file)
        for file in distribution.files or ()
        if ".." not in file.parts and "__pycache__" not in file.parts
    ]
    whole = {file.parent for file in files if file.name == "__init__.py"}
    whole |= {file.parent for file in files if file.parent.suffix == ".dist-info"}
    yield from dict.fromkeys(
        next((parent for parent in reversed(file.parents) if parent in whole), file) for file in files
    )

"""Cloud Build's part: an uploaded source becomes a folder, and a Python that has what its requirements name alone.

Nothing is downloaded. A package that is not installed where the tests run fails the build, as one that PyPI does not
have fails it in the cloud.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import sys
import threading
import zipfile
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

_FRAMEWORK = "functions-framework"
_lock = threading.Lock()


class BuildFailed(Exception):
    """The build's log."""


@dataclass(frozen=True, slots=True)
class Image:
    """What a build makes: the source's folder, and the interpreter that runs it."""

    source: Path
    python: Path


def build(source: bytes, runtime: str, folder: Path) -> Image:
    """Raises `BuildFailed`."""
    here = "python{}{}".format(*sys.version_info)
    if runtime != here:
        raise BuildFailed(f"this stand-in has no other Python than {here}, and was asked for {runtime}")
    unzipped = _unzip(source, folder / hashlib.sha256(source).hexdigest()[:16])
    if not (unzipped / "main.py").exists():
        raise BuildFailed(
            "ERROR: missing main.py and GOOGLE_FUNCTION_SOURCE not specified. Either create it or ..."
        )
    requirements = unzipped / "requirements.txt"
    text = requirements.read_text() if requirements.exists() else ""
    with _lock:
        return Image(unzipped, _interpreter(text, folder))


def _unzip(source: bytes, folder: Path) -> Path:
    try:
        with zipfile.ZipFile(io.BytesIO(source)) as archive:
            archive.extractall(folder)
    except zipfile.BadZipFile as error:
        raise BuildFailed(f"Could not unzip the source: {error}") from error
    return folder


def _interpreter(requirements: str, folder: Path) -> Path:
    """A virtual environment whose packages are links to those that are installed here."""
    found: dict[str, Distribution] = {}
    for line in [*requirements.splitlines(), _FRAMEWORK]:
        wanted = line.partition("#")[0].strip()
        if wanted:
            _gather(wanted, found)
    name = hashlib.sha256(" ".join(sorted(found)).encode()).hexdigest()[:16]
    environment = folder / f"python-{name}"
    python = environment / "bin" / "python"
    if python.exists():
        return python
    site = environment / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
    site.mkdir(parents=True)
    for each in found.values():
        _link(each, site)
    base = Path(os.path.realpath(sys.executable))
    (environment / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    python.parent.mkdir()
    python.symlink_to(base)
    return python


def _gather(wanted: str, found: dict[str, Distribution]) -> None:
    try:
        requirement = Requirement(wanted)
    except InvalidRequirement as error:
        raise BuildFailed(f"ERROR: Invalid requirement: '{wanted}': {error}") from error
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return
    try:
        package = distribution(requirement.name)
    except PackageNotFoundError:
        package = None
    if package is None or package.version not in requirement.specifier:
        versions = package.version if package else "none"
        raise BuildFailed(
            f"ERROR: Could not find a version that satisfies the requirement {wanted} (from versions: {versions})\n"
            f"ERROR: No matching distribution found for {wanted}"
        )
    if requirement.name in found and not requirement.extras:
        return
    found[requirement.name] = package
    for needed in package.requires or ():
        marker = Requirement(needed).marker
        extras = {"", *requirement.extras}
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            _gather(needed.partition(";")[0], found)


def _link(package: Distribution, site: Path) -> None:
    """Link each of its files: packages of Google share folders."""
    for file in package.files or ():
        if file.parts[0] == ".." or file.suffix == ".pth" or "__pycache__" in file.parts:
            continue
        link, original = site / file, Path(str(package.locate_file(file)))
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.exists():
            continue
        if file.name == "__init__.py" and file.hash and not _is_as_packed(original, file.hash.value):
            # google-cloud-functions, where it is installed too, has put its own over the framework's empty one.
            link.touch()
        else:
            link.symlink_to(original)


def _is_as_packed(path: Path, digest: str) -> bool:
    found = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest())
    return found.decode().rstrip("=") == digest

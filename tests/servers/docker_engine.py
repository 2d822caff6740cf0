"""A container engine for tests, and an image for it: the interpreter that runs them, and nothing else.

An engine that runs already is used as it is. Otherwise one is started, with all of its files in one folder and without
a network, so that nothing of this machine changes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

_START_S = 60.0
_STOP_S = 30.0
_LEFT_OUT = ("test", "tests", "idlelib", "tkinter", "ensurepip", "site-packages", "__pycache__")
_FOR_LINKERS = ".a"


def engine_answers() -> bool:
    """Whether `docker` has an engine to talk to, here or where DOCKER_HOST says."""
    return bool(shutil.which("docker")) and docker("info").returncode == 0


def can_be_started() -> bool:
    return bool(shutil.which("docker") and shutil.which("dockerd")) and os.getuid() == 0


@contextmanager
def started_engine(
    folder: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """The DOCKER_HOST of a new engine, which is stopped in the end. `options` and `environment` are for dockerd."""
    host = f"unix://{folder}/socket"
    log = folder / "log"
    with log.open("wb") as output:
        engine = subprocess.Popen(
            [
                "dockerd",
                "--iptables=false",
                "--ip6tables=false",
                "--bridge=none",
                f"--data-root={folder}/data",
                f"--exec-root={folder}/exec",
                f"--pidfile={folder}/pid",
                f"--host={host}",
                *options,
            ],
            env={**os.environ, **(environment or {})},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + _START_S
        while docker("--host", host, "info").returncode:
            assert engine.poll() is None, f"dockerd ended:\n{log.read_text()}"
            assert time.monotonic() < until, f"dockerd does not answer:\n{log.read_text()}"
            time.sleep(0.1)
        yield host
    finally:
        engine.terminate()
        try:
            engine.wait(_STOP_S)
        finally:
            engine.kill()
            engine.wait()
            for mount in _mounts_below(folder):
                subprocess.run(["umount", "--lazy", mount], check=True)
            for below in ("data", "exec"):
                shutil.rmtree(folder / below)


@contextmanager
def imported_image(name: str, folder: Path) -> Iterator[str]:
    """The image `name` for as long as it is needed, made of this interpreter."""
    tar = folder / "image.tar"
    _pack_interpreter(tar)
    imported = docker("import", str(tar), name)
    assert imported.returncode == 0, imported.stderr
    tar.unlink()
    try:
        yield name
    finally:
        docker("image", "rm", "--force", name)


def containers() -> set[str]:
    """The names of this library's containers, running or not."""
    listed = docker("ps", "--all", "--filter=name=lithops-worker-", "--format={{.Names}}")
    assert listed.returncode == 0, listed.stderr
    return set(listed.stdout.split())


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the engine's client program to its end, whatever that is."""
    return subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False, timeout=_START_S
    )


def _pack_interpreter(path: Path) -> None:
    library = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}))
    binary = Path(sys.base_prefix, "bin", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    binaries = [binary, *library.glob("lib-dynload/*.so")]
    with tarfile.open(path, "w", dereference=True) as tar:
        tar.add(binary)
        tar.add(library, filter=_without_ballast)
        for shared in sorted(libraries_of(binaries)):
            tar.add(shared)
        _add_folder(tar, "tmp", 0o1777)
        _add_file(tar, "etc/passwd", b"root:x:0:0::/root:\n")
        _add_file(tar, "etc/made_for_lithops", b"")
        link = tarfile.TarInfo("usr/local/bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, str(binary)
        tar.addfile(link)


def _without_ballast(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = os.path.basename(member.name)
    return None if name in _LEFT_OUT or name.endswith(_FOR_LINKERS) else member


def libraries_of(binaries: Iterable[Path]) -> set[str]:
    """The shared libraries and the loader, as `ldd` lists them: ``name => /path (address)``, or ``/path (address)``."""
    listed = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, check=True).stdout
    words = [line.split() for line in listed.splitlines() if line.endswith(")") and "=>" in line]
    words += [
        ["", "", *line.split()]
        for line in listed.splitlines()
        if line.strip().startswith("/") and "(" in line
    ]
    return {parts[2] for parts in words if parts[2].startswith("/")}


def _add_folder(tar: tarfile.TarFile, name: str, mode: int) -> None:
    folder = tarfile.TarInfo(name)
    folder.type, folder.mode = tarfile.DIRTYPE, mode
    tar.addfile(folder)


def _add_file(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    file = tarfile.TarInfo(name)
    file.size = len(data)
    tar.addfile(file, BytesIO(data))


def _mounts_below(folder: Path) -> list[str]:
    """What is mounted there, the deepest first."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return sorted((place for place in mounted if place.startswith(f"{folder}/")), reverse=True)

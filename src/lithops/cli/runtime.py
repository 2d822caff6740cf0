"""`lithops runtime`: what functions run in, on the compute backend."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lithops.cli.options import log_as_configured, open_compute, resolve_settings, single_line
from lithops.exceptions import ComputeError, LithopsError
from lithops.version import __version__

if TYPE_CHECKING:
    from lithops.cli.options import Commands
    from lithops.compute.base import ComputeBackend, RuntimeInfo
    from lithops.config import Settings

_TITLES = ("runtime", "Python", "memory")


def add_commands(commands: Commands, common: argparse.ArgumentParser) -> None:
    group = commands.add_parser("runtime", help="build, deploy, list, update and delete runtimes")
    verbs = group.add_subparsers(metavar="COMMAND", required=True)

    build = verbs.add_parser("build", parents=[common], help="make a runtime with packages of your own")
    build.add_argument("name", metavar="NAME", nargs="?", help="by default the one of the configuration")
    build.add_argument(
        "-f", "--file", metavar="FILE", type=Path, required=True, help="a requirements.txt or a Dockerfile"
    )
    build.set_defaults(run=run_build)

    deploy = verbs.add_parser("deploy", parents=[common], help="make a runtime ready before its first call")
    deploy.add_argument("name", metavar="NAME", nargs="?", help="by default the one of the configuration")
    deploy.set_defaults(run=run_deploy)

    listing = verbs.add_parser("list", parents=[common], help="list the runtimes that are deployed")
    listing.set_defaults(run=run_list)

    update = verbs.add_parser(
        "update", parents=[common], help="deploy what is deployed with this version of the library"
    )
    update.add_argument("name", metavar="NAME", nargs="?", help="by default all of this Python version")
    update.set_defaults(run=run_update)

    delete = verbs.add_parser("delete", parents=[common], help="delete a runtime, or all")
    which = delete.add_mutually_exclusive_group(required=True)
    which.add_argument("name", metavar="NAME", nargs="?")
    which.add_argument("--all", action="store_true", help="every runtime that is deployed")
    delete.set_defaults(run=run_delete)


def run_build(arguments: argparse.Namespace) -> int:
    from lithops.compute.base import SupportsBuild

    with _opened(arguments) as (settings, compute):
        backend = settings.compute_name
        if not isinstance(compute, SupportsBuild):
            raise ComputeError(
                f"the compute backend '{backend}' builds no runtimes: install the packages where its functions run, "
                f"and name that place in the configuration, {backend}: runtime"
            )
        name = arguments.name or _configured(settings)
        if not name:
            raise LithopsError(
                f"the runtime has no name: give it one, as in 'lithops runtime build -f {arguments.file} my-runtime', "
                f"or set {backend}: runtime in the configuration"
            )
        if not arguments.file.is_file():
            raise LithopsError(
                f"there is no file '{arguments.file}'; name a requirements.txt or a Dockerfile"
            )
        started = time.monotonic()
        made = compute.build(name, arguments.file)
        print(f"{name} is built on {backend}: {made} ({time.monotonic() - started:.1f} s)")
        if name != _configured(settings):
            print(f"functions run in it with this configuration: {{{backend}: {{runtime: {name}}}}}")
    return 0


def run_deploy(arguments: argparse.Namespace) -> int:
    with _opened(arguments) as (settings, compute):
        started = time.monotonic()
        info = _deploy(compute, settings, arguments.name or _configured(settings))
        print(f"{_in_words(info)} is ready on {settings.compute_name} ({time.monotonic() - started:.1f} s)")
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """A line for each runtime and memory."""
    with _opened(arguments) as (settings, compute):
        found = _deployed(compute)
    if not found:
        print(_nothing(settings.compute_name))
        return 0
    rows = [_TITLES, *((info.name, info.python or "-", _memory(info) or "-") for info in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, python, memory in rows:
        print(f"{name:<{widths[0]}}  {python:<{widths[1]}}  {memory:>{widths[2]}}")
    return 0


def run_update(arguments: argparse.Namespace) -> int:
    """A line for each runtime; the exit status is 1 if one could not be deployed."""
    with _opened(arguments) as (settings, compute):
        found = _deployed(compute)
        if arguments.name is not None:
            found = [info for info in found if info.name == arguments.name]
            if not found:
                raise ComputeError(
                    f"there is no runtime '{arguments.name}' on {settings.compute_name} to update; 'lithops runtime "
                    f"list' shows those that there are, 'lithops runtime deploy {arguments.name}' deploys this one"
                )
        if not found:
            print(_nothing(settings.compute_name))
        # One that fails does not keep the others from being deployed.
        failed = sum(not _update(compute, settings, info) for info in found)
    return int(failed > 0)


def run_delete(arguments: argparse.Namespace) -> int:
    with _opened(arguments) as (settings, compute):
        names = (
            sorted({info.name for info in compute.runtimes()}) if arguments.name is None else [arguments.name]
        )
        if not names:
            print(_nothing(settings.compute_name))
        for name in names:
            compute.remove(name)
            print(f"{name} is deleted from {settings.compute_name}")
    return 0


def _update(compute: ComputeBackend, settings: Settings, info: RuntimeInfo) -> bool:
    """Whether the runtime is as it should be now. Nothing is done for one that is already."""
    ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if info.python != ours:
        print(f"{_in_words(info)} is left alone: this command updates it when Python {info.python} runs it")
        return True
    try:
        _deploy(compute, settings, info.name, info.memory_mb)
    except LithopsError as error:
        print(f"lithops: {_in_words(info)}: {single_line(error)}", file=sys.stderr)
        return False
    print(f"{_in_words(info)} is ready, with Lithops {__version__}", flush=True)
    return True


def _deploy(compute: ComputeBackend, settings: Settings, name: str, memory_mb: int = 0) -> RuntimeInfo:
    memory_mb = memory_mb or getattr(settings.compute, "runtime_memory", 0)
    return compute.deploy(name, memory_mb, settings.lithops.execution_timeout)


def _deployed(compute: ComputeBackend) -> list[RuntimeInfo]:
    return sorted(compute.runtimes(), key=lambda info: (info.name, info.python, info.memory_mb))


def _configured(settings: Settings) -> str:
    """The runtime of the configuration; empty: the backend's own."""
    name: str = getattr(settings.compute, "runtime", "")
    return name


def _in_words(info: RuntimeInfo) -> str:
    return ", ".join(filter(None, (info.name, info.python and f"Python {info.python}", _memory(info))))


def _memory(info: RuntimeInfo) -> str:
    return f"{info.memory_mb} MB" if info.memory_mb else ""


def _nothing(backend: str) -> str:
    return (
        f"no runtime is deployed on {backend}; the first call deploys one, and so does: "
        f"lithops runtime deploy -b {backend}"
    )


@contextmanager
def _opened(arguments: argparse.Namespace) -> Iterator[tuple[Settings, ComputeBackend]]:
    """The configuration and its compute backend, which tells in the log what takes long."""
    settings = resolve_settings(arguments)
    log_as_configured(arguments, settings)
    with closing(open_compute(settings)) as compute:
        yield settings, compute

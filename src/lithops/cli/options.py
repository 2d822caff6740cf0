"""The options that every command takes, and what they come to."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lithops.compute.base import ComputeBackend
    from lithops.config import Settings
    from lithops.executors import FunctionExecutor
    from lithops.storage import Storage

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def common_options() -> argparse.ArgumentParser:
    """A parent of every command's parser.

    Options that are not given leave no trace, so that they may stand before the command or after it; what
    they are then is in `not_given`.
    """
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    options = parser.add_argument_group("options of every command")
    options.add_argument("-c", "--config", metavar="FILE", help="the configuration file")
    options.add_argument("-b", "--backend", metavar="NAME", help="the compute backend")
    options.add_argument("-s", "--storage", metavar="NAME", help="the storage backend")
    options.add_argument("-r", "--region", metavar="NAME", help="the region of the backends")
    options.add_argument("-m", "--memory", metavar="MB", type=int, help="the memory of a function")
    options.add_argument("-d", "--debug", action="store_true", help="log everything; show tracebacks")
    return parser


def not_given() -> argparse.Namespace:
    """The options before any is read."""
    return argparse.Namespace(config=None, backend=None, storage=None, region=None, memory=None, debug=False)


def resolve_settings(arguments: argparse.Namespace) -> Settings:
    """The configuration, with the options over it."""
    from lithops.config import resolve

    region = {} if arguments.region is None else {"region": arguments.region}
    return resolve(
        config_file=arguments.config,
        backend=arguments.backend,
        storage=arguments.storage,
        overrides=_compute_keys(arguments),
        storage_overrides=region,
    )


def open_storage(arguments: argparse.Namespace) -> Storage:
    """The storage of the configuration, with the options over it."""
    from lithops.storage.client import Storage
    from lithops.storage.registry import create

    settings = resolve_settings(arguments)
    return Storage.over(create(settings.storage_name, settings.storage))


def open_compute(settings: Settings) -> ComputeBackend:
    """The compute backend of the configuration. Whoever asks for it closes it."""
    from lithops.compute.registry import create
    from lithops.config.passing import surroundings_of

    return create(settings.compute_name, settings.compute, surroundings_of(settings))


def open_executor(arguments: argparse.Namespace) -> FunctionExecutor:
    """An executor of the configuration, with the options over it."""
    from lithops.executors import FunctionExecutor

    # An executor has no argument for the region of its storage.
    return FunctionExecutor(
        config=resolve_settings(arguments).raw, log_level="DEBUG" if arguments.debug else False
    )


def log_as_configured(arguments: argparse.Namespace, settings: Settings) -> None:
    """Show the log as an executor does, for commands that have none. With `-d` all of it is shown already."""
    from lithops.config.passing import set_up_logging

    if not arguments.debug:
        set_up_logging(settings, log_level=False)


def single_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _compute_keys(arguments: argparse.Namespace) -> dict[str, Any]:
    keys = {"region": arguments.region, "runtime_memory": arguments.memory}
    return {key: value for key, value in keys.items() if value is not None}

"""`lithops config`: see what is configured, and start a configuration."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from lithops.cli.options import resolve_settings
from lithops.exceptions import ConfigError

if TYPE_CHECKING:
    from lithops.cli.options import Commands

DEFAULT_FILE = "~/.lithops/config"

STARTER = """\
# The configuration of Lithops. Each line shows a default: take away its '#' to change it.
# 'lithops config show' says what holds in the end; config.example.yaml describes every key.

lithops:
  ## Where functions run, and where objects are kept.
  # backend: localhost
  # storage: localhost
  ## Seconds after which a call is stopped, and how often one that fails is tried again.
  # execution_timeout: 1800
  # retries: 0
  ## DEBUG, INFO, WARNING, ERROR or CRITICAL.
  # log_level: INFO

localhost:
  ## How many processes run functions. null: one for each CPU.
  # worker_processes: null
  ## The bucket of everything that names no other.
  # storage_bucket: lithops-data
"""


def add_commands(commands: Commands, common: argparse.ArgumentParser) -> None:
    group = commands.add_parser("config", help="show the configuration, or start one")
    verbs = group.add_subparsers(metavar="COMMAND", required=True)
    show = verbs.add_parser("show", parents=[common], help="show the complete configuration, without secrets")
    show.set_defaults(run=run_show)
    init = verbs.add_parser("init", parents=[common], help="write a file to start from")
    init.add_argument(
        "file", metavar="FILE", nargs="?", default=DEFAULT_FILE, help=f"by default {DEFAULT_FILE}"
    )
    init.set_defaults(run=run_init)


def run_show(arguments: argparse.Namespace) -> int:
    import yaml

    settings = resolve_settings(arguments)
    shown = settings.shown()
    print(f"# from: {settings.origin}")
    unused = [str(name) for name in settings.raw if name not in shown]
    if unused:
        print(f"# sections that are not used: {', '.join(unused)}")
    print(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True), end="")
    return 0


def run_init(arguments: argparse.Namespace) -> int:
    path = os.path.expanduser(arguments.file)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    try:
        # For its owner alone: credentials may come to stand in it.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"{path}: there is a file already; name another one, or remove it first") from None
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(STARTER)
    print(f"{path} is written; change it, and see the result with 'lithops config show'")
    return 0

"""The command `lithops`."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from lithops.cli import clean, config, doctor, hello, logs, runtime, storage
from lithops.cli.options import common_options, not_given, single_line
from lithops.exceptions import LithopsError
from lithops.version import __version__

INTERRUPTED = 130
"""The exit status that shells give to what Ctrl-C ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, by default that of this process' arguments, and give its exit status."""
    arguments = _parser().parse_args(argv, not_given())
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Keys and greetings may hold what the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has had enough. What is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (LithopsError, OSError) as error:
        if arguments.debug:
            import traceback

            traceback.print_exc()
        print(f"lithops: {single_line(error)}", file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    if arguments.debug:
        from lithops.config import setup_lithops_logger

        setup_lithops_logger("DEBUG")
    status: int = arguments.run(arguments)
    sys.stdout.flush()
    return status


def _parser() -> argparse.ArgumentParser:
    common = common_options()
    parser = argparse.ArgumentParser(
        "lithops",
        parents=[common],
        description="Run ordinary Python functions on serverless clouds, or on this machine.",
    )
    parser.add_argument("--version", action="version", version=f"lithops {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for group in (hello, doctor, runtime, clean, logs, storage, config):
        group.add_commands(commands, common)
    return parser


if __name__ == "__main__":
    sys.exit(main())

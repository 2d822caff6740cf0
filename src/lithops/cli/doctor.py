"""`lithops doctor`: is everything there that calls need? What to do if it is not."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from lithops.cli.options import open_compute, resolve_settings
from lithops.exceptions import ComputeError

if TYPE_CHECKING:
    from lithops.cli.options import Commands

_GREEN, _RED = 32, 31


def add_commands(commands: Commands, common: argparse.ArgumentParser) -> None:
    doctor = commands.add_parser(
        "doctor",
        parents=[common],
        help="check configuration, storage, credentials and rights",
        description="Check all that calls need, and say what to do about what is missing. Nothing is deployed. The "
        "exit status is 1 if anything is not well.",
    )
    doctor.add_argument(
        "--policy",
        action="store_true",
        help="check nothing; print the least rights that suffice, as JSON",
    )
    doctor.set_defaults(run=run_doctor)


def run_doctor(arguments: argparse.Namespace) -> int:
    """A line for each check."""
    if arguments.policy:
        return _print_policy(arguments)
    from lithops.cli.checks import Checks

    checks = Checks(arguments)
    failed = 0
    for finding in checks:
        failed += not finding.ok
        says = " ".join(finding.says.split())
        print(f"{_mark(finding.ok)}  {finding.what}: {says}", flush=True)
    print(f"{failed} of these are not well" if failed else "all is well")
    if checks.knows_rights:
        print("the least rights that suffice, as JSON: the same command with --policy > policy.json")
    return int(failed > 0)


def _print_policy(arguments: argparse.Namespace) -> int:
    import json

    from lithops.compute.base import SupportsDiagnosis

    settings = resolve_settings(arguments)
    with closing(open_compute(settings)) as compute:
        if not isinstance(compute, SupportsDiagnosis):
            raise ComputeError(
                f"the compute backend '{settings.compute_name}' needs no rights of a cloud, so there are none to "
                "print; name another backend with -b"
            )
        print(json.dumps(compute.policy(), indent=2))
    return 0


def _mark(ok: bool) -> str:
    mark = "ok" if ok else "!!"
    return f"\033[{_GREEN if ok else _RED}m{mark}\033[0m" if sys.stdout.isatty() else mark

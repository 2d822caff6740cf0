"""Runs this project and its peers side by side, and writes one table: ``python benchmarks/run.py``."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import environments
from measure import WORKERS
from peers import PEERS
from peers.base import Peer
from plan import steps
from programs import Place
from rounds import BUDGET_S, measure
from table import table

OUTPUT = environments.ROOT / "docs" / "benchmarks" / "table.md"


def main() -> None:
    options = _options()
    peers = [PEERS[name] for name in options.only]
    for name in dict.fromkeys(peer.environment for peer in peers):
        if options.setup or not environments.is_prepared(options.environments, name):
            print(f"preparing the environment '{name}'", file=sys.stderr)
            environments.prepare(options.environments, name)
    if options.setup:
        return
    # Compiled modules are kept, as they are for users: else each start would compile them again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as scratch:
        places = [_place(peer, options.environments, Path(scratch)) for peer in peers]
        planned = steps(quick=options.quick)
        outcomes = measure(planned, places, rounds=options.rounds)
    minutes = (time.monotonic() - started) / 60
    text = _heading(peers, options, minutes) + table(planned, peers, outcomes)
    print(text)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", type=_peer_names, default=list(PEERS), metavar="PEER,...", help=", ".join(PEERS)
    )
    parser.add_argument("--rounds", type=int, default=5, help="at most so many rounds of each step (5)")
    parser.add_argument("--quick", action="store_true", help="small numbers and one round: does it work?")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the file for the table")
    parser.add_argument("--setup", action="store_true", help="make or update the environments, and stop")
    parser.add_argument("--environments", type=Path, default=environments.DEFAULT_FOLDER, help="their folder")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    return options


def _peer_names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"no peer is called {', '.join(unknown)}; there are {', '.join(PEERS)}"
        )
    return names


def _place(peer: Peer, folder: Path, scratch: Path) -> Place:
    own = scratch / peer.name
    own.mkdir()
    return Place(peer, folder.resolve(), own)


def _heading(peers: Sequence[Peer], options: argparse.Namespace, minutes: float) -> str:
    versions = [
        f"{peer.title} {environments.version(options.environments, peer.environment, peer.distribution)}"
        for peer in peers
        if peer.distribution is not None and peer.name != "lithops38"
    ]
    command = shlex.join(["python", "benchmarks/run.py", *sys.argv[1:]])
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return f"""# Benchmarks: `{command}`

Made on {today} in {minutes:.0f} minutes, with {WORKERS} workers, on this machine: {_machine()}.
Versions: {", ".join([*versions, f"CPython {platform.python_version()} and its standard library"])}.

A cell is the median, with the least and the most, of up to {options.rounds} rounds, every peer in turn,
each in a process of its own. Without brackets: one round, or a ratio of medians. A peer whose rounds of one
step have taken {BUDGET_S:g} s is given no more of them. [N]: a slow peer was given so few calls.
What each row is: [the method](../benchmarks.md).

"""


def _machine() -> str:
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    system = f"{platform.system()} {platform.release()}"
    return f"{os.cpu_count()} cores ({processor}), {memory_gib:.0f} GiB, {system}"


if __name__ == "__main__":
    main()

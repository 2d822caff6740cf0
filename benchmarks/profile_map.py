"""Where the time of a map of no-ops goes, in client and workers: ``python benchmarks/profile_map.py``.

py-spy looks at every running thread of every process from outside, so nothing in them is slowed by hooks.
Start-up is left out: imports, and whatever the client's main thread does outside `run_maps`.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import run

import environments
from measure import WORKERS
from peers import PEERS
from programs import Place
from workload import noop

RATE_HZ = 1000
SHOWN = 20
"""How many functions of a thread are shown: those that cost most, with all that they call."""
LEAST_US = 0.3
"""A thread, or a function by itself, that costs less a call is not shown."""

# A command in quotes may hold semicolons, which stand between the parts too.
HEAD = re.compile(r"(?P<processes>.*);thread \(\d+\)(: (?P<thread>[^;]*))?;?")
PROCESS = re.compile(r"process \d+:")
FRAME = re.compile(r"(?P<function>.*) \((?P<file>.*):\d+\)")


@dataclass
class Thread:
    """What was seen of one thread of the client, or of the threads of one name in the workers."""

    samples: int = 0
    own: Counter[str] = field(default_factory=Counter)
    """By function: how often it was what ran."""
    total: Counter[str] = field(default_factory=Counter)
    """By function: how often it, or something that it called, was what ran."""


def run_maps(calls: int, maps: int) -> None:
    """What is looked at, in a process of its own."""
    peer = PEERS["lithops"]
    peer.start(WORKERS)
    for _ in range(maps):
        peer.gather(peer.map(noop, range(calls)))
    peer.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000, help="calls a map (10,000)")
    parser.add_argument("--maps", type=int, default=10, help="maps, one after another (10)")
    options = parser.parse_args()
    if not environments.is_prepared(environments.DEFAULT_FOLDER, "own"):
        environments.prepare(environments.DEFAULT_FOLDER, "own")
    with tempfile.TemporaryDirectory(prefix="profile-") as scratch:
        stacks = _sample(Path(scratch), options.calls, options.maps)
    print(_report(_threads(stacks), options.calls * options.maps))


def _sample(scratch: Path, calls: int, maps: int) -> list[str]:
    place = Place(PEERS["lithops"], environments.DEFAULT_FOLDER, scratch)
    output = scratch / "stacks.txt"
    looking = [str(Path(place.python).parent / "py-spy"), "record", "--rate", str(RATE_HZ), "--nonblocking"]
    what = ["--subprocesses", "--threads", "--format", "raw", "--output", str(output)]
    program = f"import profile_map; profile_map.run_maps({calls}, {maps})"
    command = [*looking, *what, "--", place.python, "-c", program]
    done = run(command, env=place.variables(), cwd=scratch, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"py-spy ended with {done.returncode}: {done.stderr.strip()}")
    return output.read_text().splitlines()


def _threads(stacks: list[str]) -> dict[tuple[str, str], Thread]:
    threads: dict[tuple[str, str], Thread] = {}
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        head = HEAD.match(stack)
        if head is None:
            raise ValueError(f"py-spy wrote a line that is no stack: {line[:200]}")
        role = "client" if len(PROCESS.findall(head["processes"])) == 1 else "workers"
        name = head["thread"] or "unnamed"
        frames = [frame for frame in stack[head.end() :].split(";") if frame]
        if _is_start(role, name, frames):
            continue
        thread = threads.setdefault((role, name), Thread())
        functions = list(_functions(frames))
        thread.samples += int(count)
        thread.own[functions[-1]] += int(count)
        for function in set(functions):
            thread.total[function] += int(count)
    return threads


def _is_start(role: str, thread: str, frames: list[str]) -> bool:
    if not frames or any("importlib._bootstrap" in frame for frame in frames):
        return True
    return role == "client" and thread == "MainThread" and not any(f.startswith("run_maps ") for f in frames)


def _functions(frames: list[str]) -> Iterator[str]:
    for frame in frames:
        match = FRAME.fullmatch(frame)
        yield f"{match['function']} ({match['file']})" if match else frame


def _report(threads: dict[tuple[str, str], Thread], calls: int) -> str:
    us = 1e6 / RATE_HZ / calls
    lines = [
        "| process | thread | function | own, µs a call | with what it calls, µs a call |",
        "|---|---|---|---:|---:|",
    ]
    for (role, name), thread in sorted(threads.items(), key=lambda item: -item[1].samples):
        all_us = thread.samples * us
        if all_us < LEAST_US:
            continue
        lines.append(f"| **{role}** | **{name}** | all | {all_us:.1f} | {all_us:.1f} |")
        costly = [
            (function, samples)
            for function, samples in thread.total.most_common()
            if thread.own[function] * us >= LEAST_US
        ]
        for function, samples in costly[:SHOWN]:
            lines.append(f"| | | {function} | {thread.own[function] * us:.1f} | {samples * us:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

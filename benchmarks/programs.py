"""Whole programs, started and watched from outside: one measurement, a first result, an import."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environments
from peers.base import Peer

BENCHMARKS = Path(__file__).resolve().parent
IMPORTS_A_ROUND = 5

Numbers = Mapping[str, float]


class MeasurementFailed(Exception):
    """A program that did not give its numbers: the message is short enough for a table's notes."""


@dataclass(frozen=True)
class Place:
    """Where the programs of one peer run."""

    peer: Peer
    environments: Path
    scratch: Path
    """A folder for this peer alone: its current folder, and where its temporary files go."""

    @property
    def python(self) -> str:
        return str(environments.interpreter(self.environments, self.peer.environment))

    def variables(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LITHOPS")}
        return {
            **kept,
            "PATH": f"{Path(self.python).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": str(BENCHMARKS),
            "TMPDIR": str(self.scratch),
            "RAY_USAGE_STATS_ENABLED": "0",
        }


def measurement(place: Place, name: str, parameters: Mapping[str, Any], timeout_s: float) -> Numbers:
    """Run one function of `measure`."""
    result = place.scratch / "result.json"
    result.unlink(missing_ok=True)
    arguments = [place.peer.name, name, json.dumps(dict(parameters)), str(result)]
    with _running(place, [str(BENCHMARKS / "measure.py"), *arguments], timeout_s, output=subprocess.DEVNULL):
        pass
    numbers: Numbers = json.loads(result.read_text())
    return numbers


def first_result(place: Place, parameters: Mapping[str, Any], timeout_s: float) -> Numbers:  # noqa: ARG001
    """A new process that starts the peer, runs one no-op and prints: seconds to the print, and to the end."""
    started = time.perf_counter()
    with _running(place, ["-c", place.peer.first_result], timeout_s) as process:
        # Something else may be printed before it.
        found = any(line.strip() == "1" for line in _lines(process))
        printed_s = time.perf_counter() - started
        process.wait()
        ended_s = time.perf_counter() - started
    if not found:
        raise MeasurementFailed("it ended without printing the result")
    return {"printed_s": printed_s, "ended_s": ended_s}


def import_cost(place: Place, parameters: Mapping[str, Any], timeout_s: float) -> Numbers:
    """What an import costs over an interpreter that imports nothing: milliseconds and modules."""
    statement = parameters.get("statement", place.peer.import_statement)
    over_ms = []
    for _ in range(IMPORTS_A_ROUND):
        bare_ms = _run_ms(place, "pass", timeout_s)
        over_ms.append(_run_ms(place, statement, timeout_s) - bare_ms)
    count = f"import sys; before = len(sys.modules); {statement}; print(before, len(sys.modules))"
    with _running(place, ["-c", count], timeout_s) as process:
        before, after = map(int, next(_lines(process)).split())
    return {"ms": statistics.median(over_ms), "modules": after - before, "modules_in_all": after}


PROGRAMS: dict[str, Callable[[Place, Mapping[str, Any], float], Numbers]] = {
    "first_result": first_result,
    "import_cost": import_cost,
}


def run(place: Place, name: str, parameters: Mapping[str, Any], timeout_s: float) -> Numbers:
    """One measurement of one peer. Raises `MeasurementFailed`."""
    if name in PROGRAMS:
        return PROGRAMS[name](place, parameters, timeout_s)
    return measurement(place, name, parameters, timeout_s)


def _run_ms(place: Place, program: str, timeout_s: float) -> float:
    started = time.perf_counter()
    with _running(place, ["-c", program], timeout_s) as process:
        process.wait()
        return (time.perf_counter() - started) * 1e3


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    if process.stdout is None:
        raise ValueError("the program was started without a pipe for its output")
    return iter(process.stdout.readline, "")


@contextmanager
def _running(
    place: Place, arguments: list[str], timeout_s: float, *, output: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """A Python of the peer's environment, in a process group that does not outlive it.

    Raises `MeasurementFailed` on leaving, when the program took too long or ended with an error.
    """
    too_long = threading.Event()
    with (
        (place.scratch / "errors.txt").open("w") as errors,
        subprocess.Popen(
            [place.python, *arguments],
            env=place.variables(),
            cwd=place.scratch,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            text=True,
            start_new_session=True,
        ) as process,
    ):

        def expire() -> None:
            too_long.set()
            _end_group(process)

        timer = threading.Timer(timeout_s, expire)
        timer.start()
        try:
            yield process
            process.wait()
        finally:
            timer.cancel()
            _end_group(process)
    if too_long.is_set():
        raise MeasurementFailed(f"not done within {timeout_s:g} s")
    if process.returncode != 0:
        raise MeasurementFailed(f"ended with {process.returncode}: {_last_words(place)}")


def _end_group(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it and all that it started have ended


def _last_words(place: Place) -> str:
    lines = (place.scratch / "errors.txt").read_text(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it did not say why")[:120]

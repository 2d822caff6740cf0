"""What is measured: the steps, how often each is made, and the rows of the table that show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Parameters = Mapping[str, Any]
MB = 1_000_000


@dataclass(frozen=True)
class Row:
    """One row of the table: one number of one step, of every peer."""

    title: str
    number: str
    """Its name in what the measurement gives."""
    ratio_to: str | None = None
    """The step whose same number this is divided by."""


@dataclass(frozen=True)
class Step:
    """One measurement, made of every peer in turn, round after round."""

    name: str
    measurement: str
    """A function of `measure`, or one of `programs`."""
    rows: tuple[Row, ...]
    parameters: Parameters = field(default_factory=dict)
    smaller: Mapping[str, Parameters] = field(default_factory=dict)
    """By peer: the parameters for one that is too slow for the others'."""
    only: frozenset[str] | None = None
    """The peers that are measured; `None` for all."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """By peer: why it is not measured."""
    most_rounds: int = 5
    timeout_s: float = 45.0

    def parameters_for(self, peer: str) -> Parameters:
        return {**self.parameters, **self.smaller.get(peer, {})}

    def measures(self, peer: str) -> bool:
        return (self.only is None or peer in self.only) and peer not in self.left_out


def steps(*, quick: bool) -> list[Step]:
    """The whole suite; `quick` makes the same with small numbers, to see that it works."""
    few, many = (1_000, 5_000) if quick else (10_000, 100_000)
    slow = 10 if quick else 50
    large = 10 * MB if quick else 100 * MB
    return [
        Step(
            "calls",
            "map_calls",
            (Row(f"{few:,} no-ops in one map: µs a call", "us_per_call"),),
            {"calls": few},
            smaller={"lithops38": {"calls": slow}},
        ),
        Step(
            "many calls",
            "map_calls",
            (
                Row(f"{many:,} no-ops in one map: µs a call", "us_per_call"),
                Row(f"… a call, over a call of {few:,}: ratio", "us_per_call", ratio_to="calls"),
                Row("… client memory, bytes a call (RSS growth)", "rss_bytes_per_call"),
            ),
            {"calls": many},
            smaller={"dask": {"calls": many // 5}, "ray": {"calls": many // 2}},
            left_out={"lithops38": "it is too slow for so many calls"},
            most_rounds=3,
            timeout_s=400.0,
        ),
        Step(
            "traced memory",
            "traced_memory",
            (Row("… client memory, bytes a call (tracemalloc)", "traced_bytes_per_call"),),
            {"calls": many},
            only=frozenset({"lithops", "futures"}),
            most_rounds=1,
            timeout_s=400.0,
        ),
        Step(
            "first result",
            "first_result",
            (
                Row("first result in a new process, interpreter start included: s", "printed_s"),
                Row("… until the process has ended: s", "ended_s"),
            ),
        ),
        Step(
            "round trip",
            "round_trip",
            (
                Row("one more call when warm, there and back: ms, median", "median_ms"),
                Row("… ms, 99th percentile", "p99_ms"),
            ),
            {"calls": 20 if quick else 200},
            smaller={"lithops38": {"calls": 10 if quick else 50}},
        ),
        *_array_steps(MB, calls=3 if quick else 20, slow_calls=3),
        *_array_steps(large, calls=1 if quick else 3, slow_calls=1),
        Step(
            "import",
            "import_cost",
            (
                Row("import, over a bare interpreter: ms", "ms"),
                Row("… modules it loads", "modules"),
            ),
        ),
        Step(
            "worker import",
            "import_cost",
            (
                Row("import of what a worker runs (`lithops.worker.handler`): ms", "ms"),
                Row("… modules it loads", "modules"),
                Row("… modules of that interpreter in all", "modules_in_all"),
            ),
            {"statement": "import lithops.worker.handler"},
            only=frozenset({"lithops"}),
        ),
        Step(
            "straggler",
            "straggler",
            (
                Row(f"{few // 10:,} calls of 1 ms: s until all are done", "alone_s"),
                Row("… behind one call of 2 s in the same map: s until all short ones are done", "behind_s"),
            ),
            {"calls": few // 10},
            smaller={"lithops38": {"calls": slow // 2}},
            most_rounds=3,
        ),
    ]


def _array_steps(size_bytes: int, *, calls: int, slow_calls: int) -> list[Step]:
    size = f"{size_bytes // MB} MB"
    parameters = {"size_bytes": size_bytes, "calls": calls}
    smaller = {"lithops38": {"calls": slow_calls}}
    times = (
        Row(f"{size} array, argument and result: ms", "both_ms"),
        Row("… argument only: ms", "argument_ms"),
        Row("… result only: ms", "result_ms"),
    )
    peaks = (
        Row("… and back, peak memory of the client: MB", "client_peak_mb"),
        Row("… and back, peak memory of the largest process under it: MB", "worker_peak_mb"),
    )
    return [
        Step(f"{size} time", "arrays", times, parameters, smaller, most_rounds=3),
        Step(f"{size} memory", "array_memory", peaks, parameters, smaller, most_rounds=1),
    ]

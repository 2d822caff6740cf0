"""What a job would cost: a few of its calls are run, and the rest is taken to be like them."""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from lithops.cost import Cost, cost_of, priced
from lithops.exceptions import InvalidCall
from lithops.future import ResponseFuture
from lithops.job import Job
from lithops.ledger import Ledger, billed_s
from lithops.monitor.chain import as_futures
from lithops.prepare.bind import elements
from lithops.prepare.options import DataOptions, JobOptions
from lithops.wait import get_result
from lithops.wire.messages import busy_s

Inputs = Sequence[Sequence[ResponseFuture]]
"""The futures that each call of a job waits for."""

_ASSUMPTIONS = (
    "the other calls are like those that were run, and none is repeated",
    "results are read; uploads and looks for what has ended are as many as those of the sample",
)
_PER_CALL = ("put", "get")
"""Kinds of requests that grow with the number of calls, once the data has been uploaded."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job would cost, from a sample of its calls that were run."""

    calls: int
    """How many calls the job would have."""
    sample: int
    """How many of them were run."""
    mean_s: float
    """Seconds of a worker that a call takes, on average."""
    spread_s: float
    """The standard deviation of these seconds."""
    shortest_s: float
    longest_s: float
    cost: Cost
    """What to expect: every call takes the mean."""
    low: float
    """US dollars, if every call took as long as the shortest of the sample."""
    high: float
    """US dollars, if every call took as long as the longest, and all kinds of requests grew with the calls."""
    spent: Cost
    """What running the sample has cost."""
    assumptions: tuple[str, ...]

    @property
    def total(self) -> float:
        """US dollars to expect."""
        return self.cost.total

    def __str__(self) -> str:
        seconds = f"mean {self.mean_s:.3f} s, spread {self.spread_s:.3f} s"
        return "\n".join(
            [
                f"{self.calls:,} calls, of which {self.sample:,} were run",
                f"a call takes: {seconds}, from {self.shortest_s:.3f} s to {self.longest_s:.3f} s",
                f"total: {self.total:.6f} USD, between {self.low:.6f} and {self.high:.6f}",
                str(self.cost),
                *(f"assumed: {each}" for each in self.assumptions),
            ]
        )

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


@dataclass(frozen=True, slots=True)
class Sample:
    """Some of a job's calls, as a job of their own."""

    job: Job
    inputs: Inputs
    calls: int
    """How many the whole job would have."""


def draw(
    prepare: Callable[[Sequence[Any]], tuple[Job, Inputs, Any]], iterdata: Any, size: int, *, in_parts: bool
) -> Sample:
    """A sample spread over the data. Of data that is cut into parts, some parts; else only what is sampled is prepared.

    Raises `InvalidCall` unless the sample has a call.
    """
    if size < 1:
        raise InvalidCall(f"sample is {size!r}: it must be 1 or more")
    data = as_futures(iterdata) or list(elements(iterdata))
    if not in_parts:
        job, inputs, _ = prepare([data[at] for at in spread(len(data), size)])
        return Sample(job, inputs, len(data))
    job, inputs, _ = prepare(data)
    calls = len(job.futures)
    chosen = spread(calls, size)
    job.futures = [job.futures[at] for at in chosen]
    job.calls = [job.calls[at] for at in chosen]
    return Sample(job, inputs, calls)


def spread(total: int, size: int) -> list[int]:
    """Up to `size` of so many positions: the first, the last, and some evenly between."""
    if size >= total:
        return list(range(total))
    return [number * (total - 1) // max(1, size - 1) for number in range(size)]


def split(options: Mapping[str, Any]) -> tuple[DataOptions, JobOptions]:
    """The keyword arguments of a map, by what they are about."""
    of_data = {each.name for each in fields(DataOptions)}
    return (
        DataOptions(**{name: value for name, value in options.items() if name in of_data}),
        JobOptions(**{name: value for name, value in options.items() if name not in of_data}),
    )


def run_sample(sample: Sample, send: Callable[[Job, Inputs], None], ledger: Ledger) -> Estimate:
    """Run it, and say what the whole job would cost. Raises what a call raises."""
    uploads = ledger.requests(sample.job.spec.job_key)
    send(sample.job, sample.inputs)
    get_result(sample.job.futures, show_progressbar=False)
    return extrapolate(sample, ledger, uploads)


def extrapolate(sample: Sample, ledger: Ledger, uploads: Mapping[str, int]) -> Estimate:
    """From a sample that has been run to the whole job. `uploads` are the requests that preparing it took."""
    job, calls = sample.job, sample.calls
    use = ledger.jobs().get(job.spec.job_key)
    statuses = [future.settled_status() for future in job.futures]
    times = [busy_s(status) for status in statuses if status] or [0.0]
    mean_s, shortest_s, longest_s = statistics.fmean(times), min(times), max(times)
    expected = low = high = priced(ledger)
    if use is not None:
        growth = calls / len(job.futures)
        steady = {
            kind: uploads.get(kind, 0) + (count - uploads.get(kind, 0)) * (growth if kind in _PER_CALL else 1)
            for kind, count in use.requests.items()
        }
        growing = {kind: count * growth for kind, count in use.requests.items()}
        per_task = job.calls_per_task or 1
        # Calls that share an activation may run side by side, or with gaps between them.
        pace = use.seconds / sum(times) if use.seconds and per_task > 1 else 1.0

        def cost(each: Sequence[float], requests: Mapping[str, float]) -> Cost:
            seconds = statistics.fmean(billed_s(taken * pace * per_task, use.prices) for taken in each)
            return priced(
                ledger,
                use,
                billed_s=seconds * calls / per_task,
                activations=math.ceil(calls / per_task),
                requests=requests,
            )

        expected = cost(times if per_task == 1 else [mean_s], steady)
        low, high = cost([shortest_s], steady), cost([longest_s], growing)
    return Estimate(
        calls,
        len(job.futures),
        mean_s,
        statistics.pstdev(times),
        shortest_s,
        longest_s,
        expected,
        low.total,
        high.total,
        cost_of(ledger, job.futures),
        _ASSUMPTIONS,
    )

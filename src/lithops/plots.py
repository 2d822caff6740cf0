"""Pictures of what became of calls: when each one ran, how many ran at once, and how long they took.

The colours are those of Okabe and Ito, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import os
import statistics
import time
from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from lithops.exceptions import ConfigError, InvalidCall

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lithops.future import ResponseFuture

_FOLDER = "plots"
_DOTS_PER_INCH = 150
_GREY, _ORANGE, _BLUE, _GREEN, _RED = "#bbbbbb", "#e69f00", "#0072b2", "#009e73", "#d55e00"
_WIDEST_LINE_PT, _THINNEST_LINE_PT = 8.0, 0.4
_SLICES = 200
"""Into so many the time is divided: the mean in each can be read, every single change could not."""
_MOST_BINS = 40
_CLOCK_S = 1e-7
"""What is shorter than this the clocks do not tell."""
_WIDE_SPREAD = 50
"""If the longest function took so many times the median, durations are drawn on a logarithmic scale."""


class Span(NamedTuple):
    """One call's time stamps, in seconds since the first of the jobs was made."""

    sent: float
    done: float
    worker: tuple[float, float, float] | None
    """The worker's start with this call, and the start and the end of the function.
    None where the worker did not live to report."""
    failed: bool


def draw(futures: Sequence[ResponseFuture], dst: str | None, figsize: tuple[float, float]) -> list[str]:
    """Draw a timeline and a histogram of calls that have ended, and give the paths of the two PNG files.

    `dst` is a folder, made if it is missing (default: ``plots``); `figsize` is in inches.
    Raises `InvalidCall` when there are no calls, `ConfigError` when matplotlib is not installed.
    """
    spans = spans_of(futures)
    if not spans:
        raise InvalidCall("there is nothing to draw: no call has ended yet; wait for some, then draw")
    folder = dst or _FOLDER
    os.makedirs(folder, exist_ok=True)
    stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{futures[0].executor_id}"
    pictures: list[tuple[str, Callable[[Figure, Sequence[Span]], None]]] = [
        ("timeline", draw_timeline),
        ("histogram", draw_histogram),
    ]
    return [
        _save(picture, spans, figsize, os.path.join(folder, f"{stamp}-{name}.png"))
        for name, picture in pictures
    ]


def spans_of(futures: Sequence[ResponseFuture]) -> list[Span]:
    """The calls that have ended, in the order in which they were sent and then started."""
    ended = [(future.stats, future.error) for future in futures if future.done]
    start = min(
        (stats["host_job_create_tstamp"] for stats, _ in ended if "host_job_create_tstamp" in stats),
        default=0,
    )
    return sorted((_span(stats, error, start) for stats, error in ended), key=_order)


def draw_timeline(figure: Figure, spans: Sequence[Span]) -> None:
    """One line for each call, from when it was sent to when its result was there."""
    axes = figure.add_subplot()
    height_pt = figure.get_size_inches()[1] * 72 * 0.8
    width_pt = min(_WIDEST_LINE_PT, max(_THINNEST_LINE_PT, 0.8 * height_pt / len(spans)))
    stages: dict[tuple[str, str], list[tuple[int, float, float]]] = {
        ("sent, not started", _GREY): [],
        ("worker gets ready", _ORANGE): [],
        ("function runs", _BLUE): [],
        ("result on its way", _GREEN): [],
        ("failed", _RED): [],
    }
    waiting, ready, running, returning, failed = stages.values()
    for row, span in enumerate(spans):
        if span.worker is None:
            failed.append((row, span.sent, span.done))
            continue
        worker_start, function_start, function_end = span.worker
        waiting.append((row, span.sent, worker_start))
        ready.append((row, worker_start, function_start))
        (failed if span.failed else running).append((row, function_start, function_end))
        returning.append((row, function_end, span.done))
    for (label, colour), lines in stages.items():
        if lines:
            rows, starts, ends = zip(*lines, strict=True)
            axes.hlines(rows, starts, ends, colors=colour, linewidth=width_pt, label=label, capstyle="butt")
    axes.set(title=_title(spans), xlabel="seconds since the job was made", ylabel="calls, in the order sent")
    axes.set_xlim(left=0)
    # The first call on top, half a line of room at both ends.
    axes.set_ylim(len(spans) - 0.5, -0.5)
    _tidy(axes)
    legend = figure.legend(loc="outside lower center", ncols=len(stages), frameon=False)
    for handle in legend.legend_handles:
        handle.set_linewidth(6)  # type: ignore[union-attr]


def draw_histogram(figure: Figure, spans: Sequence[Span]) -> None:
    """How many functions ran as time went by, and how long they took."""
    over_time, durations = figure.subplots(1, 2, width_ratios=(3, 2))
    figure.suptitle(_title(spans))
    run = [span.worker[1:] for span in spans if span.worker is not None]
    edges, means = running_means(run, max(span.done for span in spans), _SLICES)
    over_time.stairs(means, edges, fill=True, color=_BLUE)
    over_time.set(title="functions running", xlabel="seconds since the job was made", ylabel="functions")
    over_time.set_xlim(left=0)
    over_time.set_ylim(bottom=0)
    if run:
        took_s = [max(end - start, _CLOCK_S) for start, end in run]
        wide = max(took_s) > _WIDE_SPREAD * statistics.median(took_s)
        durations.set_xscale("log" if wide else "linear")
        durations.hist(took_s, bins=bin_edges(took_s, logarithmic=wide), color=_BLUE)
    durations.set(title="how long functions took", xlabel="seconds", ylabel="functions")
    for axes in (over_time, durations):
        _tidy(axes)


def running_means(
    intervals: Sequence[tuple[float, float]], end: float, slices: int
) -> tuple[list[float], list[float]]:
    """The edges of equal slices of time from 0 to `end`, and how many intervals are open in each on average."""
    opened, closed = (
        _elapsed_since([start for start, _ in intervals]),
        _elapsed_since([end for _, end in intervals]),
    )
    edges = [end * number / slices for number in range(slices + 1)]
    areas = [opened(edge) - closed(edge) for edge in edges]
    width = max(end / slices, 1e-9)
    return edges, [(after - before) / width for before, after in pairwise(areas)]


def bin_edges(durations_s: Sequence[float], *, logarithmic: bool) -> list[float]:
    """Edges of bins from nothing to the longest, or from the shortest in equal ratios."""
    count = min(_MOST_BINS, len(durations_s))
    shortest, longest = min(durations_s), max(durations_s)
    first = shortest if logarithmic else 0.0
    ratio = (longest / shortest) ** (1 / count)
    inner = [
        shortest * ratio**number if logarithmic else longest * number / count for number in range(1, count)
    ]
    # The last edge as it is: rounding could leave the longest out.
    return [first, *inner, longest]


def _elapsed_since(moments: Sequence[float]) -> Callable[[float], float]:
    """A function of time: the sum, over all moments before it, of the time since."""
    ordered = sorted(moments)
    sums = [0.0, *accumulate(ordered)]

    def elapsed(now: float) -> float:
        count = bisect(ordered, now)
        return count * now - sums[count]

    return elapsed


def _span(stats: dict[str, Any], failed: bool, start: float) -> Span:
    done = stats["host_status_done_tstamp"] - start
    sent = stats["host_submit_tstamp"] - start if "host_submit_tstamp" in stats else done
    if "worker_start_tstamp" not in stats:
        return Span(sent, done, None, failed)
    worker = (
        stats["worker_start_tstamp"] - start,
        stats["worker_func_start_tstamp"] - start,
        stats["worker_func_end_tstamp"] - start,
    )
    return Span(sent, done, worker, failed)


def _order(span: Span) -> tuple[float, float]:
    return span.sent, span.worker[0] if span.worker else span.done


def _title(spans: Sequence[Span]) -> str:
    failed = sum(span.failed for span in spans)
    calls = "1 call" if len(spans) == 1 else f"{len(spans):,} calls"
    return f"{calls}, {failed:,} failed" if failed else calls


def _tidy(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.spines[["top", "right"]].set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _save(
    picture: Callable[[Figure, Sequence[Span]], None],
    spans: Sequence[Span],
    figsize: tuple[float, float],
    path: str,
) -> str:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"drawing needs the package '{error.name}', which is not installed; run: pip install 'lithops[plot]'"
        ) from error
    # Not pyplot: it keeps figures for the whole program, and looks for a display.
    figure = Figure(figsize=figsize, dpi=_DOTS_PER_INCH, layout="constrained")
    picture(figure, spans)
    figure.savefig(path)
    return path

"""Pictures: what they are made of, and that they are made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from matplotlib.figure import Figure

import lithops
from lithops import plots
from lithops.exceptions import ConfigError, InvalidCall

PNG = b"\x89PNG\r\n\x1a\n"
moments = st.floats(0, 100, allow_nan=False)


def picture_size(path: str) -> tuple[int, int]:
    """Width and height as the PNG's header tells."""
    header = Path(path).read_bytes()[:24]
    assert header.startswith(PNG)
    return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")


def half(x: int) -> float:
    if x == 3:
        raise ValueError(x)
    if x == 5:
        os.kill(os.getpid(), 9)
    return x / 2


@pytest.fixture(scope="module")
def futures() -> Any:
    with lithops.FunctionExecutor(config={}, log_level=None, worker_processes=2) as fexec:
        made = fexec.map(half, range(8))
        fexec.wait(made, throw_except=False)
        yield made


def test_both_pictures_have_the_size_that_was_asked_for(futures: Any, tmp_path: Path) -> None:
    folder = tmp_path / "some" / "folder"
    paths = futures.executor.plot(futures, dst=str(folder), figsize=(6, 4))
    assert [picture_size(path) for path in paths] == [(900, 600), (900, 600)]
    assert sorted(os.listdir(folder)) == sorted(os.path.basename(path) for path in paths)
    assert paths[0].endswith("-timeline.png")
    assert paths[1].endswith("-histogram.png")


def test_the_default_folder_is_plots(futures: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = futures.executor.plot()
    assert [os.path.dirname(path) for path in paths] == ["plots", "plots"]


def test_spans_follow_each_call_in_order(futures: Any) -> None:
    spans = plots.spans_of(futures)
    assert len(spans) == 8
    assert [span.sent for span in spans] == sorted(span.sent for span in spans)
    for span in spans:
        if span.worker is not None:
            assert 0 < span.worker[0] <= span.worker[1] <= span.worker[2] <= span.done
    assert sum(span.failed for span in spans) == 2
    assert sum(span.worker is None for span in spans) == 1, "the worker that was killed reported nothing"


def test_each_call_is_a_line_and_failures_have_a_colour_of_their_own(futures: Any) -> None:
    figure = Figure()
    plots.draw_timeline(figure, plots.spans_of(futures))
    lines = {each.get_label(): each for each in figure.axes[0].collections}
    assert len(lines["function runs"].get_paths()) == 6
    assert len(lines["failed"].get_paths()) == 2
    assert len({repr(each.get_edgecolor()) for each in lines.values()}) == len(lines) == 5
    assert figure.axes[0].get_title() == "8 calls, 2 failed"


def test_all_calls_failed_without_a_report(tmp_path: Path) -> None:
    for picture in (plots.draw_timeline, plots.draw_histogram):
        figure = Figure()
        picture(figure, [plots.Span(0.1, 0.4, None, True)])
        figure.savefig(tmp_path / "picture.png")


@given(st.lists(st.tuples(moments, moments).map(lambda pair: (min(pair), max(pair)))), st.integers(1, 50))
def test_mean_numbers_add_up_to_the_time_of_all_functions(
    intervals: list[tuple[float, float]], slices: int
) -> None:
    edges, means = plots.running_means(intervals, 100.0, slices)
    assert len(edges) == slices + 1
    assert sum(means) * 100 / slices == pytest.approx(sum(end - start for start, end in intervals), abs=1e-6)
    assert all(-1e-6 <= mean <= len(intervals) + 1e-6 for mean in means)


def test_a_slice_has_the_functions_that_ran_in_it() -> None:
    _, means = plots.running_means([(0.0, 2.0), (1.0, 2.0), (1.5, 4.0)], 4.0, 4)
    assert means == pytest.approx([1.0, 2.5, 1.0, 1.0])


@given(st.lists(st.floats(1e-7, 1e4), min_size=1, max_size=99), st.booleans())
def test_every_duration_falls_into_a_bin(durations: list[float], logarithmic: bool) -> None:
    assume(not logarithmic or max(durations) > 2 * min(durations))
    edges = plots.bin_edges(durations, logarithmic=logarithmic)
    assert edges == sorted(edges)
    assert edges[0] <= min(durations)
    assert max(durations) <= edges[-1]


def test_nothing_to_draw_is_an_error() -> None:
    with pytest.raises(InvalidCall, match="no call has ended yet"):
        plots.draw([], None, (10, 6))


def test_without_matplotlib_the_error_is_the_command_that_installs_it(
    futures: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"pip install 'lithops\[plot\]'"):
        plots.draw(futures, str(tmp_path), (10, 6))


def test_importing_it_loads_no_matplotlib_and_drawing_no_pyplot(tmp_path: Path) -> None:
    program = """
import sys
from lithops import plots
assert "matplotlib" not in sys.modules
import matplotlib.figure
figure = matplotlib.figure.Figure()
plots.draw_histogram(figure, [plots.Span(0.0, 1.0, (0.1, 0.2, 0.9), False)])
figure.savefig(sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
"""
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")}
    target = tmp_path / "histogram.png"
    subprocess.run([sys.executable, "-c", program, str(target)], env=environment, check=True, timeout=60)
    assert target.read_bytes().startswith(PNG)

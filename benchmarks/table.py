"""Outcomes as one Markdown table."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

from peers.base import Peer
from plan import Row, Step
from rounds import Outcome, Outcomes

NOT_MEASURED = "—"


def table(steps: Sequence[Step], peers: Sequence[Peer], outcomes: Outcomes) -> str:
    """A row a number, a column a peer, and notes of what is missing or failed below."""
    lines = [
        "| | " + " | ".join(peer.title for peer in peers) + " |",
        "|---|" + "---:|" * len(peers),
    ]
    for step in steps:
        for row in step.rows:
            cells = [_cell(step, row, peer.name, outcomes) for peer in peers]
            if any(cell != NOT_MEASURED for cell in cells):
                lines.append(f"| {row.title} | " + " | ".join(cells) + " |")
    notes = [note for step in steps for peer in peers for note in _notes(step, peer, outcomes)]
    return "\n".join([*lines, "", *notes, ""]) if notes else "\n".join([*lines, ""])


def _cell(step: Step, row: Row, peer: str, outcomes: Outcomes) -> str:
    outcome = outcomes.get((step.name, peer), Outcome())
    values = [numbers[row.number] for numbers in outcome.numbers]
    if not values:
        return "failed" if outcome.failures else NOT_MEASURED
    if row.ratio_to is not None:
        base = outcomes.get((row.ratio_to, peer), Outcome())
        base_values = [numbers[row.number] for numbers in base.numbers]
        if not base_values:
            return NOT_MEASURED
        return f"{statistics.median(values) / statistics.median(base_values):.2f}"
    text = _figure(statistics.median(values))
    if len(values) > 1:
        text += f" ({_figure(min(values))}–{_figure(max(values))})"  # noqa: RUF001 - a range
    if peer in step.smaller:
        text += f" [N={step.parameters_for(peer)['calls']:,}]"
    return text


def _notes(step: Step, peer: Peer, outcomes: Outcomes) -> list[str]:
    if peer.name in step.left_out:
        return [f"- {peer.title}, {step.name}: not measured, {step.left_out[peer.name]}."]
    outcome = outcomes.get((step.name, peer.name), Outcome())
    return [
        f"- {peer.title}, {step.name}: {times} of {outcome.rounds} rounds failed: {failure}."
        for failure, times in sorted(Counter(outcome.failures).items())
    ]


def _figure(value: float) -> str:
    """Three figures that count, with whole numbers whole."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"

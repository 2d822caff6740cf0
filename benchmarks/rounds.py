"""Makes the measurements: round after round, every peer in turn, each in a process of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from plan import Step
from programs import MeasurementFailed, Place, run

BUDGET_S = 12.0
"""A peer whose rounds of one step have taken this long together is given no further round of it."""


@dataclass
class Outcome:
    """What one peer gave in the rounds of one step."""

    numbers: list[Mapping[str, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    spent_s: float = 0.0

    @property
    def rounds(self) -> int:
        return len(self.numbers) + len(self.failures)


Outcomes = dict[tuple[str, str], Outcome]
"""By step and peer."""


def measure(steps: Sequence[Step], places: Sequence[Place], *, rounds: int) -> Outcomes:
    """Every step of every peer that it is for; what fails is an outcome too."""
    outcomes: Outcomes = {}
    for step in steps:
        measured = [place for place in places if step.measures(place.peer.name)]
        for number in range(min(rounds, step.most_rounds)):
            for place in measured:
                outcome = outcomes.setdefault((step.name, place.peer.name), Outcome())
                if outcome.spent_s < BUDGET_S:
                    _round(step, place, outcome)
                    _tell(step, place, number, outcome)
    return outcomes


def _round(step: Step, place: Place, outcome: Outcome) -> None:
    started = time.perf_counter()
    try:
        numbers = run(place, step.measurement, step.parameters_for(place.peer.name), step.timeout_s)
    except MeasurementFailed as failure:
        outcome.failures.append(str(failure))
    else:
        outcome.numbers.append(numbers)
    outcome.spent_s += time.perf_counter() - started


def _tell(step: Step, place: Place, number: int, outcome: Outcome) -> None:
    print(
        f"{step.name}, {place.peer.name}, round {number + 1}: {outcome.spent_s:.1f} s so far", file=sys.stderr
    )
    if outcome.failures and outcome.rounds == number + 1:
        print(f"    {outcome.failures[-1]}", file=sys.stderr)

"""The whole way from `map` to results, through thousands of clouds in which things go wrong.

`LITHOPS_SEEDS` is how many, `LITHOPS_FIRST_SEED` where to start: with 1 and a seed that failed, that one again.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest
from journeys import KINDS, travel

_SEEDS = int(os.environ.get("LITHOPS_SEEDS", "2300"))
_FIRST_SEED = int(os.environ.get("LITHOPS_FIRST_SEED", "0"))
_BLOCK = 100


@pytest.mark.parametrize("start", range(_FIRST_SEED, _FIRST_SEED + _SEEDS, _BLOCK))
def test_every_journey_comes_to_its_end(start: int) -> None:
    for seed in range(start, min(start + _BLOCK, _FIRST_SEED + _SEEDS)):
        travel(seed)


@pytest.mark.parametrize("seed", range(3 * len(KINDS)))
def test_a_seed_repeats_exactly(seed: int) -> None:
    first, second = travel(seed), travel(seed)
    assert first.trace == second.trace
    assert first.clock.now() == second.clock.now()
    assert len(first.trace) > 3


def test_a_seed_repeats_in_another_process() -> None:
    program = "import hashlib, journeys; print(hashlib.sha256(str(journeys.travel(25).history).encode()).hexdigest())"
    digests = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.path.dirname(__file__)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert digests[0] == digests[1]
    assert digests[0].strip() == hashlib.sha256(str(travel(25).history).encode()).hexdigest()

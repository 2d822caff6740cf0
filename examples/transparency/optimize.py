"""scipy's `workers=` and emcee's `pool=` on any backend: both take a pool, or its `map`.

python examples/transparency/optimize.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import emcee
import numpy as np
from scipy.optimize import OptimizeResult, differential_evolution

import lithops.multiprocessing as mp

BOUNDS = [(-2.0, 2.0)] * 3


def rosenbrock(point: np.ndarray) -> float:
    """A valley that is easy to find, with a lowest point that is not."""
    return float(np.sum(100.0 * (point[1:] - point[:-1] ** 2) ** 2 + (1 - point[:-1]) ** 2))


def log_probability(point: np.ndarray) -> float:
    """Of a normal distribution."""
    return -0.5 * float(point @ point)


def minimize(workers: Any) -> OptimizeResult:
    """The lowest point, found by a population of candidates; `workers` is a function like `map`."""
    return differential_evolution(
        rosenbrock, BOUNDS, workers=workers, updating="deferred", rng=7, maxiter=30, popsize=8, polish=False
    )


def sample(pool: Any) -> np.ndarray:
    """A chain of 20 steps of 32 walkers; without a pool, computed here."""
    start = np.random.default_rng(7).normal(size=(32, 3))
    np.random.seed(7)
    sampler = emcee.EnsembleSampler(32, 3, log_probability, pool=pool)
    sampler.run_mcmc(start, 20)
    chain: np.ndarray = sampler.get_chain()
    return chain


def main() -> int:
    parser = argparse.ArgumentParser(description="An optimization and a Monte Carlo chain, in a pool.")
    parser.add_argument("--check", action="store_true", help="fail unless both are the same without a pool")
    args = parser.parse_args()

    with mp.Pool(2) as pool:
        lowest = minimize(pool.map)
        chain = sample(pool)
    print(f"lowest at {np.round(lowest.x, 3)} after {lowest.nfev} evaluations")
    print(f"{chain.shape[0] * chain.shape[1]} samples, standard deviation {chain.std():.3f}")
    if args.check and not (np.array_equal(lowest.x, minimize(map).x) and np.array_equal(chain, sample(None))):
        print("without a pool both are something else", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

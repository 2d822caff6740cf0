"""Estimate pi by throwing darts at a square: a thousand calls, each with random numbers of its own.

python examples/pi.py [--calls NUMBER] [--darts NUMBER] [--check]
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time

import lithops


def throw_darts(seed: int, darts: int) -> int:
    """One call: how many darts land inside the quarter of a circle."""
    throw = random.Random(seed).random
    return sum(throw() ** 2 + throw() ** 2 <= 1 for _ in range(darts))


def main() -> int:
    parser = argparse.ArgumentParser(description="Estimate pi by throwing darts.")
    parser.add_argument("--calls", type=int, default=1_000, metavar="NUMBER", help="how many calls")
    parser.add_argument("--darts", type=int, default=20_000, metavar="NUMBER", help="how many darts in each")
    parser.add_argument(
        "--check", action="store_true", help="fail unless the estimate is as good as it should be"
    )
    args = parser.parse_args()

    started = time.perf_counter()
    with lithops.FunctionExecutor(log_level="WARNING") as fexec:
        hits = fexec.get_result(fexec.map(throw_darts, range(args.calls), extra_args=(args.darts,)))
    elapsed_s = time.perf_counter() - started

    thrown = args.calls * args.darts
    estimate = 4 * sum(hits) / thrown
    error = abs(estimate - math.pi)
    print(f"pi is about {estimate:.6f}, off by {error:.6f}, after {thrown:,} darts")
    print(f"{args.calls:,} calls in {elapsed_s:.2f} s")

    # Hits are binomial: an estimate that is five standard deviations off has a cause that is not chance.
    allowed = 5 * math.sqrt(math.pi * (4 - math.pi) / thrown)
    if args.check and error > allowed:
        print(f"the check failed: off by more than {allowed:.6f}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

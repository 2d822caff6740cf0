"""tqdm's `process_map` on any backend: its import of `concurrent.futures` is replaced, and nothing else.

python examples/transparency/progress.py [--calls NUMBER] [--check]
"""

from __future__ import annotations

import argparse
import sys

from tqdm.contrib.concurrent import process_map

from lithops.util.substitution import standard_library_replaced


def collatz_steps(number: int) -> int:
    """How many steps it takes to get down to 1."""
    steps = 0
    while number != 1:
        number = 3 * number + 1 if number % 2 else number // 2
        steps += 1
    return steps


def main() -> int:
    parser = argparse.ArgumentParser(description="The Collatz problem, with a progress bar.")
    parser.add_argument("--calls", type=int, default=20_000, metavar="NUMBER", help="how many numbers")
    parser.add_argument("--check", action="store_true", help="fail unless a plain loop gives the same")
    args = parser.parse_args()

    numbers = range(1, args.calls + 1)
    # tqdm imports when it is called.
    with standard_library_replaced():
        steps = process_map(collatz_steps, numbers, max_workers=2, chunksize=500)
    print(f"the longest way down is {max(steps)} steps, from {steps.index(max(steps)) + 1:,}")
    if args.check and steps != [collatz_steps(number) for number in numbers]:
        print("a plain loop gives something else", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

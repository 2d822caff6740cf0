"""Look for the longest chains of Collatz, and compute with dask: programs of `concurrent.futures`, on the configured
backend.

python examples/transparency/executors.py [--numbers NUMBER] [--check]
"""

from __future__ import annotations

import argparse
import concurrent.futures as standard
import sys
import time
from collections.abc import Callable
from typing import Any

import dask
import dask.bag

import lithops.concurrent.futures as ours

from_sequence: Any = dask.bag.from_sequence

BLOCK = 5_000

_lengths: dict[int, int] = {}


def remember_powers(highest: int) -> None:
    """The initializer: each worker begins with the chains that are known."""
    _lengths.update((2**power, power) for power in range(highest))


def longest_chain(start: int) -> tuple[int, int]:
    """The length of the longest chain of a block of numbers, and the number that it begins with."""
    return max((chain_length(number), number) for number in range(max(start, 1), start + BLOCK))


def chain_length(number: int) -> int:
    """How many steps lead from the number to 1."""
    steps, reached = 0, number
    while reached not in _lengths:
        reached = 3 * reached + 1 if reached % 2 else reached // 2
        steps += 1
    _lengths[number] = steps + _lengths[reached]
    return _lengths[number]


def search(make_executor: Callable[..., standard.Executor], numbers: int) -> tuple[int, int]:
    """The program, as it would be written for the standard library."""
    with make_executor(initializer=remember_powers, initargs=(40,)) as executor:
        futures = [executor.submit(longest_chain, start) for start in range(0, numbers, BLOCK)]
        return max(future.result() for future in standard.as_completed(futures))


def count_digits(executor: standard.Executor | str, numbers: int) -> dict[str, int]:
    """Count digits with dask, which runs on any executor of the standard library's kind."""
    with dask.config.set(scheduler=executor):
        bag: Any = from_sequence(range(numbers), npartitions=8)
        counted: list[tuple[str, int]] = bag.map(str).flatten().frequencies().compute()
    return dict(sorted(counted))


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Run programs of concurrent.futures on the configured backend."
    )
    parser.add_argument(
        "--numbers", type=int, default=100_000, metavar="NUMBER", help="how many numbers to look at"
    )
    parser.add_argument("--check", action="store_true", help="fail unless the plain programs find the same")
    args = parser.parse_args()

    started = time.perf_counter()
    length, number = search(ours.ProcessPoolExecutor, args.numbers)
    print(f"the longest chain below {args.numbers:,} begins with {number:,}, and has {length} steps")
    with ours.ProcessPoolExecutor() as executor:
        digits = count_digits(executor, args.numbers)
    print(f"these numbers have {sum(digits.values()):,} digits, {digits['7']:,} of which are 7")
    print(f"{time.perf_counter() - started:.2f} s")

    if args.check:
        plain: list[Any] = [
            search(standard.ProcessPoolExecutor, args.numbers),
            count_digits("sync", args.numbers),
        ]
        if plain != [(length, number), digits]:
            print(f"the check failed: the plain programs find {plain}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

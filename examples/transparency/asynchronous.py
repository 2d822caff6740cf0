"""Estimate the area of the Mandelbrot set with asyncio: calls in executors, and native futures, are awaited.

python examples/transparency/asynchronous.py [--rows NUMBER] [--check]
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures as standard
import sys
import time

import lithops
import lithops.concurrent.futures as ours

COLUMNS = 150


def inside(row: int, rows: int) -> int:
    """One call: how many points of a row stay in the set."""
    return sum(
        stays(complex(-2 + 2.5 * column / COLUMNS, -1.25 + 2.5 * row / rows)) for column in range(COLUMNS)
    )


def stays(point: complex) -> bool:
    value = 0j
    for _ in range(100):
        value = value * value + point
        if abs(value) > 2:
            return False
    return True


async def in_executor(executor: standard.Executor, rows: int) -> list[int]:
    """As for any executor: the event loop goes on while the calls run."""
    loop = asyncio.get_running_loop()
    return await asyncio.gather(*(loop.run_in_executor(executor, inside, row, rows) for row in range(rows)))


async def as_they_end(rows: int) -> list[int]:
    """The same with native futures, in whatever order they end."""
    counts = [0] * rows
    with lithops.FunctionExecutor(log_level=None) as fexec:
        futures = fexec.map(inside, range(rows), extra_args=(rows,))
        async for future in lithops.as_completed(futures):
            counts[future.index] = await future
    return counts


async def in_order(rows: int) -> list[int]:
    """The results of a map, in the order of its calls."""
    with lithops.FunctionExecutor(log_level=None) as fexec:
        return [count async for count in fexec.map(inside, range(rows), extra_args=(rows,))]


async def estimate(rows: int) -> list[list[int]]:
    """All three at once, in one event loop."""
    with ours.ProcessPoolExecutor() as executor:
        return list(await asyncio.gather(in_executor(executor, rows), as_they_end(rows), in_order(rows)))


def main() -> int:
    parser = argparse.ArgumentParser(description="Estimate the area of the Mandelbrot set.")
    parser.add_argument("--rows", type=int, default=60, metavar="NUMBER", help="how many rows of points")
    parser.add_argument("--check", action="store_true", help="fail unless a plain loop counts the same")
    args = parser.parse_args()

    started = time.perf_counter()
    found = asyncio.run(estimate(args.rows))
    area = 2.5 * 2.5 * sum(found[0]) / (args.rows * COLUMNS)
    print(f"the area is about {area:.3f}, after {time.perf_counter() - started:.2f} s")

    if args.check and found != [[inside(row, args.rows) for row in range(args.rows)]] * 3:
        print("the check failed: a plain loop counts something else", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The standard library beside `lithops.multiprocessing` and `lithops.concurrent`, on this machine.

``.venv/bin/python benchmarks/transparency.py``: needs the environment of the tests.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import datetime
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environments
import joblib

import lithops.concurrent.futures
import lithops.multiprocessing
from lithops.util.joblib import register_lithops

OUTPUT = environments.ROOT / "docs" / "benchmarks" / "transparency.md"
ROUNDS = 7
TASKS = 10_000
SUBMITS = 1_000
TIMES = 500
LARGE = 100 << 20
WORKERS = 2

Row = Callable[[Any], float]
"""Measures with one of the two modules; seconds for one operation."""


def no_op(value: Any) -> Any:
    return value


def seconds(action: Callable[[], object], times: int = 1) -> float:
    """How long one of so many takes."""
    started = time.perf_counter()
    for _ in range(times):
        action()
    return (time.perf_counter() - started) / times


# ---------------------------------------------------------------- multiprocessing


@dataclass
class Pools:
    """One warm pool of each module for all rounds."""

    made: dict[str, Any]

    def of(self, mp: Any) -> Any:
        if mp.__name__ not in self.made:
            self.made[mp.__name__] = mp.Pool(WORKERS)
            self.made[mp.__name__].map(no_op, range(100), chunksize=1)
        return self.made[mp.__name__]

    def end(self) -> None:
        for pool in self.made.values():
            pool.terminate()
            pool.join()


POOLS = Pools({})


def map_singly(mp: Any) -> float:
    return seconds(lambda: POOLS.of(mp).map(no_op, range(TASKS), chunksize=1))


def map_in_chunks(mp: Any) -> float:
    return seconds(lambda: POOLS.of(mp).map(no_op, range(TASKS)), 10)


def apply(mp: Any) -> float:
    return seconds(lambda: POOLS.of(mp).apply(no_op, (1,)), 100)


def queue(mp: Any) -> float:
    items = mp.Queue()

    def put_and_get() -> None:
        items.put(1)
        items.get()

    put_and_get()
    return seconds(put_and_get, TIMES)


def lock(mp: Any) -> float:
    made = mp.Lock()

    def acquire_and_release() -> None:
        made.acquire()
        made.release()

    acquire_and_release()
    return seconds(acquire_and_release, TIMES)


def echo(connection: Any) -> None:
    while (message := connection.recv()) is not None:
        connection.send(message)


def pipe(mp: Any) -> float:
    here, there = mp.Pipe()
    process = mp.Process(target=echo, args=(there,))
    process.start()

    def there_and_back() -> None:
        here.send(1)
        here.recv()

    there_and_back()
    try:
        return seconds(there_and_back, TIMES)
    finally:
        here.send(None)
        process.join()


def value(mp: Any) -> float:
    number = mp.Value("i", 0)

    def increment() -> None:
        with number.get_lock():
            number.value += 1

    increment()
    return seconds(increment, TIMES)


def put_large(items: Any, ready: Any) -> None:
    body = os.urandom(LARGE)
    ready.put(True)
    items.put(body)
    items.put(None)


def large_item(mp: Any) -> float:
    items, ready = mp.Queue(), mp.Queue()
    process = mp.Process(target=put_large, args=(items, ready))
    process.start()
    ready.get()
    try:
        return seconds(items.get)
    finally:
        items.get()
        process.join()


def process(mp: Any) -> float:
    def start_and_join() -> None:
        made = mp.Process(target=no_op, args=(1,))
        made.start()
        made.join()

    start_and_join()
    return seconds(start_and_join, 10)


def manager(mp: Any) -> float:
    with mp.Manager() as made:
        numbers = made.list()
        numbers.append(1)
        return seconds(lambda: numbers.append(1), TIMES)


# ---------------------------------------------------------------- concurrent.futures, joblib


def submit(futures: Any) -> float:
    with futures.ProcessPoolExecutor(WORKERS) as pool:
        list(pool.map(no_op, range(100)))

        def submit_all() -> None:
            for each in [pool.submit(no_op, number) for number in range(SUBMITS)]:
                each.result()

        return seconds(submit_all) / SUBMITS


def parallel(backend: str) -> float:
    with joblib.parallel_config(backend=backend, n_jobs=WORKERS), joblib.Parallel() as run:
        run(joblib.delayed(no_op)(number) for number in range(100))
        return seconds(lambda: run(joblib.delayed(no_op)(number) for number in range(TASKS))) / TASKS


# ---------------------------------------------------------------- the table

STANDARD, OURS = multiprocessing, lithops.multiprocessing
FUTURES = (concurrent.futures, lithops.concurrent.futures)
ROWS: list[tuple[str, float, str, Row, tuple[Any, Any]]] = [
    (f"`Pool.map` of {TASKS:,} no-ops, `chunksize=1`", 1e3, "ms", map_singly, (STANDARD, OURS)),
    (f"`Pool.map` of {TASKS:,} no-ops, default chunks", 1e3, "ms", map_in_chunks, (STANDARD, OURS)),
    ("`Pool.apply`", 1e6, "µs", apply, (STANDARD, OURS)),
    ("`Queue` put and get", 1e6, "µs", queue, (STANDARD, OURS)),
    ("`Lock` acquire and release", 1e6, "µs", lock, (STANDARD, OURS)),
    ("`Pipe` there and back", 1e6, "µs", pipe, (STANDARD, OURS)),
    ("`Value` increment under its lock", 1e6, "µs", value, (STANDARD, OURS)),
    ("`Manager().list().append`", 1e6, "µs", manager, (STANDARD, OURS)),
    (f"`Queue`, {LARGE >> 20} MB from process to process", 1e3, "ms", large_item, (STANDARD, OURS)),
    ("`Process` start and join", 1e3, "ms", process, (STANDARD, OURS)),
    ("the same, of the standard's `spawn`", 1e3, "ms", process, (multiprocessing.get_context("spawn"), OURS)),
    (f"`ProcessPoolExecutor.submit`, {SUBMITS:,} at once", 1e6, "µs", submit, FUTURES),
    (f"`joblib.Parallel` of {TASKS:,} no-ops, against loky", 1e6, "µs", parallel, ("loky", "lithops")),
]


def measure(row: Row, modules: tuple[Any, Any]) -> list[list[float]]:
    """The rounds of both, in turn."""
    rounds: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for each, module in zip(rounds, modules, strict=True):
            each.append(row(module))
    return rounds


def cell(values: list[float], scale: float, unit: str) -> str:
    least, middle, most = (f"{x * scale:.3g}" for x in (min(values), statistics.median(values), max(values)))
    return f"{middle} {unit} ({least}-{most})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the file for the table")
    parser.add_argument("--only", default="", help="only rows with this text")
    args = parser.parse_args()
    register_lithops()
    lines = [
        "# The standard library, and the same through this project",
        "",
        f"`.venv/bin/python benchmarks/transparency.py`, {datetime.date.today()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, start method {multiprocessing.get_start_method()}, {WORKERS} workers, shared "
        "objects in the embedded server.",
        f"Medians of {ROUNDS} rounds, both sides in turn, with the least and the most.",
        "",
        "| | standard library | this project | ratio |",
        "|---|---:|---:|---:|",
    ]
    for name, scale, unit, row, modules in ROWS:
        if args.only in name:
            standard, ours = measure(row, modules)
            ratio = statistics.median(ours) / statistics.median(standard)
            cells = (cell(standard, scale, unit), cell(ours, scale, unit), f"{ratio:.2g}")
            lines.append(f"| {name} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    POOLS.end()
    if not args.only:
        args.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

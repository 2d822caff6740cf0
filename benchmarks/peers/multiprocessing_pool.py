"""`multiprocessing.Pool`, of the standard library. It has no future per call."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from multiprocessing.pool import MapResult, Pool
from typing import Any

from peers.base import Function


class MultiprocessingPool:
    name = "pool"
    title = "multiprocessing.Pool"
    distribution: str | None = None
    environment = "own"
    import_statement = "from multiprocessing.pool import Pool"
    first_result = """
from multiprocessing import Pool

def noop(x):
    return x

with Pool(2) as pool:
    print(pool.apply(noop, (1,)), flush=True)
"""

    _pool: Pool

    def start(self, workers: int) -> None:
        self._pool = multiprocessing.Pool(workers)

    def map(self, function: Function, arguments: Sequence[Any]) -> MapResult[Any]:
        return self._pool.map_async(function, arguments, chunksize=1)

    def gather(self, calls: MapResult[Any]) -> list[Any]:
        return calls.get()

    def call(self, function: Function, argument: Any) -> Any:
        return self._pool.apply(function, (argument,))

    def completions(self, function: Function, arguments: Sequence[Any]) -> Iterator[Any]:
        return self._pool.imap_unordered(function, arguments, chunksize=1)

    def stop(self) -> None:
        self._pool.close()
        self._pool.join()

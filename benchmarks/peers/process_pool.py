"""`concurrent.futures.ProcessPoolExecutor`, of the standard library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from typing import Any

from peers.base import Function


class ProcessPool:
    name = "futures"
    title = "ProcessPoolExecutor"
    distribution: str | None = None
    environment = "own"
    import_statement = "from concurrent.futures import ProcessPoolExecutor"
    first_result = """
from concurrent.futures import ProcessPoolExecutor

def noop(x):
    return x

with ProcessPoolExecutor(2) as executor:
    print(executor.submit(noop, 1).result(), flush=True)
"""

    _executor: ProcessPoolExecutor

    def start(self, workers: int) -> None:
        self._executor = ProcessPoolExecutor(workers)

    def map(self, function: Function, arguments: Sequence[Any]) -> list[Future[Any]]:
        # This is what `Executor.map` does with chunksize=1, and it keeps the futures.
        return [self._executor.submit(function, argument) for argument in arguments]

    def gather(self, calls: list[Future[Any]]) -> list[Any]:
        return [future.result() for future in calls]

    def call(self, function: Function, argument: Any) -> Any:
        return self._executor.submit(function, argument).result()

    def completions(self, function: Function, arguments: Sequence[Any]) -> Iterator[Any]:
        for future in as_completed(self.map(function, arguments)):
            yield future.result()

    def stop(self) -> None:
        self._executor.shutdown()

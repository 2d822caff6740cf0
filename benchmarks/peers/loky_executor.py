"""loky: the process pool under joblib."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from peers.base import Function


class LokyExecutor:
    name = "loky"
    title = "loky"
    distribution: str | None = "loky"
    environment = "peers"
    import_statement = "import loky"
    first_result = """
import loky

def noop(x):
    return x

executor = loky.ProcessPoolExecutor(2)
print(executor.submit(noop, 1).result(), flush=True)
executor.shutdown()
"""

    _executor: Any

    def start(self, workers: int) -> None:
        import loky

        self._executor = loky.ProcessPoolExecutor(workers)

    def map(self, function: Function, arguments: Sequence[Any]) -> list[Any]:
        return [self._executor.submit(function, argument) for argument in arguments]

    def gather(self, calls: list[Any]) -> list[Any]:
        return [future.result() for future in calls]

    def call(self, function: Function, argument: Any) -> Any:
        return self._executor.submit(function, argument).result()

    def completions(self, function: Function, arguments: Sequence[Any]) -> Iterator[Any]:
        import loky

        for future in loky.as_completed(self.map(function, arguments)):
            yield future.result()

    def stop(self) -> None:
        self._executor.shutdown()

"""Lithops 3.8.0, through its public interface, with localhost compute and storage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from peers.base import Function


class Lithops3:
    name = "lithops38"
    title = "Lithops 3.8.0"
    distribution: str | None = "lithops"
    environment = "lithops38"
    import_statement = "import lithops"
    first_result = """
import lithops

def noop(x):
    return x

config = {
    "lithops": {"backend": "localhost", "storage": "localhost", "log_level": "ERROR", "data_cleaner": False},
    "localhost": {"worker_processes": 2},
}
with lithops.FunctionExecutor(config=config) as executor:
    future = executor.call_async(noop, (1,))
    print(executor.get_result(future, show_progressbar=False), flush=True)
"""

    _executor: Any

    def start(self, workers: int) -> None:
        import lithops

        config = {
            "lithops": {
                "backend": "localhost",
                "storage": "localhost",
                "log_level": "ERROR",
                "data_limit": False,
                # What it starts to clean up would outlive the measurement.
                "data_cleaner": False,
            },
            "localhost": {"worker_processes": workers},
        }
        self._executor = lithops.FunctionExecutor(config=config)

    def map(self, function: Function, arguments: Sequence[Any]) -> Any:
        return self._executor.map(function, list(arguments))

    def gather(self, calls: Any) -> list[Any]:
        return cast("list[Any]", self._executor.get_result(calls, show_progressbar=False))

    def call(self, function: Function, argument: Any) -> Any:
        future = self._executor.call_async(function, (argument,))
        return self._executor.get_result(future, show_progressbar=False)

    def completions(self, function: Function, arguments: Sequence[Any]) -> Iterator[Any]:
        pending = self.map(function, arguments)
        while pending:
            done, pending = self._executor.wait(pending, return_when=-1, show_progressbar=False)
            for future in done:
                yield future.result()

    def stop(self) -> None:
        self._executor.__exit__(None, None, None)

"""This project: its localhost backend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from typing import Any, cast

from peers.base import Function


class LithopsHere:
    name = "lithops"
    title = "this project"
    distribution: str | None = "lithops"
    environment = "own"
    import_statement = "import lithops"
    first_result = """
import lithops

def noop(x):
    return x

config = {"lithops": {"log_level": "WARNING"}, "localhost": {"worker_processes": 2}}
with lithops.FunctionExecutor(config=config) as executor:
    print(executor.call_async(noop, (1,)).result(), flush=True)
"""

    _executor: Any

    def start(self, workers: int) -> None:
        import lithops

        config = {
            "lithops": {"log_level": "WARNING", "data_limit": False},
            "localhost": {"worker_processes": workers},
        }
        self._executor = lithops.FunctionExecutor(config=config)

    def map(self, function: Function, arguments: Sequence[Any]) -> Any:
        return self._executor.map(function, arguments)

    def gather(self, calls: Any) -> list[Any]:
        return cast("list[Any]", self._executor.get_result(calls, show_progressbar=False))

    def call(self, function: Function, argument: Any) -> Any:
        # In a tuple, an argument is passed whole whatever it is.
        return self._executor.call_async(function, (argument,)).result()

    def completions(self, function: Function, arguments: Sequence[Any]) -> Iterator[Any]:
        done: SimpleQueue[Any] = SimpleQueue()
        for future in self.map(function, arguments):
            future.add_done_callback(done.put)
        for _ in arguments:
            yield done.get().result()

    def stop(self) -> None:
        self._executor.__exit__(None, None, None)

"""Ray tasks, on a Ray that is started on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from peers.base import Function

READY_AT_ONCE = 64
"""How many finished calls one look at the rest of them may give."""


class RayTasks:
    name = "ray"
    title = "ray"
    distribution: str | None = "ray"
    environment = "peers"
    import_statement = "import ray"
    first_result = """
import ray

@ray.remote
def noop(x):
    return x

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
print(ray.get(noop.remote(1)), flush=True)
ray.shutdown()
"""

    def __init__(self) -> None:
        self._tasks: dict[Function, Any] = {}

    def start(self, workers: int) -> None:
        import ray

        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="error")

    def map(self, function: Function, arguments: Sequence[Any]) -> list[Any]:
        task = self._task(function)
        return [task.remote(argument) for argument in arguments]

    def gather(self, calls: list[Any]) -> list[Any]:
        import ray

        return cast("list[Any]", ray.get(calls))

    def call(self, function: Function, argument: Any) -> Any:
        import ray

        return ray.get(self._task(function).remote(argument))

    def completions(self, function: Function, arguments: Sequence[Any]) -> Iterator[Any]:
        import ray

        pending = self.map(function, arguments)
        while pending:
            # Ray waits for as many as asked for: ask for one, then take what else is there.
            ray.wait(pending, num_returns=1)
            ready, pending = ray.wait(pending, num_returns=min(READY_AT_ONCE, len(pending)), timeout=0)
            yield from ray.get(ready)

    def stop(self) -> None:
        import ray

        ray.shutdown()

    def _task(self, function: Function) -> Any:
        import ray

        if function not in self._tasks:
            self._tasks[function] = ray.remote(function)
        return self._tasks[function]

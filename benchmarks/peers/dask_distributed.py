"""dask.distributed: a scheduler and its workers, started on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from peers.base import Function


class DaskDistributed:
    name = "dask"
    title = "dask.distributed"
    distribution: str | None = "distributed"
    environment = "peers"
    import_statement = "import distributed"
    first_result = """
from distributed import Client

def noop(x):
    return x

with Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
    print(client.submit(noop, 1).result(), flush=True)
"""

    _client: Any

    def start(self, workers: int) -> None:
        import logging

        from distributed import Client

        self._client = Client(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR
        )

    def map(self, function: Function, arguments: Sequence[Any]) -> list[Any]:
        # pure=False: the same call twice is two calls, and not one and its remembered result.
        return cast("list[Any]", self._client.map(function, arguments, pure=False))

    def gather(self, calls: list[Any]) -> list[Any]:
        return cast("list[Any]", self._client.gather(calls))

    def call(self, function: Function, argument: Any) -> Any:
        return self._client.submit(function, argument, pure=False).result()

    def completions(self, function: Function, arguments: Sequence[Any]) -> Iterator[Any]:
        from distributed import as_completed

        for _, result in as_completed(self.map(function, arguments), with_results=True):
            yield result

    def stop(self) -> None:
        self._client.shutdown()

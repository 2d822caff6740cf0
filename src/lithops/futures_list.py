"""The futures of a job as a list that the next step can be taken from."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from lithops.future import ResponseFuture


class FuturesList(list[ResponseFuture]):
    """The futures of a job, which can be worked on with one more step: ``fexec.map(f, data).map(g).get_result()``."""

    def __init__(self, futures: Iterable[ResponseFuture] = (), *, executor: Any = None) -> None:
        super().__init__(futures)
        self._executor = executor
        self._config: dict[str, Any] | None = None if executor is None else executor.config

    @property
    def config(self) -> dict[str, Any] | None:
        """The configuration of the executor that made the calls."""
        return self._config

    @property
    def executor(self) -> Any:
        """The executor that made the calls; in another process, a new one with its configuration."""
        if self._executor is None:
            # By name, since executors lie above this layer.
            executors = importlib.import_module("lithops.executors")
            self._executor = executors.FunctionExecutor(config=self._config)
        return self._executor

    def map(self, map_function: Callable[..., Any], sync: bool = False, **kwargs: Any) -> FuturesList:
        """A call of `map_function` for each result, sent as that result arrives; with `sync`, when all have."""
        if sync:
            self.wait()
        futures: FuturesList = self.executor.map(map_function, self, **kwargs)
        return futures

    def map_reduce(
        self,
        map_function: Callable[..., Any],
        reduce_function: Callable[..., Any],
        sync: bool = False,
        **kwargs: Any,
    ) -> FuturesList:
        """`map`, and then one call of `reduce_function` with the list of what it gave."""
        if sync:
            self.wait()
        futures: FuturesList = self.executor.map_reduce(map_function, self, reduce_function, **kwargs)
        return futures

    def wait(self, **kwargs: Any) -> Any:
        """As `FunctionExecutor.wait`."""
        return self.executor.wait(self, **kwargs)

    def get_result(self, **kwargs: Any) -> Any:
        """As `FunctionExecutor.get_result`."""
        return self.executor.get_result(self, **kwargs)

    async def __aiter__(self) -> AsyncIterator[Any]:
        """The results in the order of the calls, each as soon as it and all before it are there."""
        for future in self:
            yield await future

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore_list, (list(self), self._config)


def _restore_list(futures: list[ResponseFuture], config: dict[str, Any] | None) -> FuturesList:
    restored = FuturesList(futures)
    restored._config = config
    return restored

"""Executors whose calls are repeated when they fail: a thin face on the retries that every executor has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from lithops.executors import FunctionExecutor
from lithops.future import ResponseFuture
from lithops.prepare.bind import elements
from lithops.wait import ALL_COMPLETED


class RetryingFuture:
    """A call that is repeated when it fails."""

    def __init__(self, response_future: ResponseFuture, input: Any) -> None:  # noqa: A002 - the contract's name
        self.response_future = response_future
        """The future that stands for the call and all its repetitions."""
        self.input = input
        """The element of input data that the call was made of."""

    @property
    def done(self) -> bool:
        """Whether the last repetition has ended."""
        return self.response_future.done

    @property
    def error(self) -> bool:
        """Whether the last repetition has failed too."""
        return self.response_future.error

    @property
    def stats(self) -> dict[str, Any]:
        """As `ResponseFuture.stats`, of the last repetition."""
        return self.response_future.stats

    def status(self, throw_except: bool = True, **kwargs: Any) -> dict[str, Any] | None:
        """As `ResponseFuture.status`."""
        return self.response_future.status(throw_except, **kwargs)

    def result(self, throw_except: bool = True, **kwargs: Any) -> Any:
        """As `ResponseFuture.result`."""
        return self.response_future.result(throw_except, **kwargs)

    def cancel(self) -> bool:
        """Stop the call and its repetitions."""
        return self.response_future.cancel()

    def __repr__(self) -> str:
        return f"<RetryingFuture of {self.response_future!r}>"


class RetryingFunctionExecutor:
    """Wraps an executor so that the calls of its `map` are repeated when they fail."""

    def __init__(self, executor: FunctionExecutor) -> None:
        self.executor = executor
        self.config: dict[str, Any] = executor.config

    def __enter__(self) -> RetryingFunctionExecutor:
        self.executor.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.executor.__exit__(kind, error, trace)

    def map(
        self,
        map_function: Callable[..., Any],
        map_iterdata: Any,
        *args: Any,
        retries: int | None = None,
        **kwargs: Any,
    ) -> list[RetryingFuture]:
        """As `FunctionExecutor.map`, with `retries` repetitions (default: the configuration's)."""
        inputs = list(elements(map_iterdata))
        futures = self.executor.map(map_function, inputs, *args, retries=retries, **kwargs)
        if len(futures) != len(inputs):  # data that was cut into parts: the part is known to the worker alone
            return [RetryingFuture(future, None) for future in futures]
        return [RetryingFuture(future, element) for future, element in zip(futures, inputs, strict=True)]

    def wait(
        self, fs: Iterable[RetryingFuture], throw_except: bool = True, return_when: int = ALL_COMPLETED,
        download_results: bool = False, timeout: float | None = None, threadpool_size: int = 64,
        wait_dur_sec: float = 1, show_progressbar: bool = True,
    ) -> tuple[list[RetryingFuture], list[RetryingFuture]]:  # fmt: skip
        """As `FunctionExecutor.wait`."""
        futures = list(fs)
        self.executor.wait(
            [future.response_future for future in futures], throw_except, return_when, download_results, timeout,
            threadpool_size, wait_dur_sec, show_progressbar,
        )  # fmt: skip
        return [future for future in futures if future.done], [
            future for future in futures if not future.done
        ]

    def get_result(self, fs: Iterable[RetryingFuture], **kwargs: Any) -> list[Any]:
        """As `FunctionExecutor.get_result`, always a list."""
        results: list[Any] = self.executor.get_result([future.response_future for future in fs], **kwargs)
        return results

    def clean(self, fs: Iterable[RetryingFuture] | None = None, **kwargs: Any) -> None:
        """As `FunctionExecutor.clean`."""
        self.executor.clean(None if fs is None else [future.response_future for future in fs], **kwargs)

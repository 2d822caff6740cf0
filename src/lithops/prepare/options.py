"""What a user may say of one job, beside the function and its data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lithops.exceptions import InvalidCall

RetryOn = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]
"""Which failures are retried: exception classes, or a function that is asked about each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """The keyword arguments that the verbs share. None stands for the configuration's value."""

    extra_env: Mapping[str, str] | None = None
    runtime_memory: int | None = None
    """MB."""
    timeout: float | None = None
    """Seconds that each call may run."""
    include_modules: list[str] | None = field(default_factory=list)
    exclude_modules: list[str] = field(default_factory=list)
    chunksize: int | None = None
    """Calls per task."""
    retries: int | None = None
    retry_on: RetryOn | None = None
    backoff: float = 0.0
    """Seconds before the first retry; each further one waits twice as long."""
    max_concurrency: int | None = None
    """How many calls of the job may run at once."""
    speculative: bool = False
    """Whether calls that take much longer than the others are run a second time, beside the first."""

    def __post_init__(self) -> None:
        _check("timeout", self.timeout, more_than=0)
        _check("chunksize", self.chunksize, at_least=1)
        _check("retries", self.retries, at_least=0)
        _check("backoff", self.backoff, at_least=0)
        _check("max_concurrency", self.max_concurrency, at_least=1)
        _check("runtime_memory", self.runtime_memory, at_least=1)
        if not isinstance(self.speculative, bool):
            raise InvalidCall(f"speculative is {self.speculative!r}: it must be True or False")
        variables: Mapping[Any, Any] = self.extra_env or {}
        for name, value in variables.items():
            if not isinstance(name, str) or not isinstance(value, str):
                raise InvalidCall(f"extra_env holds {name!r}: {value!r}; names and values must be texts")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """How the data that elements name is cut into parts."""

    obj_chunk_size: int | None = None
    """Bytes."""
    obj_chunk_number: int | None = None
    obj_newline: str | None = "\n"
    obj_format: str | None = None
    """The name of a data format; None for plain text, or bytes."""


def as_names(modules: Iterable[str] | None) -> list[str] | None:
    """A list of module names; one name alone is a mistake that would be read letter by letter."""
    if isinstance(modules, str):
        raise InvalidCall(
            f"modules are given as a list of names, not as the text {modules!r}: use [{modules!r}]"
        )
    return None if modules is None else list(modules)


def _check(
    name: str, value: float | None, *, at_least: float | None = None, more_than: float | None = None
) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidCall(f"{name} is {value!r}: it must be a number")
    if at_least is not None and value < at_least:
        raise InvalidCall(f"{name} is {value!r}: it must be {at_least} or more")
    if more_than is not None and value <= more_than:
        raise InvalidCall(f"{name} is {value!r}: it must be more than {more_than}")

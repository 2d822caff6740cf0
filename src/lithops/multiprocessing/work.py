"""What a pool sends: a function that runs chunks of its tasks, in workers that the pool's initializer has prepared."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache
from multiprocessing import pool as standard
from typing import Any

from lithops.multiprocessing.identity import ParentProcess, member_of
from lithops.multiprocessing.output import streamed
from lithops.multiprocessing.process import Process

_standard: Any = standard
CHUNKED = (_standard.mapstar, _standard.starmapstar)
"""The standard library's functions that run a chunk of a map: a task of theirs brings function and arguments along."""


class Setup:
    """What makes any worker one of a pool."""

    def __init__(
        self, initializer: Callable[..., object] | None, initargs: tuple[Any, ...], stream: str | None
    ) -> None:
        self.pool = os.urandom(8).hex()
        self.parent = ParentProcess.here()
        self.initializer = initializer
        self.initargs = initargs
        self.stream = stream


class Runner:
    """Runs tasks of one function. `mapper` is None, or the function of the standard library that runs a chunk."""

    def __init__(self, function: Callable[..., Any], mapper: Callable[..., Any] | None, setup: Setup) -> None:
        self._function = function
        self._mapper = mapper
        self._setup = setup
        self.namespace = setup.pool
        """Functions and initializer share their globals in a worker: see `lithops.prepare.serialize`."""

    def __call__(self, work: Any) -> Any:
        setup = self._setup
        with (
            member_of(_worker_process(setup.pool), setup.parent),
            streamed(setup.stream) if setup.stream else nullcontext(),
        ):
            _initialize(setup)
            if self._mapper is not None:
                return self._mapper((self._function, work))
            arguments, named = work
            return self._function(*arguments, **named)


_initialized: dict[str, BaseException | None] = {}


def _initialize(setup: Setup) -> None:
    """Run the pool's initializer, once in each worker. If it has failed, every task fails as it did."""
    if setup.pool not in _initialized:
        _initialized[setup.pool] = None
        if setup.initializer is not None:
            try:
                setup.initializer(*setup.initargs)
            except BaseException as error:
                _initialized[setup.pool] = error
                raise
    failed = _initialized[setup.pool]
    if failed is not None:
        raise failed


@lru_cache(maxsize=8)
def _worker_process(pool: str) -> Any:  # noqa: ARG001 - one for each
    number = os.getpid()
    process: Any = Process(name=f"SpawnPoolWorker-{number}", daemon=True)
    process._identity = (number,)
    return process

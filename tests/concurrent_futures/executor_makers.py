"""The kinds of executors that the tests are about."""

from __future__ import annotations

import multiprocessing
from concurrent import futures
from typing import Any

from lithops.concurrent import futures as ours


def make_standard(max_workers: int | None = 2, **options: Any) -> futures.Executor:
    """The standard library's executor. Its workers are new interpreters, as ours are."""
    context = multiprocessing.get_context("spawn")
    return futures.ProcessPoolExecutor(max_workers, mp_context=context, **options)


def make_ours(max_workers: int | None = 2, **options: Any) -> futures.Executor:
    """This library's executor under the same name."""
    return ours.ProcessPoolExecutor(max_workers, **options)

"""What the tests of joblib share: its own backend beside ours, and functions for both to run."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
from joblib.externals.loky import get_reusable_executor

from lithops.util.joblib import register_lithops

BOTH = ["loky", "lithops"]


@contextmanager
def context(backend: str, **options: Any) -> Iterator[None]:
    """A context of that backend, with two workers, that leaves nothing behind."""
    register_lithops()
    try:
        with joblib.parallel_config(backend=backend, **{"n_jobs": 2, **options}):
            yield
    finally:
        if backend == "loky":
            get_reusable_executor().shutdown(wait=True)


def square(x: int) -> int:
    return x * x


def pid_of_worker(_: object = None) -> int:
    return os.getpid()


_words: list[str] = []


def learn(word: str) -> None:
    """For a worker's start."""
    if word == "unspeakable":
        raise ValueError(word)
    _words.append(word)


def learned(_: object = None) -> list[str]:
    return _words


def appear(path: Path, then_s: float = 60.0) -> None:
    """Make a file, and then take long."""
    path.write_text(str(os.getpid()))
    time.sleep(then_s)


class Refused(Exception):
    """An exception with attributes of its own."""

    def __init__(self, code: int) -> None:
        super().__init__(f"refused with {code}")
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code,)


def refuse(code: int) -> None:
    raise Refused(code)

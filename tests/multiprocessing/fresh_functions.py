"""What processes leave behind in their memory, and what the next ones find there."""

from __future__ import annotations

import atexit
import json
import multiprocessing
import os
import random
import sys
from multiprocessing import util
from typing import Any


def leave_traces() -> None:
    """In a module of the standard library, in the environment, the folder, and the list of modules."""
    import colorsys

    setattr(json, "_trace", True)  # noqa: B010 - the checker knows that it is not there
    os.environ["LITHOPS_TEST_TRACE"] = "yes"
    os.chdir("/")
    sys.argv.append(colorsys.__name__)


def find_traces(found: Any) -> None:
    found.put(
        (hasattr(json, "_trace"), "LITHOPS_TEST_TRACE" in os.environ, os.getcwd(), "colorsys" in sys.modules)
    )


def register_ends(folder: str) -> None:
    """The last one first, when the process ends; and what the standard library does at the end of its processes."""
    atexit.register(_note, folder, "first")
    atexit.register(_note, folder, "second")
    util.Finalize(None, _note, (folder, "finalizer"), exitpriority=1)


def _note(folder: str, word: str) -> None:
    with open(os.path.join(folder, "notes"), "a") as file:
        file.write(f"{word} of {multiprocessing.current_process().name}\n")


def draw(drawn: Any) -> None:
    drawn.put(random.random())


def identity(_: object = None) -> tuple[str, tuple[int, ...], int]:
    process: Any = multiprocessing.current_process()
    return process.name, process._identity, os.getpid()


def identities_of_workers(make_pool: Any, found: Any) -> None:
    with make_pool(1) as pool:
        found.put(pool.apply(identity)[0])


def modules(_: object = None) -> list[str]:
    return sorted(sys.modules)

"""`lithops hello` and `lithops test`: does it work with this configuration?"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lithops.cli.options import open_executor
from lithops.exceptions import LithopsError

if TYPE_CHECKING:
    from lithops.cli.options import Commands
    from lithops.executors import FunctionExecutor

TICK, CROSS = "✓", "✗"
_NUMBERS = range(5)


def add_commands(commands: Commands, common: argparse.ArgumentParser) -> None:
    hello = commands.add_parser("hello", parents=[common], help="run one function and show its greeting")
    hello.set_defaults(run=run_hello)
    test = commands.add_parser("test", parents=[common], help="check that calls and storage work")
    test.set_defaults(run=run_test)


def run_hello(arguments: argparse.Namespace) -> int:
    # Functions inside functions travel whole: a cloud's runtime does not have the command line.
    def greet(name: str) -> str:
        import platform

        return f"Hello {name}! This is Python {platform.python_version()} on {platform.node()}."

    started = time.monotonic()
    with open_executor(arguments) as executor:
        future = executor.call_async(greet, "World")
        greeting = executor.get_result(future, show_progressbar=False)
        print(f"{greeting} ({executor.backend}, {time.monotonic() - started:.2f} s)")
    return 0


def run_test(arguments: argparse.Namespace) -> int:
    """A line for each check; the exit status is 1 if one failed."""
    failed = False
    with open_executor(arguments) as executor:
        print(f"compute on {executor.backend}, storage on {executor.storage.backend}")
        for name, check in _CHECKS.items():
            started = time.monotonic()
            try:
                check(executor)
            except (LithopsError, OSError) as error:
                failed = True
                print(f"{CROSS} {name}: {error}")
            else:
                print(f"{TICK} {name} ({time.monotonic() - started:.2f} s)")
    return int(failed)


def _check_call_async(executor: FunctionExecutor) -> None:
    future = executor.call_async(lambda x: x + 1, 1)
    _compare(executor.get_result(future, show_progressbar=False), 2)


def _check_map(executor: FunctionExecutor) -> None:
    futures = executor.map(lambda x: x * x, _NUMBERS)
    _compare(executor.get_result(futures, show_progressbar=False), [x * x for x in _NUMBERS])


def _check_map_reduce(executor: FunctionExecutor) -> None:
    futures = executor.map_reduce(lambda x: x * x, _NUMBERS, lambda results: sum(results))
    _compare(executor.get_result(futures, show_progressbar=False), sum(x * x for x in _NUMBERS))


def _check_storage(executor: FunctionExecutor) -> None:
    storage, body = executor.storage, os.urandom(1 << 16)
    stored = storage.put_cloudobject(body)
    try:
        if storage.get_cloudobject(stored) != body:
            raise LithopsError(f"the object {stored.key} was read with another content than was written")
    finally:
        storage.delete_cloudobject(stored)


def _compare(found: object, expected: object) -> None:
    if found != expected:
        raise LithopsError(f"the result is {found!r}, it should be {expected!r}")


_CHECKS: dict[str, Callable[[FunctionExecutor], None]] = {
    "call_async": _check_call_async,
    "map": _check_map,
    "map_reduce": _check_map_reduce,
    "storage put and get": _check_storage,
}

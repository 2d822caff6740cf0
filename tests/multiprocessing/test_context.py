"""The names of the package, and contexts: over the standard library's and ours wherever they have a meaning."""

from __future__ import annotations

import importlib
import inspect
import multiprocessing
import multiprocessing.pool
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pool_functions as functions
import process_functions
import pytest

import lithops.multiprocessing as lithops_mp
import lithops.multiprocessing.pool as lithops_pool
from lithops.multiprocessing import shared_memory
from lithops.multiprocessing.context import _MADE_BY

_METHODS = ["spawn", "fork", "forkserver"]
_MODULES = ["multiprocessing", "lithops.multiprocessing"]


@pytest.mark.parametrize("name", multiprocessing.__all__)
def test_every_name_of_the_standard_library_is_there(name: str) -> None:
    assert getattr(lithops_mp, name) is not None
    assert name in lithops_mp.__all__ or name in ("reducer",)


def test_errors_are_the_standards_own() -> None:
    for name in ("ProcessError", "TimeoutError", "AuthenticationError", "BufferTooShort"):
        assert getattr(lithops_mp, name) is getattr(multiprocessing, name)
    for name in ("ThreadPool", "AsyncResult", "MaybeEncodingError", "RemoteTraceback"):
        assert getattr(lithops_pool, name) is getattr(multiprocessing.pool, name)
    assert issubclass(lithops_pool.Pool, multiprocessing.pool.Pool)
    assert issubclass(lithops_mp.Process, multiprocessing.process.BaseProcess)


def test_names_that_there_are_not_say_where_to_look() -> None:
    with pytest.raises(AttributeError, match=r"no 'colour'; docs/multiprocessing\.md"):
        lithops_mp.colour
    with pytest.raises(ImportError):
        exec("from lithops.multiprocessing import colour")


@pytest.mark.parametrize("cls", ["Process", "Pool"])
def test_parameters_are_the_standards(cls: str) -> None:
    ours, theirs = {
        "Process": (lithops_mp.Process, multiprocessing.Process),
        "Pool": (lithops_pool.Pool, multiprocessing.pool.Pool),
    }[cls]
    for name, member in inspect.getmembers(theirs, inspect.isfunction):
        if not name.startswith("_") or name == "__init__":
            assert list(inspect.signature(getattr(ours, name)).parameters) == list(
                inspect.signature(member).parameters
            ), name


@pytest.mark.ours
@pytest.mark.parametrize("method", _METHODS)
def test_contexts(mp: Any, method: str, place: Any) -> None:
    context = mp.get_context(method)
    assert context is mp.get_context(method)
    assert context.get_start_method() == method
    assert context.get_context() is context
    assert context.get_context("spawn") is mp.get_context("spawn")
    assert issubclass(type(context), multiprocessing.context.BaseContext)
    with pytest.raises(ValueError, match="cannot set start method of concrete context"):
        context.set_start_method(method)
    with context.Pool(1) as pool:
        assert pool.apply(functions.square, (3,)) == 9
    path = place / "note"
    process = context.Process(target=process_functions.note, args=(path,))
    process.start()
    process.join()
    assert path.read_text() == "((), {})"
    queue = context.Queue()
    queue.put(1)
    assert queue.get() == 1
    assert context.cpu_count() == mp.cpu_count()
    assert context.current_process() is multiprocessing.current_process()
    assert context.active_children() == []
    assert context.TimeoutError is multiprocessing.TimeoutError


def test_contexts_that_there_are_not(mp: Any) -> None:
    with pytest.raises(ValueError, match="cannot find context for 'steam'"):
        mp.get_context("steam")


def test_the_number_of_cpus() -> None:
    assert lithops_mp.cpu_count() == os.cpu_count()


def test_the_default_context() -> None:
    assert lithops_mp.get_all_start_methods() == ["spawn", "fork", "forkserver"]
    assert isinstance(lithops_mp.get_context(), multiprocessing.context.BaseContext)
    assert isinstance(lithops_mp.DefaultContext(), multiprocessing.context.BaseContext)


@pytest.mark.parametrize("module", _MODULES)
@pytest.mark.parametrize("method", _METHODS)
def test_the_start_method_is_set_once(run_program: Callable[..., Any], module: str, method: str) -> None:
    program = run_program(
        f"""
import {module} as mp

def attempt(*args, **kwargs):
    try:
        mp.set_start_method(*args, **kwargs)
    except (RuntimeError, ValueError) as error:
        print(type(error).__name__, error)

if __name__ == "__main__":
    mp.freeze_support()
    print(mp.get_start_method(allow_none=True))
    attempt("steam")
    attempt({method!r})
    print(mp.get_start_method(), mp.get_context().get_start_method())
    attempt("spawn")
    attempt("spawn", force=True)
    print(mp.get_start_method())
    attempt(None, force=True)
    print(mp.get_start_method(allow_none=True))
    mp.get_context("spawn")
    print(mp.get_start_method(allow_none=True))
    mp.Queue()
    attempt("spawn")
"""
    )
    assert program.stdout.splitlines() == [
        "None",
        "ValueError cannot find context for 'steam'",
        f"{method} {method}",
        "RuntimeError context has already been set",
        "spawn",
        "None",
        "None",
        "RuntimeError context has already been set",
    ]


def test_what_cannot_be_had_says_why() -> None:
    with pytest.raises(
        NotImplementedError, match="set the interpreter or image of your backend with `runtime`"
    ):
        lithops_mp.set_executable("python2")
    with pytest.raises(NotImplementedError, match="send a lithops Pipe or Queue"):
        lithops_mp.allow_connection_pickling()
    for name in ("SharedMemory", "ShareableList"):
        with pytest.raises(NotImplementedError, match="use Array or a Manager"):
            getattr(shared_memory, name)([1])
    lithops_mp.set_forkserver_preload(["numpy"])


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_the_programs_own_interpreter_can_be_set(kind: Any) -> None:
    lithops_mp.set_executable(kind(sys.executable))


@pytest.mark.parametrize(
    ("name", "module"), [each for each in _MADE_BY.items() if each[1] in ("queues", "synchronize")]
)
def test_classes_take_a_context_as_the_standards(name: str, module: str) -> None:
    """Which have to be given one: so do subclasses that programs have made of them."""
    arguments = (2,) if name == "Barrier" else ()
    made = {}
    for package, context in (("multiprocessing", multiprocessing), ("lithops.multiprocessing", lithops_mp)):
        cls = getattr(importlib.import_module(f"{package}.{module}"), name)
        made[package] = type("Own", (cls,), {})(*arguments, ctx=context.get_context("spawn"))
    ours = made["lithops.multiprocessing"]
    assert ours.empty() if module == "queues" else repr(ours)


def test_descriptors_cannot_be_passed() -> None:
    process = lithops_mp.Process(target=process_functions.note, args=("/dev/null", _Inherited()))
    with pytest.raises(Exception, match="pass a lithops Pipe or Queue"):
        process.start()


class _Inherited:
    """As what refers to a descriptor does it."""

    def __reduce__(self) -> Any:
        from multiprocessing.reduction import DupFd

        return int, (DupFd(0),)

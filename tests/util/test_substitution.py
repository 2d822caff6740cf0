"""Other libraries get this library's modules, as long as that is wanted, and nobody else does."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import multiprocessing.pool
import sys
import types

import pytest

import lithops.concurrent.futures
import lithops.multiprocessing
from lithops.util.substitution import standard_library_replaced

LIBRARY = """
import concurrent.futures
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import Pool, get_context
from multiprocessing.pool import Pool as PoolClass, ThreadPool
from multiprocessing.managers import SyncManager

def executor():
    from concurrent.futures import ProcessPoolExecutor
    return ProcessPoolExecutor
"""


def imported() -> types.ModuleType:
    """A library, as its import makes it."""
    module = types.ModuleType("library")
    exec(LIBRARY, module.__dict__)
    return module


def test_a_library_gets_our_modules_while_it_is_imported() -> None:
    with standard_library_replaced():
        library = imported()
        assert library.executor() is lithops.concurrent.futures.ProcessPoolExecutor
    assert library.multiprocessing is lithops.multiprocessing
    assert library.concurrent.futures is concurrent.futures, (
        "an attribute of a package is looked up each time"
    )
    assert library.ProcessPoolExecutor is lithops.concurrent.futures.ProcessPoolExecutor
    assert library.PoolClass.__module__ == "lithops.multiprocessing.pool"
    assert library.SyncManager.__module__ == "lithops.multiprocessing.managers"
    assert library.ThreadPool is multiprocessing.pool.ThreadPool
    assert isinstance(library.get_context("fork"), lithops.multiprocessing.context.LithopsContext)
    assert library.executor() is concurrent.futures.ProcessPoolExecutor, (
        "imported when it is called, and too late"
    )


def standard_modules() -> dict[str, types.ModuleType]:
    names = [name for name in sys.modules if name.startswith(("multiprocessing", "concurrent"))]
    return {name: sys.modules[name] for name in names}


def replace_and_fail() -> None:
    with standard_library_replaced():
        assert sys.modules["multiprocessing"] is lithops.multiprocessing
        raise ZeroDivisionError


def test_afterwards_everything_is_as_before() -> None:
    before = standard_modules()
    with pytest.raises(ZeroDivisionError):
        replace_and_fail()
    assert before.items() <= standard_modules().items()
    assert imported().multiprocessing is multiprocessing


def test_this_library_goes_on_with_the_standard_ones() -> None:
    with standard_library_replaced(), lithops.multiprocessing.Pool(1) as pool:
        assert isinstance(pool, multiprocessing.pool.Pool)
        assert pool.map(abs, [-1, 2]) == [1, 2]

"""What the tests of shared objects have in common: two ways to have them, and a server that ends with each module."""

from __future__ import annotations

import gc
import importlib
import multiprocessing
from collections.abc import Iterator
from typing import Any

import pytest

from lithops.multiprocessing import program


@pytest.fixture(scope="module", autouse=True)
def program_ends(nothing_left_behind: None) -> Iterator[None]:
    """The workers and the server of the program end with the module, after all that its other fixtures have made."""
    yield
    gc.collect()
    program.close()


@pytest.fixture(scope="module", params=["standard", "lithops"])
def mp(request: pytest.FixtureRequest, program_ends: None) -> Any:
    """The standard library's way to have the objects, and this project's: a test that takes it states what both do."""
    if request.param == "standard":
        return multiprocessing.get_context("spawn")
    return importlib.import_module("lithops.multiprocessing")

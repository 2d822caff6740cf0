"""Executors of the standard library and of this one: what a test asks of both is what the standard library does."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor

import pytest
from futures_calls import MakeExecutor, make_ours, make_standard


@pytest.fixture(scope="module", params=[make_standard, make_ours], ids=["standard", "lithops"])
def pool(request: pytest.FixtureRequest, nothing_left_behind: None) -> Iterator[Executor]:
    """An executor with two workers, of each kind, for each module: tests leave it as they find it."""
    with request.param(2) as executor:
        yield executor


@pytest.fixture(params=[make_standard, make_ours], ids=["standard", "lithops"])
def make(request: pytest.FixtureRequest) -> MakeExecutor:
    """Makes an executor, of each kind."""
    made: MakeExecutor = request.param
    return made

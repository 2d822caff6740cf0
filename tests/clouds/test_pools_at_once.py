"""How many calls of a pool, or of an executor of the standard's shape, run at once on the clouds' stand-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aws_fixtures import AwsProgram
from aws_fixtures import aws as aws
from aws_fixtures import aws_program as aws_program
from google_fixtures import Configure
from google_fixtures import configure as configure
from google_fixtures import google_cloud as google_cloud
from google_fixtures import key as key
from google_stand_in import Google

import lithops.multiprocessing
from lithops.concurrent.futures import ProcessPoolExecutor
from lithops.multiprocessing import config, program

mp: Any = lithops.multiprocessing
Span = tuple[float, float]
Function = Callable[[int], Span]

PATIENCE_S = 60.0


def two_functions() -> tuple[Function, Function]:
    """Made here, so that they travel without this module."""

    def rest(_: int) -> Span:
        import time

        began = time.time()
        time.sleep(0.3)
        return began, time.time()

    return rest, lambda number: rest(number)


def most_at_once(spans: list[Span]) -> int:
    return max(sum(began <= start < ended for began, ended in spans) for start, _ in spans)


@pytest.fixture
def on_lambda(aws_program: AwsProgram) -> Iterator[None]:
    config.set_parameter(config.LITHOPS_CONFIG, aws_program.config(namespace="pools"))
    yield
    program.close()
    config.set_parameter(config.LITHOPS_CONFIG, None)


@pytest.mark.usefixtures("on_lambda")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_pool_runs_no_more_tasks_than_it_has_processes(processes: int) -> None:
    rest, rest_too = two_functions()
    with mp.Pool(processes) as pool:
        read = pool.imap(rest, iter(range(3)))
        # Each of another function than the one before: none of them can share a job.
        asked = [pool.apply_async(function, (0,)) for function in (rest_too, rest, rest_too)]
        spans = [*read, *(each.get(PATIENCE_S) for each in asked)]
    assert most_at_once(spans) == processes


def test_calls_that_share_an_activation_run_at_once_only_as_far_as_they_may(aws_program: AwsProgram) -> None:
    rest, _ = two_functions()
    for bound in (1, 2):
        with aws_program.executor(lithops={"max_concurrency": bound}, worker_processes=2) as executor:
            futures = executor.map(rest, range(4), chunksize=4)
            assert most_at_once(executor.get_result(futures, timeout=PATIENCE_S)) == bound


def test_executors_of_any_size_share_what_is_deployed(google_cloud: Google, configure: Configure) -> None:
    given = configure({"namespace": "sizes"})
    before = google_cloud.functions.created
    for workers in (1, 2, 3):
        with ProcessPoolExecutor(workers, config=given) as executor:
            futures = [executor.submit(each, 0) for each in two_functions() * workers]
            assert most_at_once([future.result(PATIENCE_S) for future in futures]) <= workers
    assert google_cloud.functions.created == before + 1

"""What becomes of the configuration beyond the executor: pools."""

from __future__ import annotations

from typing import Any

import pytest

from lithops.config.loader import resolve
from lithops.config.passing import sections_of_pool


def sections(backend: str, workers: int | None, **lithops: Any) -> dict[str, Any]:
    return sections_of_pool(resolve({"lithops": {"backend": backend, **lithops}}), workers)


@pytest.mark.parametrize("backend", ["aws_lambda", "gcp_functions", "azure_functions"])
def test_what_a_cloud_deploys_is_the_same_for_pools_of_any_size(backend: str) -> None:
    small, large, unbounded = (sections(backend, workers) for workers in (2, 200, None))
    assert small[backend] == large[backend] == unbounded[backend]
    assert [each["lithops"]["max_concurrency"] for each in (small, large, unbounded)] == [2, 200, None]


@pytest.mark.parametrize(("workers", "expected"), [(3, 3), (8, 5), (None, 5)])
def test_a_pool_in_a_cloud_keeps_within_the_configured_bound(workers: int | None, expected: int) -> None:
    assert sections("aws_lambda", workers, max_concurrency=5)["lithops"]["max_concurrency"] == expected


def test_a_pool_on_this_machine_has_processes() -> None:
    found = sections("localhost", 3)
    assert found["localhost"]["worker_processes"] == 3
    assert found["lithops"]["max_concurrency"] is None


def test_a_pool_has_no_limit_to_its_data_and_is_silent() -> None:
    assert sections("localhost", None)["lithops"]["data_limit"] is False
    assert sections("localhost", None)["lithops"]["log_level"] is None
    assert sections("localhost", None, log_level="DEBUG")["lithops"]["log_level"] == "DEBUG"

"""What became of an executor's jobs, in a few numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from lithops.future import ResponseFuture

logger = logging.getLogger(__name__)


def summarize(futures: Iterable[ResponseFuture], cloud_objects_n: int = 0) -> list[dict[str, Any]]:
    """One row a job, in the order of the jobs: calls, failures, seconds of function time (total, mean, longest)."""
    jobs: dict[str, list[ResponseFuture]] = {}
    for future in futures:
        jobs.setdefault(future.job_key, []).append(future)
    rows = [_row(key, calls) for key, calls in jobs.items()]
    for row in rows:
        logger.info("%s", ", ".join(f"{name}: {value}" for name, value in row.items()))
    if cloud_objects_n:
        logger.info("cloud objects: %d", cloud_objects_n)
    return rows


def _row(job_key: str, calls: list[ResponseFuture]) -> dict[str, Any]:
    times = [
        future.stats["worker_func_exec_time"] for future in calls if "worker_func_exec_time" in future.stats
    ]
    return {
        "job_key": job_key,
        "function": calls[0].function_name,
        "calls": len(calls),
        "done": sum(future.done for future in calls),
        "failed": sum(future.error for future in calls),
        "total_s": round(sum(times), 3),
        "mean_s": round(sum(times) / len(times), 3) if times else 0.0,
        "longest_s": round(max(times), 3) if times else 0.0,
    }

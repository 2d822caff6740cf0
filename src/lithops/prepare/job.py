"""What `prepare` makes of a user's call: everything that is needed to send it."""

from __future__ import annotations

from dataclasses import dataclass, field

from lithops.compute.base import RuntimeInfo
from lithops.future import ResponseFuture
from lithops.job_info import JobInfo
from lithops.monitor.tracker import RetryPolicy
from lithops.wire.messages import Call, JobSpec


@dataclass(slots=True)
class Job:
    """One `map`, `call_async` or reduction."""

    info: JobInfo
    spec: JobSpec
    runtime: RuntimeInfo
    futures: list[ResponseFuture]
    calls: list[Call] = field(default_factory=list)
    """The calls that can be sent now; calls that wait for others' results follow later."""
    calls_per_task: int | None = None
    max_concurrency: int | None = None
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    backoff_s: float = 0.0

"""A job: what preparing a user's call makes, and what the futures of its calls share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from lithops.compute.base import RuntimeInfo
from lithops.exceptions import StorageUnavailable
from lithops.wire.messages import Blob, Call, CallStatus, JobSpec, StorageRef
from lithops.wire.pickles import Buffer

if TYPE_CHECKING:
    from lithops.future import ResponseFuture


READ_RETRIES = 10
_READ_PAUSE_S = 0.02
_READ_LONGEST_S = 30.0


class FutureOwner(Protocol):
    """Who settles futures: the monitor of an executor, or that of a process which got them from elsewhere."""

    def read(self, blob: Blob) -> Buffer:
        """The bytes of a result or an error."""
        ...

    def cancel(self, job_key: str, indexes: Iterable[int]) -> None:
        """Stop these calls; returns at once."""
        ...

    def share(self, future: ResponseFuture) -> None:
        """The future leaves this process: its status must be found in the storage once it is settled."""
        ...

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        """Block until the event is set, or the time is up. Raises `InvalidCall` where that would be for ever."""
        ...

    def settles_here(self) -> bool:
        """Whether the thread that asks is the one that settles the futures: it must not wait for them."""
        ...


def read_patiently(owner: FutureOwner, blob: Blob, retries: int) -> Buffer:
    """The bytes of a blob; while the storage is unavailable, tried again `retries` times, later each time.

    A storage may have tried for long by itself: after half a minute nothing is tried again.
    """
    until = time.monotonic() + _READ_LONGEST_S
    for attempt in range(retries):
        try:
            return owner.read(blob)
        except StorageUnavailable:
            if time.monotonic() > until:
                raise
            owner.wait(threading.Event(), _READ_PAUSE_S * 2**attempt)
    return owner.read(blob)


@dataclass(slots=True, eq=False)
class JobInfo:
    """What the futures of one job share."""

    executor_id: str
    job_id: str
    job_key: str
    function_name: str
    runtime_memory: int
    storage: StorageRef
    owner: FutureOwner
    last_attempt: int = 0
    """The number of the last attempt that a call can have: no other follows it."""
    give_up_s: float = 0.0
    """How long a process that got a future from elsewhere waits for it, in seconds."""
    single: bool = False
    """`get_result` gives the bare value: the job is one call of `call_async`, or one reducer."""
    intermediate: bool = False
    """The job's results are for a reducer: `get_result` leaves them out."""
    stats: dict[str, float] = field(default_factory=dict)
    """What the client measured of the job: see `ResponseFuture.stats`."""
    executor: Any = None
    """Keeps the executor alive while somebody holds one of its futures."""
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a call that failed is sent again."""

    retries: int = 0
    """How many times, beyond the first."""
    applies: Callable[[CallStatus], bool] = lambda status: True  # noqa: ARG005
    """Whether a failure is of a kind that is retried."""


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
    speculative: bool = False
    """Whether calls that are late get a second runner."""

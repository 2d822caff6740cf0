"""What a compute backend is: a small protocol, and the few capabilities that some have beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from lithops.exceptions import ComputeError as ComputeError
from lithops.exceptions import Throttled as Throttled
from lithops.wire.messages import CallStatus, Failure, FailureKind, Task


@dataclass(frozen=True, slots=True)
class Limits:
    """What a backend can take, so that the core can plan before it sends."""

    max_activations: int
    """How many activations may run at once."""
    inline_bytes: int
    """The largest input or result of one call that may ride in a message; larger ones are stored."""
    payload_bytes: int
    """The largest task."""
    startup_s: float
    """How long an activation may take to start before it is taken for lost."""
    adaptive_batches: bool = False
    """Whether short calls may be gathered into larger tasks while the job runs."""


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """A runtime that is ready to run calls."""

    name: str
    memory_mb: int
    python: str
    """Its Python, as ``3.11``."""


class ComputeBackend(Protocol):
    """Runs tasks."""

    name: str
    """The name under which the registry knows this backend."""
    limits: Limits

    def deploy(self, runtime: str, memory_mb: int, timeout_s: float) -> RuntimeInfo:
        """Make a runtime ready; at once if it is."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """What `lithops doctor` and error messages say of this backend."""
        ...

    def runtimes(self) -> Sequence[RuntimeInfo]: ...

    def remove(self, runtime: str) -> None: ...

    def invoke(self, task: Task, runtime: RuntimeInfo) -> str:
        """Start one activation for the task and give its id. Raises `Throttled` when it should be sent again."""
        ...

    def close(self) -> None:
        """Stop everything that this backend started. May be called twice, and from an exit handler."""
        ...


class StatusSource(Protocol):
    """Where statuses arrive from. Read by one thread alone."""

    def receive(self, timeout_s: float) -> Sequence[CallStatus]:
        """Statuses that arrived; waits up to `timeout_s` for the first. May give a status twice."""
        ...

    def wake(self) -> None:
        """Make a `receive` that waits, in another thread, return now."""
        ...

    def hurry(self) -> None:
        """The next `receive` shall look for statuses even if it is not time yet."""
        ...

    def sent(self, job_key: str, task_id: int) -> None:
        """Statuses of this task are expected from now on. Tasks are numbered in the order in which they are sent."""
        ...

    def finished(self, job_key: str, task_id: int) -> None:
        """Nothing more is expected of this task."""
        ...


@runtime_checkable
class SupportsDirectResults(Protocol):
    """Statuses come back over the backend's own connection, with no storage between."""

    def status_source(self) -> StatusSource: ...


@runtime_checkable
class SupportsCancel(Protocol):
    """Calls that were sent can be stopped."""

    def cancel(self, task_id: int, job_key: str, indexes: Sequence[int]) -> None:
        """Stop these calls of the task, running or not. No other call is touched."""
        ...


@runtime_checkable
class SupportsHealth(Protocol):
    """The backend knows which activations are dead."""

    def dead(self, activation_ids: Sequence[str]) -> Mapping[str, Failure]:
        """Those of the activations that ended without a report, and why."""
        ...


def failure_of_timeout(timeout_s: float) -> Failure:
    """The failure of a call that was stopped after so many seconds."""
    text = (
        f"the call ran longer than its timeout of {timeout_s:g} s and was stopped; give it more with timeout="
    )
    return Failure(FailureKind.TIMEOUT, FailureKind.TIMEOUT.value, text)

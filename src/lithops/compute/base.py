"""What a compute backend is: a small protocol, and the few capabilities that some have beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lithops.exceptions import ComputeError as ComputeError
from lithops.exceptions import ResponseLost as ResponseLost
from lithops.exceptions import Throttled as Throttled
from lithops.wire.messages import CallStatus, Failure, Task


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
    invoke_threads: int = 0
    """How many requests that invoke may be under way at once, each in a thread of its own; 0: `invoke` does not block,
    and is called by the monitor's thread."""
    connections: int = 0
    """So many of these requests may wait for their activation's end, and bring its statuses back."""
    calls_at_once: int = 1
    """How many calls of its task an activation runs at once."""

    @property
    def takes_events(self) -> bool:
        """Whether an activation can be started without waiting for its end."""
        return self.connections < self.max_activations


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a backend is made for, beside its own configuration."""

    storage: str = "localhost"
    """The name of the storage backend whose code and SDK the workers need."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables that the runtimes are to have. They may hold secrets."""
    shares_state: bool = False
    """Whether functions reach a Redis server, in which processes share objects."""


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

    def sent(self, job_key: str, task_id: int, after_s: float = 0.0) -> None:
        """Statuses of this task are expected from now on, or from `after_s` seconds on where they may come otherwise
        until then. Tasks are numbered in the order in which they are sent."""
        ...

    def finished(self, job_key: str, task_id: int) -> None:
        """Nothing more is expected of this task."""
        ...


@runtime_checkable
class SupportsDirectResults(Protocol):
    """Statuses come back over the backend's own connection, with no storage between."""

    def status_source(self) -> StatusSource: ...


@dataclass(frozen=True, slots=True)
class Response:
    """What came back on the connection of an activation that has ended."""

    activation_id: str
    statuses: Sequence[CallStatus] = ()
    """Calls of the task that are missing here have reported through the storage, or are lost with the activation."""
    failure: Failure | None = None
    """Why the activation died."""


@runtime_checkable
class SupportsResponses(Protocol):
    """Statuses can come back in the response to the request that started their activation."""

    def request(self, task: Task, runtime: RuntimeInfo) -> Response:
        """Start one activation for the task and wait for its end.

        Raises `Throttled` when it should be sent again, and `ResponseLost` when the connection broke before the end.
        """
        ...


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


@runtime_checkable
class SupportsBuild(Protocol):
    """Custom runtimes can be made."""

    def build(self, runtime: str, file: Path) -> str:
        """Make a runtime of that name of a ``requirements.txt`` or a ``Dockerfile``. Gives what was made, in words."""
        ...


@dataclass(frozen=True, slots=True)
class Prices:
    """What a runtime costs, in US dollars."""

    activation: float
    second: float
    """One second of one activation."""
    as_of: str
    """The date of the price list, as ``2026-11-22``."""
    source: str
    """Where the list is published."""
    unit_s: float = 0.001
    """The seconds of an activation are rounded up to a multiple of this."""
    least_s: float = 0.0
    """A shorter activation is billed as one of so many seconds."""


@runtime_checkable
class SupportsPricing(Protocol):
    """What calls cost is known."""

    def prices(self, runtime: RuntimeInfo) -> Prices: ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, as `lithops doctor` shows it."""

    what: str
    ok: bool
    says: str
    """What was found; where it is not well, what to do about it."""


@runtime_checkable
class SupportsDiagnosis(Protocol):
    """The backend can look into what it needs from its cloud."""

    def diagnose(self) -> Iterable[Finding]: ...

    def policy(self) -> Mapping[str, Any]:
        """The least rights that suffice, as the cloud's own JSON."""
        ...

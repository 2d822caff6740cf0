"""What an executor's jobs have used: seconds, activations, requests. Whoever makes a request notes it here.

Nothing here is money: see `cost`.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lithops.compute.base import ComputeBackend, Prices, RuntimeInfo, SupportsPricing
from lithops.job import Job
from lithops.storage.base import StorageBackend
from lithops.wire.keys import JOBS_PREFIX
from lithops.wire.messages import Blob, CallStatus, StoredBlob, Task, busy_s, unpack_stats

FREE = "localhost"
"""The name of the backends that cost nothing."""
WHOLE_EXECUTOR = ""
"""In place of a job's key: for requests that belong to no single job."""
KINDS = ("put", "get", "list", "delete")
"""The requests to a storage; looking at an object without reading it is a ``get``."""
_PAGE = 1000
"""How many objects one request lists or deletes."""

_Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class JobUse:
    """What one job has used up to now."""

    runtime: RuntimeInfo
    prices: Prices | None
    calls: int
    activations: int
    seconds: float
    """Of all activations that were heard of, each from the start of its first call to the end of its last."""
    billed_s: float
    """The same, each rounded up as the cloud does."""
    settled_s: float
    """Seconds of the calls whose results counted. With retries they are fewer, in parallel they are more."""
    requests: Mapping[str, int]


@dataclass(slots=True)
class _Entry:
    runtime: RuntimeInfo
    prices: Prices | None
    calls: int
    stored: int
    """How many stored objects a worker reads before its first call."""
    activations: int = 0
    seconds: float = 0.0
    billed_s: float = 0.0
    settled_s: float = 0.0
    spans: dict[tuple[int, str], _Span] = field(default_factory=dict)
    """Activations that are not in the sums yet: more of their calls may end."""


class Ledger:
    """The books of one executor. Safe in threads."""

    def __init__(self, compute: ComputeBackend, storage: StorageBackend) -> None:
        self._compute = compute
        self.compute_name = compute.name
        self.storage_name = storage.name
        self._all_is_free = compute.name == storage.name == FREE
        """Nothing is counted then."""
        self._entries: dict[str, _Entry] = {}
        self._requests: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._lock = threading.Lock()

    # ------------------------------------------------------------ what is told

    def add_job(self, job: Job) -> None:
        """The job is about to be submitted."""
        spec = job.spec
        stored = sum(isinstance(blob, StoredBlob) for blob in (spec.function, spec.modules, spec.extra))
        compute = self._compute
        prices = compute.prices(job.runtime) if isinstance(compute, SupportsPricing) else None
        with self._lock:
            self._entries[spec.job_key] = _Entry(job.runtime, prices, len(job.futures), stored)

    def count(self, job_key: str, **requests: int) -> None:
        """The client has made so many requests, by their `KINDS`."""
        if self._all_is_free:
            return
        with self._lock:
            self._requests[job_key].update(requests)

    def read(self, blob: Blob) -> None:
        """The client reads a result or an error."""
        if isinstance(blob, StoredBlob):
            self.count(blob.key.removeprefix(JOBS_PREFIX).partition("/")[0], get=1)

    def sent(self, task: Task, times: int = 1) -> None:
        """The backend is asked for an activation, whose worker will read what is stored of its calls' arguments.

        `times` is -1 when it was not taken after all.
        """
        if self._all_is_free:
            return
        stored = sum(isinstance(blob, StoredBlob) for call in task.calls for blob in call.inputs)
        with self._lock:
            self._entries[task.job.job_key].activations += times
            if stored:
                self._requests[task.job.job_key]["get"] += times * stored

    def heard(self, statuses: Iterable[CallStatus], settled: Iterable[CallStatus]) -> None:
        """Statuses have arrived, and these of them are the calls' last."""
        if self._all_is_free:
            return
        with self._lock:
            for status in statuses:
                entry = self._entries.get(status.job_key)
                if entry is not None:
                    self._note_worker(status, entry)
            for status in settled:
                self._entries[status.job_key].settled_s += busy_s(status)

    def _note_worker(self, status: CallStatus, entry: _Entry) -> None:
        requests = self._requests[status.job_key]
        if isinstance(status.result, StoredBlob):
            requests["put"] += 1
        if status.failure is not None and isinstance(status.failure.exception, StoredBlob):
            requests["put"] += 1
        if not status.stats:
            return
        stats = unpack_stats(status.stats)
        activation = status.task_id, status.activation_id
        first, last = entry.spans.get(activation, (math.inf, -math.inf))
        entry.spans[activation] = (
            min(first, stats["worker_start_tstamp"]),
            max(last, stats["worker_end_tstamp"]),
        )
        if stats["worker_cold_start"]:
            requests["get"] += entry.stored

    def ended(self, job_key: str) -> None:
        """All calls of the job are settled: its activations become sums."""
        with self._lock:
            entry = self._entries[job_key]
            entry.seconds, entry.billed_s = _summed(entry)
            entry.spans = {}

    # ------------------------------------------------------------ what is asked

    @property
    def is_priced(self) -> bool:
        """Whether it is known what activations cost."""
        return isinstance(self._compute, SupportsPricing)

    def jobs(self) -> dict[str, JobUse]:
        """What each job has used."""
        with self._lock:
            return {key: self._use(key, entry) for key, entry in self._entries.items()}

    def requests(self, job_key: str) -> dict[str, int]:
        """The requests of one job up to now, or those of none."""
        with self._lock:
            return dict(self._requests[job_key])

    def _use(self, key: str, entry: _Entry) -> JobUse:
        return JobUse(
            entry.runtime,
            entry.prices,
            entry.calls,
            entry.activations,
            *_summed(entry),
            entry.settled_s,
            dict(self._requests[key]),
        )


def pages(objects: int) -> int:
    """How many requests list, or delete, so many objects."""
    return max(1, math.ceil(objects / _PAGE))


def billed_s(seconds: float, prices: Prices | None) -> float:
    """The seconds that are billed for an activation of so many."""
    if prices is None:
        return seconds
    # What a floating-point number is too large by is no further unit.
    return math.ceil(round(max(seconds, prices.least_s) / prices.unit_s, 6)) * prices.unit_s


def _summed(entry: _Entry) -> tuple[float, float]:
    spans: Sequence[float] = [last - first for first, last in entry.spans.values()]
    return (
        entry.seconds + sum(spans),
        entry.billed_s + sum(billed_s(span, entry.prices) for span in spans),
    )

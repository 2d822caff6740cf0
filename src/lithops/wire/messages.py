"""The messages: `Task` is the only one out, `CallStatus` the only one back.

A `Task` is one activation's batch of calls of one job. A `CallStatus` says what became of one of them. Both are
frozen, of the standard library alone, and made of what JSON can carry, with bytes beside it (see `codec`).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from lithops.wire.pickles import Buffer

WIRE_VERSION = 1
"""Raised when a message changes its shape: client and worker refuse each other's messages if it differs."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes from `start` up to, but without, `stop`."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class InlineBlob:
    """Bytes that travel in the message itself."""

    data: Buffer


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """Bytes that lie in the job's storage: the object `key`, or a range of it."""

    key: str
    range: ByteRange | None = None


Blob = InlineBlob | StoredBlob


@dataclass(frozen=True, slots=True)
class StorageRef:
    """Which storage holds the job's objects. It names a place, never a credential."""

    backend: str
    bucket: str
    options: Mapping[str, Any] = field(default_factory=dict)


class Binding(str, Enum):
    """How a call's inputs become the function's arguments."""

    BOUND = "bound"
    """One input: a pickled pair of positional and keyword arguments, bound by the client."""
    ELEMENT = "element"
    """One input: an earlier call's result, bound on the worker as an element of `map` would be."""
    COLLECTED = "collected"
    """Many inputs: earlier calls' results, handed over as one list. This is a reducer."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What all calls of a job have in common: everything that a worker needs beside the inputs."""

    job_key: str
    function: Blob
    function_hash: str
    """Names the function's and its modules' content: a warm worker loads each hash once."""
    storage: StorageRef
    timeout_s: float
    inline_limit: int
    """Results and errors up to this many bytes ride in the status; larger ones are stored."""
    modules: Blob | None = None
    """A zip of the local modules that the function needs and the runtime lacks."""
    modules_hash: str = ""
    """Names the content of `modules`."""
    binding: Binding = Binding.BOUND
    extra: Blob | None = None
    """The pickled `extra_args`, where the worker binds."""
    reserved: tuple[str, ...] = ()
    """The reserved parameters (`id`, `storage`, `obj`, ...) that the function declares."""
    placing: tuple[str, ...] = ()
    """Where the worker binds: the parameters that values go to by name, since reserved ones lie between them."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment variables set while a call runs."""


@dataclass(frozen=True, slots=True)
class Call:
    """One input of a job."""

    index: int
    inputs: tuple[Blob, ...]
    attempt: int = 0

    @property
    def inline_bytes(self) -> int:
        """How much of a task's payload this call takes."""
        return sum(len(blob.data) for blob in self.inputs if isinstance(blob, InlineBlob))


@dataclass(frozen=True, slots=True)
class Task:
    """One activation's batch of calls."""

    task_id: int
    """Unique within the executor, and told back in each `CallStatus`."""
    job: JobSpec
    calls: tuple[Call, ...]
    reply_s: float = 0.0
    """For so long the response to the request that brought the task is waited for: statuses of a task that ends
    sooner are sent in it; all others go through the storage."""


class Phase(str, Enum):
    """What became of a call. All but the first and the last settle it."""

    STARTED = "started"
    RETURNED = "returned"
    RAISED = "raised"
    LOST = "lost"
    CANCELLED = "cancelled"
    DECLINED = "declined"
    """The activation gives the call back without having started it: it is sent again at no cost to its retries.
    Only for direct results: in a storage it would take the place of the status that follows."""


class FailureKind(str, Enum):
    """Why a call did not return."""

    RAISED = "raised"
    """The function raised, or its result could not be pickled."""
    LOST = "lost"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call did not return, in words that survive when the exception itself cannot be pickled."""

    kind: FailureKind
    type_name: str
    message: str
    traceback: str = ""
    exception: Blob | None = None
    """The pickled exception, where it could be pickled and read back."""
    exit_code: int | None = None
    """How the process ended in which the call ran, where it ended: negative for a signal."""


@dataclass(frozen=True, slots=True)
class CallStatus:
    """What became of one call."""

    job_key: str
    index: int
    phase: Phase
    task_id: int = -1
    attempt: int = 0
    activation_id: str = ""
    stats: bytes = b""
    """A packed `CallStats`; empty where the worker did not live to measure."""
    result: Blob | None = None
    failure: Failure | None = None
    logs: str = ""
    """What the call printed and logged."""
    follow: bool = False
    """The result is a future or a list of futures, whose results are meant."""


STAT_NAMES = (
    "worker_cold_start",
    "worker_start_tstamp",
    "worker_end_tstamp",
    "worker_func_start_tstamp",
    "worker_func_end_tstamp",
    "worker_func_cpu_user_time",
    "worker_func_cpu_system_time",
    "worker_func_sent_net_io",
    "worker_func_recv_net_io",
    "worker_func_rss",
    "worker_func_vms",
    "worker_func_uss",
    "worker_peak_memory_start",
    "worker_peak_memory_end",
    "worker_result_upload_time",
    "func_result_size",
)
"""What a worker measures of a call, in the order in which `pack_stats` takes it.
Time stamps are seconds of the Unix epoch, times seconds, sizes and memory bytes."""

_STATS = struct.Struct(f"<{len(STAT_NAMES)}d")
pack_stats = _STATS.pack
"""A call's measurements as 8 bytes each: statuses are kept by the hundred thousand, dicts would not fit."""


_START_AND_END = struct.Struct("<2d")
_START_AND_END_OFFSET = 8


def busy_s(status: CallStatus) -> float:
    """Seconds of its worker that the call took; 0 where the worker did not live to tell."""
    if not status.stats:
        return 0.0
    started, ended = _START_AND_END.unpack_from(status.stats, _START_AND_END_OFFSET)
    return float(ended - started)


def unpack_stats(packed: bytes) -> dict[str, float]:
    """The measurements by name, with those derived from them; empty for an empty `packed`."""
    if not packed:
        return {}
    stats = dict(zip(STAT_NAMES, _STATS.unpack(packed), strict=True))
    cpu = stats["worker_func_cpu_user_time"] + stats["worker_func_cpu_system_time"]
    elapsed = stats["worker_func_end_tstamp"] - stats["worker_func_start_tstamp"]
    stats["worker_func_exec_time"] = elapsed
    stats["worker_exec_time"] = stats["worker_end_tstamp"] - stats["worker_start_tstamp"]
    stats["worker_func_cpu_usage"] = 100 * cpu / elapsed if elapsed > 0 else 0.0
    return stats

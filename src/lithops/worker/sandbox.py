"""What a cloud's function does with a request: the part that is the same on all clouds.

::

    request ──► Sandbox.answer ──► Worker, in this process, or Children ──► statuses ──► response
                                                                              └────────► storage, where it is late
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, cast

from lithops.storage.base import StorageBackend
from lithops.storage.registry import from_reference
from lithops.version import __version__
from lithops.wire.codec import statuses_to_json, task_from_json
from lithops.wire.messages import WIRE_VERSION, CallStatus, StorageRef, Task
from lithops.worker.alarm import time_limit
from lithops.worker.capture import log_to_stderr
from lithops.worker.handler import OpenStorage, Worker
from lithops.worker.report import StoredReports

_MARGIN_S = 1.0
"""A call that is stopped so long before its activation can still be reported."""


class Calls(Protocol):
    """Runs the calls of a task."""

    def run(
        self, task: Task, activation_id: str, ends_at: float, report: Callable[[CallStatus], None]
    ) -> None:
        """Run them all and report on each. Stop those that have not ended shortly before `ends_at` (monotonic)."""
        ...


class Sandbox:
    """One process of a cloud's runtime. It handles one request after the other, and keeps what is worth keeping."""

    def __init__(self, *, processes: int = 1, isolated: bool) -> None:
        """Calls run in this process, whose main thread must then be the one that asks for answers; or `isolated`, in
        so many processes of their own."""
        self._processes = processes
        self._isolated = isolated
        self._calls: Calls | None = None
        self._storages: dict[str, StorageBackend] = {}

    def answer(
        self, message: Mapping[str, Any], activation_id: str, remaining_s: float = float("inf")
    ) -> dict[str, Any]:
        """The response to a request, ready for JSON. The cloud ends the activation after `remaining_s` seconds.

        Raises `StorageError` where a status must go into the storage and cannot, `WireError` for what is no request.
        """
        ends_at = time.monotonic() + remaining_s
        if message.get("describe"):
            return describe()
        task = task_from_json(message)
        reports = StoredReports(task, self._open(task.job.storage))
        try:
            if self._calls is None:
                self._calls = self._start()
            self._calls.run(task, activation_id, ends_at, reports.report)
        except BaseException:
            reports.close()
            raise
        return statuses_to_json(reports.reply())

    def _start(self) -> Calls:
        if self._isolated:
            from lithops.worker.children import Children

            return Children(self._processes)
        return _InProcess(self._open)

    def _open(self, reference: StorageRef) -> StorageBackend:
        """The storage, opened once, by the first call that needs it: most calls end before its SDK is imported."""
        name = repr(reference)
        if name not in self._storages:
            self._storages[name] = cast(StorageBackend, _OnDemand(reference))
        return self._storages[name]


class _InProcess:
    """Implements `Calls` in this process' main thread."""

    def __init__(self, open_storage: OpenStorage) -> None:
        from lithops.worker.tee import TeeCapture

        capture = TeeCapture()
        log_to_stderr()
        self._worker = Worker("", open_storage, capture, self._limit)
        self._ends_at = 0.0

    def run(
        self, task: Task, activation_id: str, ends_at: float, report: Callable[[CallStatus], None]
    ) -> None:
        self._worker.activation_id = activation_id
        self._ends_at = ends_at - _MARGIN_S
        self._worker.run(task, report)

    @contextmanager
    def _limit(self, timeout_s: float) -> Iterator[None]:
        with time_limit(min(timeout_s, self._ends_at - time.monotonic())):
            yield


def describe() -> dict[str, Any]:
    """What a client must know of a runtime before it sends it anything."""
    # It takes as long to import as all the rest together.
    from importlib.metadata import distributions

    return {
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "version": __version__,
        "wire": WIRE_VERSION,
        "modules": sorted({each.metadata["Name"] for each in distributions()}),
    }


class _OnDemand:
    """Stands for a storage backend."""

    def __init__(self, reference: StorageRef) -> None:
        self._reference = reference
        self._backend: StorageBackend | None = None

    def __getattr__(self, name: str) -> Any:
        if self._backend is None:
            self._backend = from_reference(self._reference)
        return getattr(self._backend, name)

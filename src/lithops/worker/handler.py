"""A worker: takes a task, runs its calls one after the other, and reports on each as it ends.

::

    Task ──► FunctionCache.load ──► for each call: load_arguments ──► function ──► ship_result ──► CallStatus
              (fetch.py)                            (fetch.py)                     (report.py)
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from lithops.storage.base import StorageBackend
from lithops.wire.failures import failure_of_time
from lithops.wire.messages import (
    Blob,
    Call,
    CallStatus,
    Failure,
    FailureKind,
    Phase,
    StorageRef,
    Task,
    pack_stats,
)
from lithops.worker.alarm import TimeIsUp
from lithops.worker.capture import Capture
from lithops.worker.fetch import FunctionCache, load_arguments
from lithops.worker.gauges import of_this_process, read_usage
from lithops.worker.report import holds_futures, pack_result, ship_failure, ship_result

if TYPE_CHECKING:
    from collections.abc import Iterator

Report = Callable[[CallStatus], None]
Claim = Callable[[], bool]
OpenStorage = Callable[[StorageRef], StorageBackend]
TimeLimit = Callable[[float], AbstractContextManager[None]]
"""Ends its body with `TimeIsUp`, after the call's timeout or sooner."""

_OWN_FRAMES = 1
"""The outermost frame of a call's traceback is this module's: the user need not see it."""
_UNLIMITED = nullcontext()


class Worker:
    """Runs tasks in this process, and keeps between them what is worth keeping."""

    def __init__(
        self,
        activation_id: str,
        open_storage: OpenStorage,
        capture: Capture,
        time_limit: TimeLimit = lambda timeout_s: _UNLIMITED,  # noqa: ARG005 - who starts workers can end them
    ) -> None:
        self.activation_id = activation_id
        self._time_limit = time_limit
        self._open_storage = open_storage
        self._capture = capture
        self._functions = FunctionCache()
        self._storages: dict[str, StorageBackend] = {}
        self._usage = read_usage()
        self._pid = os.getpid()
        self._cold = True

    def run(self, task: Task, report: Report, claim: Claim = lambda: True) -> None:
        """Run the task's calls in order while `claim` allows the next one, and report on each."""
        storage = self._storage(task.job.storage)
        with _environment(task.job.env):
            for call in task.calls:
                if not claim():
                    break
                report(self._run_call(call, task, storage))
                self._cold = False

    def _run_call(self, call: Call, task: Task, storage: StorageBackend) -> CallStatus:
        job = task.job
        started = function_started = time.time()
        function_ended = 0.0
        before, sample = self._usage, of_this_process.read(started)
        self._capture.begin()
        result: Blob | None = None
        failure: Failure | None = None
        length, upload_s, follow = 0, 0.0, False
        to_close: list[Any] = []
        try:
            try:
                with self._time_limit(job.timeout_s):
                    function, extra = self._functions.load(job, storage)
                    args, kwargs = load_arguments(call, job, extra, storage, to_close)
                    function_started = time.time()
                    value = function(*args, **kwargs)
                self._end_if_forked(None)
                function_ended = time.time()
                follow = holds_futures(value)
                result, length, upload_s = ship_result(pack_result(value), call, job, storage)
            finally:
                for opened in to_close:
                    opened.close()
        except TimeIsUp as end:
            failure = failure_of_time(end.limit_s, job.timeout_s)
        except BaseException as error:  # noqa: BLE001 - SystemExit too is the failure of this call, not the worker's
            self._end_if_forked(error)
            failure = ship_failure(error, call, job, storage, skip=_OWN_FRAMES)
        ended = time.time()
        after = self._usage = read_usage()
        later = of_this_process.read(ended)
        stats = pack_stats(
            self._cold,
            started,
            ended,
            function_started,
            function_ended or ended,
            after.user_s - before.user_s,
            after.system_s - before.system_s,
            later.sent - sample.sent,
            later.received - sample.received,
            later.rss,
            later.vms,
            later.uss,
            before.peak_bytes,
            after.peak_bytes,
            upload_s,
            length,
        )
        return CallStatus(
            job.job_key,
            call.index,
            _phase(failure),
            task.task_id,
            call.attempt,
            self.activation_id,
            stats,
            result,
            failure,
            self._capture.take(),
            follow,
        )

    def _end_if_forked(self, error: BaseException | None) -> None:
        """A call may fork. The child that comes back from the function is not the worker: it ends as a program does."""
        if os.getpid() == self._pid:
            return
        code = error.code if isinstance(error, SystemExit) else error
        if isinstance(code, BaseException):
            traceback.print_exception(code)
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))

    def _storage(self, reference: StorageRef) -> StorageBackend:
        name = repr(reference)
        if name not in self._storages:
            self._storages[name] = self._open_storage(reference)
        return self._storages[name]


def _phase(failure: Failure | None) -> Phase:
    if failure is None:
        return Phase.RETURNED
    return Phase.RAISED if failure.kind is FailureKind.RAISED else Phase.LOST


@contextmanager
def _environment(variables: Any) -> Iterator[None]:
    """Set environment variables for a while."""
    if not variables:
        yield
        return
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)

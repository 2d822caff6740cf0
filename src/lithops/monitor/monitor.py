"""The monitor: one thread that sends tasks, takes in statuses and settles futures.

::

    submit ─┐                ┌─► Invoker.pump ─► ComputeBackend.invoke
    push   ─┼─► inbox ─► step│
    cancel ─┘                └─► StatusSource.receive ─► JobTracker ─► Outcome ─► ResponseFuture.settle

The tracker, the invoker and the source belong to this thread alone: everybody else leaves a message in the inbox.
`step` is one round without a thread, so that a simulation can drive the same code on its own clock.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from lithops.clock import Clock
from lithops.compute.base import ComputeBackend, Response, StatusSource, SupportsCancel, SupportsHealth
from lithops.exceptions import InvalidCall, StorageError
from lithops.future import ResponseFuture
from lithops.invoke.invoker import Invoker, Sending
from lithops.invoke.runner import ThreadRunner
from lithops.job import Job
from lithops.ledger import Ledger
from lithops.monitor.logs import JobLogs
from lithops.monitor.published import publish
from lithops.monitor.stragglers import Stragglers
from lithops.monitor.tracker import JobTracker, Outcome
from lithops.storage.base import StorageBackend
from lithops.wire.messages import Blob, Call, CallStatus, Failure, FailureKind, Phase, Task, busy_s
from lithops.wire.pickles import Buffer
from lithops.worker.fetch import read_blob

logger = logging.getLogger(__name__)

_IDLE_S = 60.0
"""The longest wait of a round in which nothing is due."""
_HEALTH_EVERY_S = 5.0
_HEALTH_THREADS = 1
_JOIN_S = 5.0


class JobMonitor:
    """Brings jobs to an end. One for each executor."""

    def __init__(
        self, compute: ComputeBackend, source: StatusSource, storage: StorageBackend, bucket: str, *,
        invoker: Invoker, logs: JobLogs, ledger: Ledger, clock: Clock, threaded: bool = True,
    ) -> None:  # fmt: skip
        self._compute = compute
        self._health = compute if isinstance(compute, SupportsHealth) else None  # slow to find out
        self._source = source
        self._storage = storage
        self._bucket = bucket
        self._invoker = invoker
        self._logs = logs
        self._ledger = ledger
        self._clock = clock
        self._threaded = threaded
        self._owner_pid = os.getpid()
        self._tracker = JobTracker()
        self._stragglers = Stragglers()
        self._jobs: dict[str, Job] = {}
        self._unsettled: dict[str, dict[int, ResponseFuture]] = {}
        self._inbox: deque[Callable[[], None]] = deque()
        self._next_health = 0.0
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._lock = threading.Lock()
        self._broken = ""
        if compute.limits.invoke_threads:
            invoker.runner = ThreadRunner(compute.limits.invoke_threads + _HEALTH_THREADS, self._post)

    # ------------------------------------------------------------ from other threads

    def check_open(self) -> None:
        """Raises `InvalidCall` where no job can be submitted any more."""
        self._check_process()
        if self._stopping:
            raise InvalidCall("this executor has been closed: make a new one")

    def submit(self, job: Job) -> None:
        """Send the job's calls, and settle its futures as they end."""
        self.check_open()
        self._ledger.add_job(job)
        self._post(lambda: self._add(job))
        if self._threaded:
            self.start()

    def push(self, job_key: str, calls: Sequence[Call]) -> None:
        """Calls of a job that waited for something else are ready."""
        self._post(lambda: self._push(job_key, calls))

    def fail(self, job_key: str, index: int, failure: Failure) -> None:
        """A call that waited for something else will never be ready."""
        phase = Phase.CANCELLED if failure.kind is FailureKind.CANCELLED else Phase.RAISED
        status = CallStatus(job_key, index, phase, failure=failure)
        self._post(lambda: self._apply(self._tracker.give_up([status])))

    def cancel(self, job_key: str, indexes: Iterable[int]) -> None:
        """Stop these calls. Returns at once; their futures settle shortly after."""
        wanted = list(indexes)
        self._post(lambda: self._cancel(job_key, wanted))

    def read(self, blob: Blob) -> Buffer:
        self._ledger.read(blob)
        return read_blob(blob, self._storage, self._bucket)

    def share(self, future: ResponseFuture) -> None:
        """Put the future's status into the storage as soon as there is one."""
        future.add_done_callback(lambda settled: publish(settled, self._storage, self._bucket))

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        self._check_process()
        if self.settles_here() and not event.is_set():
            raise InvalidCall(
                "a callback waits for a call that has not ended, in the thread that brings calls to their ends: "
                "let the callback hand over to another thread"
            )
        return self._clock.wait(event, timeout_s)

    def settles_here(self) -> bool:
        return threading.current_thread() is self._thread

    def stop_workers(self) -> None:
        """End everything that the backend has started. Returns when that is done."""
        stopped = threading.Event()

        def stop() -> None:
            self._compute.close()
            stopped.set()

        self._post(stop)
        self._clock.wait(stopped, _JOIN_S)

    def _check_process(self) -> None:
        if os.getpid() != self._owner_pid:
            raise InvalidCall(
                "this executor was made before the process forked, and its monitor stayed behind: "
                "make an executor in the child process"
            )

    def start(self) -> None:
        with self._lock:  # nothing can be sent without the thread
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True, name="lithops-monitor")
                self._thread.start()

    def close(self) -> None:
        """Cancel what is left, and stop. No future stays unsettled."""
        self._post(self._cancel_all)
        self._stopping = True
        with self._lock:  # one that is being started cannot be joined before
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            self._source.wake()
            thread.join(_JOIN_S)
        elif thread is None:
            self._drain_inbox()
        self._invoker.runner.close()

    # ------------------------------------------------------------ the round

    def step(self, longest_s: float = _IDLE_S) -> None:
        """One round: do what was asked, take in what has arrived, send what may be sent."""
        self._drain_inbox()
        self._send(self._clock.now())
        statuses = self._receive(self._wait_s(longest_s))
        now = self._clock.now()
        if statuses:
            # What was cancelled before these calls ended is not to take their place.
            self._drain_inbox()
            self._hear(statuses, now)
        self._apply(self._tracker.expire(now))
        for task_id in self._stragglers.late(now):
            self._apply(self._tracker.twin(task_id))
        self._check_health(now)

    def _receive(self, timeout_s: float) -> Sequence[CallStatus]:
        try:
            return self._source.receive(timeout_s)
        except StorageError as error:
            # Not one that passes: no call that is under way can be heard of any more.
            self._lose_all(f"the reports of calls cannot be read any more: {error}")
            return ()

    def _hear(self, statuses: Sequence[CallStatus], now: float) -> None:
        outcome = self._tracker.hear(statuses)
        self._ledger.heard(statuses, outcome.settled)
        self._account(outcome)
        self._send(now)  # first of all: while futures are settled here, workers are busy again
        self._settle(outcome.settled)

    def _run(self) -> None:
        try:
            while not self._stopping or self._inbox:
                self.step()
        except Exception as error:
            logger.exception("the monitor failed: every call that it watches is lost")
            self._broken = f"the monitor of this executor failed, please report it: {error!r}"
            self._lose_all(self._broken)

    def _wait_s(self, longest_s: float) -> float:
        now = self._clock.now()
        times = [
            now + longest_s,
            self._tracker.next_deadline(),
            self._invoker.next_due(now),
            self._stragglers.next_due(),
        ]
        if self._jobs and self._health is not None:
            times.append(self._next_health)
        if self._inbox or self._stopping:
            return 0.0
        return max(0.0, min(due for due in times if due is not None) - now)

    def _drain_inbox(self) -> None:
        while self._inbox:
            self._inbox.popleft()()

    def _post(self, message: Callable[[], None]) -> None:
        self._inbox.append(message)
        if self._broken:
            self._drain_inbox()
        self._source.wake()

    # ------------------------------------------------------------ jobs and calls

    def _add(self, job: Job) -> None:
        key = job.spec.job_key
        self._jobs[key] = job
        self._unsettled[key] = {future.index: future for future in job.futures}
        self._tracker.add_job(key, job.retry)
        if job.speculative:
            self._stragglers.add_job(key, len(job.futures))
        self._invoker.add_job(
            job.spec, job.runtime, calls_per_task=job.calls_per_task, max_concurrency=job.max_concurrency,
            backoff_s=job.backoff_s,
        )  # fmt: skip
        calls, job.calls = job.calls, []
        self._push(key, calls)
        if self._broken:
            self._lose_all(self._broken)
        elif self._stopping:
            self._cancel_all()

    def _push(self, job_key: str, calls: Sequence[Call]) -> None:
        if job_key in self._jobs:
            self._invoker.push(job_key, [call for call in calls if call.index in self._unsettled[job_key]])

    def _send(self, now: float) -> None:
        self._invoker.pump(now, self._note_departure, self._note_answer)

    def _note_departure(self, sending: Sending) -> None:
        # Before it is sent: a worker may end the call before this thread goes on.
        task = sending.task
        key = task.job.job_key
        now = self._clock.now()
        # The calls of a task run one after the other, so the last may have to wait for all before it.
        allowed_s = self._compute.limits.startup_s + task.job.timeout_s * len(task.calls)
        calls = [(call.index, call.attempt) for call in task.calls]
        self._tracker.sent(task.task_id, key, calls, deadline=now + allowed_s)
        self._ledger.sent(task)
        stamp = time.time()
        unsettled = self._unsettled[key]
        for call in task.calls:
            unsettled[call.index].mark_sent(stamp)
        if task.reply_s:
            self._source.sent(key, task.task_id, after_s=task.reply_s)
        self._stragglers.sent(task.task_id, key, now)

    def _note_answer(self, sending: Sending) -> None:
        self._invoker.heard(sending, self._clock.now())
        task = sending.task
        task_id, key = task.task_id, task.job.job_key
        if sending.throttled or sending.error:
            self._ledger.sent(task, -1)
        if sending.throttled:
            self._apply(self._tracker.unsent(task_id))
        elif sending.error:
            failure = Failure(FailureKind.LOST, "lost", f"the call could not be sent: {sending.error}")
            self._apply(self._tracker.fail(task_id, failure))
        elif sending.response is not None:
            self._note_response(task, sending.response)
        elif self._tracker.is_under_way(task_id):
            self._source.sent(key, task_id)
            self._tracker.name(task_id, sending.activation_id)
            if sending.response_lost and task.reply_s:
                self._ledger.sent(task)
                self._invoker.repeat(sending, self._note_answer)

    def _note_response(self, task: Task, response: Response) -> None:
        """An activation has ended."""
        if response.statuses:
            self._hear(response.statuses, self._clock.now())
        if response.failure is not None:
            self._bury({task.task_id: response.failure})
        elif self._tracker.is_under_way(task.task_id):
            # What else it has to report is in the storage.
            self._source.sent(task.job.job_key, task.task_id)
            self._source.hurry()

    def _cancel(self, job_key: str, indexes: Sequence[int]) -> None:
        # Settled first, so that what the backend reports of them afterwards comes second.
        tasks = self._tracker.tasks_of(job_key, indexes)
        self._apply(self._tracker.cancel(job_key, indexes))
        self._stop_calls(job_key, tasks)

    def _stop_calls(self, job_key: str, tasks: Mapping[int, Sequence[int]]) -> None:
        """Have the backend stop these calls of each task, if it can."""
        if isinstance(self._compute, SupportsCancel):
            for task_id, held in tasks.items():
                self._compute.cancel(task_id, job_key, held)

    def _cancel_all(self) -> None:
        for key, futures in list(self._unsettled.items()):
            self._cancel(key, list(futures))

    def _lose_all(self, message: str) -> None:
        """Every call that has not ended has failed, and its task needs its slot no more."""
        failure = Failure(FailureKind.LOST, "lost", message)
        for key, futures in list(self._unsettled.items()):
            lost = [CallStatus(key, index, Phase.LOST, failure=failure) for index in futures]
            self._apply(self._tracker.give_up(lost))
        for task_id in self._tracker.tasks():
            self._apply(self._tracker.fail(task_id, failure))

    def _check_health(self, now: float) -> None:
        if self._health is None or now < self._next_health:
            return
        self._next_health = now + _HEALTH_EVERY_S
        if activations := self._tracker.activations():
            self._next_health = float("inf")  # one look at a time
            look = partial(self._health.dead, list(activations))
            self._invoker.runner.run(look, partial(self._note_dead, activations))

    def _note_dead(self, activations: Mapping[str, int], dead: Mapping[str, Failure]) -> None:
        self._next_health = self._clock.now() + _HEALTH_EVERY_S
        self._bury({activations[activation_id]: failure for activation_id, failure in dead.items()})

    def _bury(self, dead: Mapping[int, Failure]) -> None:
        """These tasks' activations are dead."""
        if dead:
            # What an activation has said before it died counts: it may be there, and not read yet.
            self._source.hurry()
            self._hear(self._receive(0.0), self._clock.now())
        for task_id, failure in dead.items():
            self._apply(self._tracker.bury(task_id, failure))

    # ------------------------------------------------------------ what follows

    def _apply(self, outcome: Outcome) -> None:
        self._account(outcome)
        self._settle(outcome.settled)

    def _account(self, outcome: Outcome) -> None:
        """Tell the invoker which slots are free, and which calls are pending again."""
        for status in outcome.started:
            self._unsettled[status.job_key][status.index].mark_started(status.activation_id)
        for status in outcome.settled:
            self._invoker.settled(status.job_key, status.index, status.task_id, busy_s(status))
        for task_id in outcome.finished_tasks:
            self._source.finished(self._invoker.finished(task_id), task_id)
        now = self._clock.now()
        self._stragglers.heard(outcome.settled, outcome.finished_tasks, now)
        for status in outcome.outrun:
            self._stop_calls(status.job_key, self._tracker.tasks_of(status.job_key, [status.index]))
        for again in outcome.resend:
            self._invoker.resend(
                again.job_key, again.index, again.attempt, failed=again.failed, now=now, alone=again.alone
            )

    def _settle(self, statuses: list[CallStatus]) -> None:
        stamp = time.time()
        names = (
            (self._jobs[status.job_key].info.function_name, status) for status in statuses if status.logs
        )
        self._logs.write(names)
        for status in statuses:
            futures = self._unsettled[status.job_key]
            future = futures.pop(status.index)
            if not futures:
                self._finish(status.job_key)
            future.settle(status, stamp)

    def _finish(self, job_key: str) -> None:
        del self._unsettled[job_key]
        del self._jobs[job_key]
        self._ledger.ended(job_key)
        self._tracker.drop_job(job_key)
        self._stragglers.drop_job(job_key)
        self._invoker.drop_job(job_key)
        logger.debug("job %s: every call has ended", job_key)

"""One way through a simulated cloud that a seed chooses, and what must hold at its end."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lithops.exceptions import (
    CallCancelled,
    CallTimeout,
    RemoteError,
    StorageUnavailable,
    WorkerLost,
)
from lithops.executors import FunctionExecutor
from lithops.future import ResponseFuture
from lithops.testing.simulation import Delivery, Faults, Outages, SimulatedCloud
from lithops.wire.keys import executor_prefix
from lithops.wire.messages import Phase

INTERVAL_S = 1.0
HEALTH_EVERY_S = 5.0 + 4 * INTERVAL_S
"""How long the death of an activation may stay unnoticed after the cloud tells of it."""


# ---------------------------------------------------------------- one journey


@dataclass(slots=True)
class _Settled:
    """When a future was settled."""

    at: float
    deliveries_before: int


class Journey:
    """One seed's cloud and client, and what they went through."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(f"journey {seed}")
        chance = self.random
        self.connected = chance.random() < 0.5
        self.max_activations = chance.randint(1, 6)
        self.cloud = SimulatedCloud(
            seed,
            faults=_faults(chance),
            client_outages=_outages(chance),
            worker_outages=_outages(chance),
            connected=self.connected,
            max_activations=self.max_activations,
            inline_bytes=chance.choice([300, 100_000]),
            startup_s=10.0,
        )
        self.most_at_once = chance.choice([None, None, 1, 2, 4])
        """The bound of each executor."""
        self.executors: list[FunctionExecutor] = []
        self.executor = self.new_executor()
        self.count = chance.randint(1, 20)
        self.options: dict[str, Any] = {
            "chunksize": chance.choice([None, 1, 2, 4]),
            "backoff": chance.choice([0.0, 0.0, 0.5]),
        }
        self.max_concurrency = chance.choice([None, None, 1, 3])
        self.is_cancelled = False
        self.is_speculative = False
        self._settled: dict[ResponseFuture, _Settled] = {}
        self._told: Counter[ResponseFuture] = Counter()

    def new_executor(self) -> FunctionExecutor:
        executor = self.cloud.executor(
            monitoring_interval=INTERVAL_S, execution_timeout=20, max_concurrency=self.most_at_once
        )
        self.executors.append(executor)
        return executor

    def watch(self, futures: Iterable[ResponseFuture]) -> None:
        """Count how often each of these futures is settled."""
        for future in futures:
            self._told[future] += 0
            future.add_done_callback(self._note_settled)

    def _note_settled(self, future: ResponseFuture) -> None:
        history = self.cloud.history
        self._told[future] += 1
        self._settled[future] = _Settled(self.cloud.clock.now(), len(history.deliveries))
        status = future.settled_status()
        assert status is not None
        failure = "" if status.failure is None else status.failure.kind.value
        history.note(f"settled {history.name(future.job_key)} {future.index} {status.phase.value} {failure}")

    # ------------------------------------------------------------ what must hold

    def finish(self) -> None:
        """Let everything come to its end, and check what holds for every journey."""
        self.cloud.run_out()
        history = self.cloud.history
        for executor in self.executors:
            monitor, invoker = executor.job_monitor, executor.invoker
            assert all(future.done for future in executor.futures), "a future was never settled"
            assert not monitor._unsettled
            assert not monitor._tracker._tasks, "a task stayed in the tracker"
            assert not monitor._tracker._jobs
            assert not invoker._queues
            assert invoker._slots.free == self.max_activations, "a slot stayed taken"
            assert invoker._bound.running == 0, "a call counts as running for ever"
            if self.most_at_once is not None:
                assert history.peak_calls[executor.executor_id] <= self.most_at_once
        assert set(self._told) == {future for executor in self.executors for future in executor.futures}
        assert set(self._told.values()) <= {1}, f"told more than once, or never: {self._told}"
        assert history.peak_activations <= self.max_activations * len(self.executors)
        self._check_sends()
        for future, settled in self._settled.items():
            late = [
                each
                for each in history.deliveries[settled.deliveries_before :]
                if (each.job_key, each.index) == (future.job_key, future.index)
            ]
            assert not late, f"{future} was sent again after it was settled: {late}"

    def close(self) -> None:
        """Nothing of the journey stays in the storage."""
        for executor in self.executors:
            executor.close()
            left = list(self.cloud.storage.list("lithops-data", executor_prefix(executor.executor_id)))
            assert not left, f"objects stayed in the storage: {left}"

    def _check_sends(self) -> None:
        """Every time that a call was sent again has its reason."""
        calls: dict[tuple[str, int], dict[int, list[Delivery]]] = {}
        for each in self.cloud.history.deliveries:
            calls.setdefault((each.job_key, each.index), {}).setdefault(each.attempt, []).append(each)
        sizes = Counter(
            (each.job_key, each.task_id) for each in self.cloud.history.deliveries if not each.is_copy
        )
        for attempts in calls.values():
            for attempt, deliveries in attempts.items():
                declined = sum(each.phase is Phase.DECLINED for each in deliveries)
                sent = [each for each in deliveries if not each.is_copy]
                died_with_others = sum(
                    each.told_dead_at is not None and sizes[each.job_key, each.task_id] > 1 for each in sent
                )
                assert len(sent) <= 1 + declined + died_with_others, f"sent too often: {sent}"
                before = attempts.get(attempt - 1, [])
                assert (
                    attempt == 0
                    or self._is_twin(before, sent)
                    or self.cloud.faults.unsendable
                    or any(_has_failed(each, sent[0].sent_at) for each in before)
                ), f"nothing had failed before {sent[0]}"

    def _is_twin(self, before: list[Delivery], sent: list[Delivery]) -> bool:
        """Whether this attempt was sent beside one that took its time."""
        first = min((each.sent_at for each in before), default=sent[0].sent_at)
        return self.is_speculative and sent[0].sent_at - first >= 0.5

    def judge(self, future: ResponseFuture, function: Callable[[int], Any], number: int) -> None:
        """The call ended with its own value, or with an error that what happened to it explains."""
        deliveries = self.cloud.history.of(future.job_key, future.index)
        at = self._settled[future].at
        reported = [each for each in deliveries if each.reported_at is not None and each.reported_at <= at]
        error = CallCancelled("") if future.cancelled() else future.exception()
        expected, expected_error = _outcome(function, number)
        if error is None:
            assert expected_error is None
            assert future.result() == expected
            assert any(each.phase is Phase.RETURNED for each in reported), "a value from nowhere"
        elif isinstance(error, CallCancelled):
            assert self.is_cancelled, "nobody has cancelled this call"
        elif isinstance(error, CallTimeout):
            # Of two attempts at once, either may be the one that was waited for.
            last = deliveries[-1]
            waited_for = [each for each in deliveries if self.is_speculative or each is last]
            doubts = [self._doubts_about_timeout(each, deliveries, at) for each in waited_for]
            assert not all(doubts), doubts
        elif isinstance(error, WorkerLost):
            assert self._is_death_explained(str(error), deliveries, at), f"nothing explains {error}"
        elif isinstance(error, StorageUnavailable):
            assert any(each.is_refused for each in reported), "the storage refused nothing"
        elif isinstance(error, RemoteError):
            # An exception that could not be stored travels as its words.
            assert error.type_name == type(expected_error).__name__
            assert any(each.is_refused for each in reported), "the storage refused nothing"
        else:
            assert expected_error is not None
            assert type(error) is type(expected_error)
            assert error.args == expected_error.args
            assert any(each.phase is Phase.RAISED for each in reported), "an error from nowhere"

    def _doubts_about_timeout(self, last: Delivery, deliveries: list[Delivery], at: float) -> str:
        """Why silence about this attempt cannot have ended its call; empty if it can."""
        if last.deadline > at + 1e-6:
            return f"too early: {last}"
        if self._heard_before(deliveries, last, last.deadline):
            return "it had reported in time"
        told = [
            each.told_dead_at for each in deliveries if each.task_id == last.task_id and each.told_dead_at
        ]
        if any(moment + HEALTH_EVERY_S <= last.deadline for moment in told):
            return "it was known to be dead"
        return ""

    def _is_death_explained(self, message: str, deliveries: list[Delivery], at: float) -> bool:
        if "could not be sent" in message:
            return self.cloud.faults.unsendable > 0
        dead = [each for each in deliveries if each.told_dead_at is not None and each.told_dead_at <= at]
        return any(
            not self._heard_before(deliveries, each, each.told_dead_at) for each in dead if each.told_dead_at
        )

    def _heard_before(self, deliveries: list[Delivery], one: Delivery, moment: float) -> bool:
        """Whether the client must have heard of this delivery's call before `moment`."""
        polls = 10 if self.cloud.faults.refused else 1
        lag_s = 0.0 if self.connected else polls * INTERVAL_S + self.cloud.client_outages.total_s
        return any(
            each.reported_at is not None and each.reported_at + lag_s < moment
            for each in deliveries
            if each.task_id == one.task_id and each.phase is not Phase.DECLINED
        )


def _has_failed(delivery: Delivery, now: float) -> bool:
    """Whether the client could know by now that this attempt had failed."""
    told_dead_at, reported_at = delivery.told_dead_at, delivery.reported_at
    has_raised = delivery.phase is Phase.RAISED and reported_at is not None and reported_at <= now
    return has_raised or delivery.deadline <= now or (told_dead_at is not None and told_dead_at <= now)


def _outcome(function: Callable[[int], Any], number: int) -> tuple[Any, Exception | None]:
    try:
        return function(number), None
    except ValueError as error:
        return None, error


def _faults(chance: random.Random) -> Faults:
    level = chance.choice([0.0, 0.4, 1.0])

    def up_to(most: float) -> float:
        return most * level * chance.random() if chance.random() < 0.7 else 0.0

    return Faults(
        throttled=up_to(0.5),
        unsendable=up_to(0.1),
        delivered_twice=up_to(0.3),
        declined=up_to(0.3),
        told_twice=up_to(0.5),
        killed_before=up_to(0.1),
        killed_during=up_to(0.1),
        killed_after=up_to(0.2),
        vanished=up_to(0.05),
        slow=up_to(0.2),
        refused=up_to(0.1),
        gather_s=(0.0, chance.choice([0.0, 3.0])),
        latency_s=(0.001, chance.choice([0.01, 1.0, 5.0])),
    )


def _outages(chance: random.Random) -> Outages:
    starts = [chance.uniform(0, 40) for _ in range(chance.choice([0, 0, 1, 3]))]
    return Outages([(start, start + chance.uniform(0.1, 12)) for start in starts])

"""The tracker settles every call exactly once, whatever it is told, in whatever order, and however often."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lithops.job import RetryPolicy
from lithops.monitor.tracker import JobTracker, Outcome
from lithops.wire.messages import CallStatus, Failure, FailureKind, InlineBlob, Phase

LOST = Failure(FailureKind.LOST, "lost", "the worker died")
RAISED = Failure(FailureKind.RAISED, "ValueError", "no")
CallKey = tuple[str, int]


def status(index: int, phase: Phase, *, job: str = "j", task_id: int = -1, attempt: int = 0) -> CallStatus:
    failure = RAISED if phase is Phase.RAISED else LOST if phase is Phase.LOST else None
    result = InlineBlob(b"r") if phase is Phase.RETURNED else None
    return CallStatus(job, index, phase, task_id, attempt, result=result, failure=failure)


class TrackerMachine(RuleBasedStateMachine):
    """A client that does all that a monitor may do, in any order, and remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = JobTracker()
        self.now = 0.0
        self.retries: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.pending: dict[CallKey, int] = {}
        self.current: dict[CallKey, int] = {}
        self.settled: dict[CallKey, CallStatus] = {}
        self.tasks: list[tuple[str, dict[int, int]]] = []
        self.finished: set[int] = set()
        self.declined: Counter[CallKey] = Counter()
        self.twinned: set[CallKey] = set()
        self.sent: Counter[CallKey] = Counter()

    # ------------------------------------------------------------ what the client does

    @initialize(jobs=st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=3))
    def add_jobs(self, jobs: list[tuple[int, int]]) -> None:
        for number, (size, retries) in enumerate(jobs):
            job = f"j{number}"
            self.tracker.add_job(job, RetryPolicy(retries))
            self.retries[job], self.sizes[job] = retries, size
            self.pending.update({(job, index): 0 for index in range(size)})
            self.current.update({(job, index): 0 for index in range(size)})

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), allowed_s=st.floats(0.1, 100), taken=st.sampled_from([True, True, True, False]))
    def send(self, data: st.DataObject, allowed_s: float, taken: bool) -> None:
        job = data.draw(st.sampled_from(sorted({job for job, _ in self.pending})))
        ready = sorted(index for each, index in self.pending if each == job)
        indexes = data.draw(st.lists(st.sampled_from(ready), min_size=1, unique=True))
        calls = {index: self.pending.pop((job, index)) for index in indexes}
        task_id = len(self.tasks)
        self.tasks.append((job, calls))
        self.sent.update((job, index) for index in indexes)
        self.tracker.sent(
            task_id, job, calls.items(), activation_id=f"a{task_id}", deadline=self.now + allowed_s
        )
        if not taken:
            self.take(self.tracker.unsent(task_id))

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        """Statuses of any task that was ever sent: late ones, repeated ones, contradictory ones."""
        statuses = []
        for _ in range(data.draw(st.integers(1, 5))):
            task_id = data.draw(st.integers(0, len(self.tasks) - 1))
            job, calls = self.tasks[task_id]
            index = data.draw(st.sampled_from(sorted(calls)))
            phase = data.draw(st.sampled_from([each for each in Phase if each is not Phase.CANCELLED]))
            statuses.append(status(index, phase, job=job, task_id=task_id, attempt=calls[index]))
        self.take(self.tracker.hear(statuses), by=statuses)

    @rule(seconds=st.floats(0.1, 200))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds
        self.take(self.tracker.expire(self.now))
        deadline = self.tracker.next_deadline()
        assert deadline is None or deadline > self.now

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def bury(self, data: st.DataObject) -> None:
        self.take(self.tracker.bury(data.draw(st.integers(0, len(self.tasks) - 1)), LOST))

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def twin(self, data: st.DataObject) -> None:
        outcome = self.tracker.twin(data.draw(st.integers(0, len(self.tasks) - 1)))
        for again in outcome.resend:
            key = again.job_key, again.index
            assert key not in self.settled
            assert key not in self.twinned, f"{key} has a twin already"
            assert not again.failed
            self.twinned.add(key)
            self.current[key] = self.pending[key] = again.attempt
        assert outcome.settled == []

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.sizes)))
        indexes = data.draw(st.lists(st.integers(0, self.sizes[job] - 1), max_size=3))
        held = self.tracker.tasks_of(job, indexes)
        for task_id, calls in held.items():
            assert task_id not in self.finished
            assert set(calls) <= set(indexes) & self.tasks[task_id][1].keys()
        self.take(self.tracker.cancel(job, indexes))
        assert all((job, index) in self.settled for index in indexes)

    # ------------------------------------------------------------ what must hold

    def take(self, outcome: Outcome, by: Iterable[CallStatus] = ()) -> None:
        for each in outcome.settled:
            key = each.job_key, each.index
            assert key not in self.settled, f"{key} is settled twice"
            assert each.phase not in (Phase.STARTED, Phase.DECLINED)
            self.settled[key] = each
            self.pending.pop(key, None)
        for task_id in outcome.finished_tasks:
            assert task_id not in self.finished, f"task {task_id} is finished twice"
            self.finished.add(task_id)
        for again in outcome.resend:
            key = again.job_key, again.index
            assert key not in self.settled, f"{key} is to be sent again, though it is settled"
            # Of a call with a twin, the first attempt may be the one that is left.
            assert again.attempt - self.current[key] - again.failed in (
                {0, -1} if key in self.twinned else {0}
            )
            assert again.attempt <= self.retries[again.job_key] + (key in self.twinned)
            self.current[key] = max(self.current[key], again.attempt)
            self.pending[key] = again.attempt
            self.declined[key] += not again.failed
        assert len({(again.job_key, again.index, again.attempt) for again in outcome.resend}) == len(
            outcome.resend
        )
        for outrun in outcome.outrun:
            assert outrun in outcome.settled
            assert (outrun.job_key, outrun.index) in self.twinned
        for started in outcome.started:
            assert started in by
        for job, size in self.sizes.items():
            if all((job, index) in self.settled for index in range(size)):
                self.tracker.drop_job(job)

    @invariant()
    def every_resend_has_its_own_reason(self) -> None:
        for key, count in self.declined.items():
            assert count <= self.sent[key]

    @invariant()
    def what_is_in_flight_is_known(self) -> None:
        in_flight = {
            f"a{task_id}": task_id for task_id in range(len(self.tasks)) if task_id not in self.finished
        }
        assert self.tracker.activations() == in_flight
        assert (self.tracker.next_deadline() is None) == (not in_flight)

    @invariant()
    def the_first_success_counts(self) -> None:
        for (job, index), each in self.settled.items():
            assert self.tracker.is_settled(job, index)
            assert each.index == index

    def teardown(self) -> None:
        """Whatever has happened so far, everything comes to an end."""
        for _ in range(100):
            self.take(self.tracker.expire(math.inf))
            if not self.pending:
                break
            key, attempt = next(iter(self.pending.items()))
            del self.pending[key]
            task_id = len(self.tasks)
            self.tasks.append((key[0], {key[1]: attempt}))
            self.sent[key] += 1
            self.tracker.sent(
                task_id, key[0], [(key[1], attempt)], activation_id=f"a{task_id}", deadline=self.now + 1
            )
        assert self.settled.keys() == self.current.keys(), "a call was never settled"
        assert self.finished == set(range(len(self.tasks))), "a task was never finished"


TestTracker = TrackerMachine.TestCase
TestTracker.settings = settings(max_examples=200, stateful_step_count=15, deadline=None)


# ---------------------------------------------------------------- the rules, one by one


def tracker_with(retries: int = 0, calls: int = 1) -> JobTracker:
    tracker = JobTracker()
    tracker.add_job("j", RetryPolicy(retries))
    tracker.sent(0, "j", [(index, 0) for index in range(calls)], activation_id="a0", deadline=10.0)
    return tracker


def test_a_result_settles_its_call_and_ends_its_task() -> None:
    tracker = tracker_with(calls=2)
    first = tracker.hear([status(0, Phase.RETURNED, task_id=0)])
    assert [each.index for each in first.settled] == [0]
    assert first.finished_tasks == []
    second = tracker.hear([status(1, Phase.RETURNED, task_id=0)])
    assert second.finished_tasks == [0]
    assert tracker.activations() == {}


def test_a_failure_is_retried_as_often_as_allowed() -> None:
    tracker = tracker_with(retries=2)
    for attempt in range(2):
        outcome = tracker.hear([status(0, Phase.RAISED, task_id=attempt, attempt=attempt)])
        assert [(again.attempt, again.failed) for again in outcome.resend] == [(attempt + 1, True)]
        assert outcome.settled == []
        tracker.sent(attempt + 1, "j", [(0, attempt + 1)], deadline=10.0)
    last = tracker.hear([status(0, Phase.RAISED, task_id=2, attempt=2)])
    assert [each.failure for each in last.settled] == [RAISED]
    assert last.resend == []


def test_a_decline_costs_no_retry() -> None:
    tracker = tracker_with(retries=0)
    outcome = tracker.hear([status(0, Phase.DECLINED, task_id=0)])
    assert [(again.attempt, again.failed) for again in outcome.resend] == [(0, False)]
    assert outcome.finished_tasks == [0]


def test_a_decline_that_is_told_twice_is_one() -> None:
    tracker = tracker_with()
    told = status(0, Phase.DECLINED, task_id=0)
    assert len(tracker.hear([told, told]).resend) == 1
    tracker.sent(1, "j", [(0, 0)], deadline=10.0)
    assert tracker.hear([told]).resend == []


def test_a_late_success_of_an_earlier_attempt_counts() -> None:
    tracker = tracker_with(retries=1)
    assert tracker.bury(0, LOST).resend
    tracker.sent(1, "j", [(0, 1)], deadline=10.0)
    late = tracker.hear([status(0, Phase.RETURNED, task_id=0)])
    assert [each.attempt for each in late.settled] == [0]
    assert late.finished_tasks == []
    assert tracker.hear([status(0, Phase.RAISED, task_id=1, attempt=1)]).settled == []


def test_a_late_failure_of_an_earlier_attempt_does_not() -> None:
    tracker = tracker_with(retries=1)
    assert tracker.bury(0, LOST).resend
    tracker.sent(1, "j", [(0, 1)], deadline=10.0)
    late = tracker.hear([status(0, Phase.RAISED, task_id=0)])
    assert (late.settled, late.resend) == ([], [])


def test_a_failure_and_a_success_that_come_together() -> None:
    """Of two activations of one task, one failed: the call is settled, and must not be sent again."""
    tracker = tracker_with(retries=1)
    outcome = tracker.hear([status(0, Phase.RAISED, task_id=0), status(0, Phase.RETURNED, task_id=0)])
    assert [each.phase for each in outcome.settled] == [Phase.RETURNED]
    assert outcome.resend == []


# ---------------------------------------------------------------- twins of late calls


def racing_tracker(retries: int = 0) -> JobTracker:
    """A call whose attempt 0 is late in task 0, with its twin, attempt 1, in task 1."""
    tracker = tracker_with(retries)
    outcome = tracker.twin(0)
    assert [(again.attempt, again.failed) for again in outcome.resend] == [(1, False)]
    tracker.sent(1, "j", [(0, 1)], deadline=20.0)
    return tracker


@pytest.mark.parametrize(("winner", "loser"), [(0, 1), (1, 0)])
def test_the_first_of_two_to_return_counts(winner: int, loser: int) -> None:
    tracker = racing_tracker()
    outcome = tracker.hear([status(0, Phase.RETURNED, task_id=winner, attempt=winner)])
    assert [each.attempt for each in outcome.settled] == [winner]
    assert outcome.outrun == outcome.settled
    assert tracker.tasks_of("j", [0]) == {loser: [0]}
    late = tracker.hear([status(0, Phase.RETURNED, task_id=loser, attempt=loser)])
    assert (late.settled, late.finished_tasks) == ([], [loser])


@pytest.mark.parametrize(("first", "last"), [(0, 1), (1, 0)])
def test_a_failure_counts_only_when_no_other_attempt_runs(first: int, last: int) -> None:
    tracker = racing_tracker()
    failed = status(0, Phase.LOST, task_id=first, attempt=first)
    for outcome in (tracker.hear([failed]), tracker.hear([failed])):
        assert (outcome.settled, outcome.resend) == ([], [])
    (settled,) = tracker.hear([status(0, Phase.RAISED, task_id=last, attempt=last)]).settled
    assert settled.failure == RAISED


def test_a_twin_costs_no_retry() -> None:
    tracker = racing_tracker(retries=1)
    tracker.hear([status(0, Phase.RAISED, task_id=0)])
    (again,) = tracker.hear([status(0, Phase.RAISED, task_id=1, attempt=1)]).resend
    assert (again.attempt, again.failed) == (2, True)
    tracker.sent(2, "j", [(0, 2)], deadline=30.0)
    assert len(tracker.hear([status(0, Phase.RAISED, task_id=2, attempt=2)]).settled) == 1


def test_a_twin_that_is_declined_is_sent_again() -> None:
    tracker = racing_tracker()
    (again,) = tracker.hear([status(0, Phase.DECLINED, task_id=1, attempt=1)]).resend
    assert (again.attempt, again.failed) == (1, False)
    tracker.sent(2, "j", [(0, 1)], deadline=30.0)
    assert tracker.hear([status(0, Phase.LOST, task_id=0)]).settled == []
    assert len(tracker.hear([status(0, Phase.RETURNED, task_id=2, attempt=1)]).settled) == 1


def test_the_last_one_in_the_race_that_is_declined_is_sent_again() -> None:
    tracker = racing_tracker()
    assert tracker.hear([status(0, Phase.LOST, task_id=1, attempt=1)]).settled == []
    (again,) = tracker.hear([status(0, Phase.DECLINED, task_id=0)]).resend
    assert (again.attempt, again.failed) == (0, False)
    tracker.sent(2, "j", [(0, 0)], deadline=30.0)
    assert len(tracker.hear([status(0, Phase.LOST, task_id=2)]).settled) == 1


def test_no_call_has_two_twins() -> None:
    tracker = racing_tracker()
    assert tracker.twin(0).resend == tracker.twin(1).resend == []


# ---------------------------------------------------------------- calls that end by themselves


def test_silence_is_a_failure_at_the_deadline() -> None:
    tracker = tracker_with()
    assert tracker.next_deadline() == 10.0
    assert tracker.expire(9.99).settled == []
    (lost,) = tracker.expire(10.0).settled
    assert lost.failure is not None
    assert lost.failure.kind is FailureKind.TIMEOUT
    assert tracker.next_deadline() is None


def test_a_dead_activation_costs_the_call_that_it_was_for() -> None:
    tracker = tracker_with(calls=3)
    tracker.hear([status(1, Phase.RETURNED, task_id=0), status(2, Phase.RETURNED, task_id=0)])
    outcome = tracker.bury(0, LOST)
    assert [each.index for each in outcome.settled] == [0]
    assert outcome.finished_tasks == [0]


def test_calls_that_shared_a_dead_activation_are_sent_again_each_alone() -> None:
    tracker = tracker_with(calls=3)
    tracker.hear([status(1, Phase.RETURNED, task_id=0)])
    outcome = tracker.bury(0, LOST)
    assert outcome.settled == []
    assert [(each.index, each.attempt, each.alone) for each in outcome.resend] == [(0, 0, True), (2, 0, True)]
    assert outcome.finished_tasks == [0]


def test_a_task_that_nobody_takes_costs_all_its_calls() -> None:
    outcome = tracker_with(calls=3).fail(0, LOST)
    assert [each.index for each in outcome.settled] == [0, 1, 2]
    assert outcome.resend == []


def test_cancelled_calls_keep_the_slot_of_their_task() -> None:
    tracker = tracker_with(retries=5)
    assert [each.phase for each in tracker.cancel("j", [0]).settled] == [Phase.CANCELLED]
    assert tracker.activations() == {"a0": 0}
    late = tracker.hear([status(0, Phase.RAISED, task_id=0)])
    assert (late.settled, late.resend, late.finished_tasks) == ([], [], [0])


def test_what_retry_on_raises_is_told_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def applies(_: CallStatus) -> bool:
        raise RuntimeError("a user's mistake")

    tracker = JobTracker()
    tracker.add_job("j", RetryPolicy(3, applies))
    tracker.sent(0, "j", [(0, 0)], deadline=10.0)
    outcome = tracker.hear([status(0, Phase.RAISED, task_id=0)])
    assert [each.failure for each in outcome.settled] == [RAISED]
    assert "a user's mistake" in caplog.text
    assert "retry_on" in caplog.text


def test_strangers_are_ignored() -> None:
    tracker = tracker_with()
    outcome = tracker.hear([status(0, Phase.RETURNED, job="other"), status(7, Phase.STARTED, job="other")])
    assert outcome == Outcome()

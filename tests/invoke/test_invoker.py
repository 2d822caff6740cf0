"""What is sent, when, and how much at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lithops.compute.base import ComputeError, Limits, RuntimeInfo, Throttled
from lithops.invoke.invoker import Invoker, Sending
from lithops.wire.messages import Call, InlineBlob, JobSpec, StorageRef, StoredBlob, Task

RUNTIME = RuntimeInfo("r", 0, "3.11")


class Recorder:
    """A compute backend that takes what it is sent, unless it is told to answer otherwise."""

    name = "recorder"

    def __init__(
        self, max_activations: int = 100, payload_bytes: int = 1 << 20, calls_at_once: int = 1
    ) -> None:
        self.limits = Limits(max_activations, 1 << 10, payload_bytes, 1.0, calls_at_once=calls_at_once)
        self.tasks: list[Task] = []
        self.answers: list[Exception | None] = []

    def deploy(self, runtime: str, memory_mb: int, timeout_s: float) -> RuntimeInfo:
        return RUNTIME

    def describe(self) -> Mapping[str, Any]:
        return {}

    def runtimes(self) -> Sequence[RuntimeInfo]:
        return [RUNTIME]

    def remove(self, runtime: str) -> None:
        raise ComputeError(runtime)

    def invoke(self, task: Task, runtime: RuntimeInfo) -> str:
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        self.tasks.append(task)
        return f"a{task.task_id}"

    def close(self) -> None:
        pass


def spec(name: str = "j") -> JobSpec:
    return JobSpec(name, InlineBlob(b""), "", StorageRef("s", "b"), 1.0, 0)


def calls(count: int, size_bytes: int = 0) -> list[Call]:
    return [Call(index, (InlineBlob(bytes(size_bytes)),)) for index in range(count)]


def add(
    invoker: Invoker, count: int = 0, *, name: str = "j", per_task: int | None = None,
    most: int | None = None, backoff_s: float = 0.0, size_bytes: int = 0,
) -> None:  # fmt: skip
    invoker.add_job(spec(name), RUNTIME, calls_per_task=per_task, max_concurrency=most, backoff_s=backoff_s)
    invoker.push(name, calls(count, size_bytes))


def sizes(sent: Sequence[Sending]) -> list[int]:
    return [len(sending.task.calls) for sending in sent]


def indexes(sent: Sequence[Sending]) -> list[int]:
    return [call.index for sending in sent for call in sending.task.calls]


def pump(invoker: Invoker, now: float) -> list[Sending]:
    sent: list[Sending] = []
    invoker.pump(now, sent.append, lambda sending: invoker.heard(sending, now))
    return sent


def settle(invoker: Invoker, sending: Sending) -> None:
    task = sending.task
    for call in task.calls:
        invoker.settled(task.job.job_key, call.index, task.task_id, 0.0)
    invoker.finished(task.task_id)


def test_calls_go_in_order_as_slots_allow() -> None:
    invoker = Invoker(Recorder(max_activations=3))
    add(invoker, 5)
    first = pump(invoker, 0.0)
    assert indexes(first) == [0, 1, 2]
    assert pump(invoker, 0.0) == []
    settle(invoker, first[1])
    assert indexes(pump(invoker, 0.0)) == [3]
    assert len({sending.task.task_id for sending in first}) == 3


def test_jobs_take_turns_in_the_order_in_which_they_came() -> None:
    invoker = Invoker(Recorder())
    add(invoker, 2, name="first")
    add(invoker, 2, name="second")
    assert [sending.task.job.job_key for sending in pump(invoker, 0.0)] == [
        "first",
        "first",
        "second",
        "second",
    ]


def test_a_job_that_may_not_go_on_holds_up_no_other() -> None:
    invoker = Invoker(Recorder())
    add(invoker, 5, name="narrow", most=1)
    add(invoker, 2, name="wide")
    assert [sending.task.job.job_key for sending in pump(invoker, 0.0)] == ["narrow", "wide", "wide"]


def test_the_bound_of_an_executor_is_one_of_all_its_jobs() -> None:
    invoker = Invoker(Recorder(), max_concurrency=2)
    for name in "abcd":
        add(invoker, 1, name=name)
    flying = pump(invoker, 0.0)
    assert [sending.task.job.job_key for sending in flying] == ["a", "b"]
    assert pump(invoker, 0.0) == []
    invoker.drop_job("b")
    assert pump(invoker, 0.0) == [], "what runs of a job that is over counts as before"
    settle(invoker, flying[1])
    assert [sending.task.job.job_key for sending in pump(invoker, 0.0)] == ["c"]


def test_a_task_counts_as_the_calls_that_run_of_it_at_once() -> None:
    one_after_the_other = Invoker(Recorder(), max_concurrency=2)
    add(one_after_the_other, 20, per_task=4)
    assert sizes(pump(one_after_the_other, 0.0)) == [4, 4]
    side_by_side = Invoker(Recorder(calls_at_once=3), max_concurrency=5)
    add(side_by_side, 20, per_task=4)
    assert sizes(pump(side_by_side, 0.0)) == [4, 2]


def test_what_a_backend_refuses_does_not_run() -> None:
    compute = Recorder()
    compute.answers = [Throttled("enough")]
    invoker = Invoker(compute, max_concurrency=1)
    add(invoker, 2)
    (refused,) = pump(invoker, 0.0)
    assert refused.throttled
    invoker.finished(refused.task.task_id)
    invoker.resend("j", 0, 0, failed=False, now=0.0)
    due = invoker.next_due(0.0)
    assert due is not None
    assert indexes(pump(invoker, due)) == [0]


def test_a_second_runner_counts_too() -> None:
    invoker = Invoker(Recorder(), max_concurrency=2)
    add(invoker, 2)
    late, other = pump(invoker, 0.0)
    invoker.resend("j", 0, 1, failed=False, now=0.0)
    assert pump(invoker, 0.0) == []
    settle(invoker, other)
    (twin,) = pump(invoker, 0.0)
    assert [(call.index, call.attempt) for call in twin.task.calls] == [(0, 1)]
    settle(invoker, twin)
    add(invoker, 2, name="next")
    assert len(pump(invoker, 0.0)) == 1, "the late one may still run"
    invoker.finished(late.task.task_id)
    assert len(pump(invoker, 0.0)) == 1


def test_how_many_workers_there_are() -> None:
    assert Invoker(Recorder(max_activations=7)).workers == 7
    assert Invoker(Recorder(max_activations=7), max_concurrency=3).workers == 3
    assert Invoker(Recorder(max_activations=7), max_concurrency=30).workers == 7


@given(
    jobs=st.lists(
        st.tuples(st.integers(0, 15), st.integers(1, 7), st.none() | st.integers(1, 9)), max_size=4
    ),
    most_of_all=st.none() | st.integers(1, 9),
    activations=st.integers(1, 5),
    calls_at_once=st.integers(1, 4),
    order=st.randoms(use_true_random=False),
)
def test_every_call_goes_once_and_no_bound_is_broken(
    jobs: list[tuple[int, int, int | None]], most_of_all: int | None, activations: int, calls_at_once: int,
    order: Any,
) -> None:  # fmt: skip
    compute = Recorder(max_activations=activations, calls_at_once=calls_at_once)
    invoker = Invoker(compute, max_concurrency=most_of_all)
    for number, (count, per_task, most) in enumerate(jobs):
        add(invoker, count, name=str(number), per_task=per_task, most=most)
    flying: list[Sending] = []
    gone: list[list[int]] = [[] for _ in jobs]

    def room(most: int | None, *names: str) -> float:
        running = sizes([sending for sending in flying if sending.task.job.job_key in names])
        return (most or 1 << 30) - sum(min(size, calls_at_once) for size in running)

    while True:
        sent = pump(invoker, 0.0)
        flying += sent
        room_of_all = room(most_of_all, *map(str, range(len(jobs))))
        assert len(flying) <= activations
        assert room_of_all >= 0
        for number, (count, per_task, most) in enumerate(jobs):
            mine = [sending for sending in sent if sending.task.job.job_key == str(number)]
            gone[number] += indexes(mine)
            assert all(1 <= size <= per_task for size in sizes(mine))
            assert room(most, str(number)) >= 0
            if len(gone[number]) < count:
                is_full = len(flying) == activations or not room_of_all or not room(most, str(number))
                assert is_full, "there is room, and nothing goes"
        if not flying:
            break
        settle(invoker, flying.pop(order.randrange(len(flying))))
    assert gone == [list(range(count)) for count, _, _ in jobs]


def test_a_task_holds_no_more_than_its_payload() -> None:
    invoker = Invoker(Recorder(payload_bytes=250))
    add(invoker, 5, per_task=10, size_bytes=100)
    assert sizes(pump(invoker, 0.0)) == [2, 2, 1]


def test_a_call_that_is_too_large_goes_alone() -> None:
    invoker = Invoker(Recorder(payload_bytes=50))
    add(invoker, 3, per_task=10, size_bytes=100)
    assert sizes(pump(invoker, 0.0)) == [1, 1, 1]


def test_what_is_stored_takes_no_payload() -> None:
    invoker = Invoker(Recorder(payload_bytes=50))
    add(invoker, per_task=10)
    invoker.push("j", [Call(index, (StoredBlob("k" * 100),)) for index in range(10)])
    assert sizes(pump(invoker, 0.0)) == [10]


def test_a_throttled_backend_is_left_alone_for_a_while() -> None:
    compute = Recorder()
    compute.answers = [None, Throttled("enough")]
    invoker = Invoker(compute)
    add(invoker, 5)
    sent = pump(invoker, 10.0)
    assert [sending.throttled for sending in sent] == [False, True]
    refused = sent[1].task
    invoker.finished(refused.task_id)
    invoker.resend("j", refused.calls[0].index, 0, failed=False, now=10.0)
    assert pump(invoker, 10.0) == []
    due = invoker.next_due(10.0)
    assert due is not None
    assert 10.0 < due <= 10.1
    assert indexes(pump(invoker, due)) == [1, 2, 3, 4]
    assert invoker.next_due(due) is None


def test_an_error_of_the_backend_is_told() -> None:
    compute = Recorder()
    compute.answers = [ComputeError("no such runtime")]
    invoker = Invoker(compute)
    add(invoker, 1)
    (sending,) = pump(invoker, 0.0)
    assert (sending.error, sending.throttled) == ("no such runtime", False)


def test_a_call_that_failed_comes_back_later() -> None:
    invoker = Invoker(Recorder())
    add(invoker, 2, backoff_s=4.0)
    for sending in pump(invoker, 0.0):
        invoker.finished(sending.task.task_id)
    invoker.resend("j", 1, 1, failed=True, now=100.0)
    assert pump(invoker, 100.0) == []
    due = invoker.next_due(100.0)
    assert due is not None
    assert 102.0 <= due <= 106.0
    assert pump(invoker, due - 0.001) == []
    (sending,) = pump(invoker, due)
    assert [(call.index, call.attempt) for call in sending.task.calls] == [(1, 1)]


def test_a_call_that_was_declined_goes_first() -> None:
    invoker = Invoker(Recorder(max_activations=1))
    add(invoker, 3)
    (sending,) = pump(invoker, 0.0)
    invoker.finished(sending.task.task_id)
    invoker.resend("j", 0, 0, failed=False, now=0.0)
    assert indexes(pump(invoker, 0.0)) == [0]


def test_what_is_settled_is_not_sent_any_more() -> None:
    invoker = Invoker(Recorder(max_activations=1))
    add(invoker, 4)
    (sending,) = pump(invoker, 0.0)
    invoker.settled("j", 1, -1, 0.0)
    invoker.settled("j", 2, -1, 0.0)
    settle(invoker, sending)
    assert indexes(pump(invoker, 0.0)) == [3]


def test_a_call_is_pending_once_however_often_it_is_asked_for() -> None:
    invoker = Invoker(Recorder(max_activations=1))
    add(invoker, 2, backoff_s=1.0)
    (sending,) = pump(invoker, 0.0)
    invoker.finished(sending.task.task_id)
    invoker.resend("j", 0, 0, failed=False, now=0.0)
    invoker.resend("j", 0, 1, failed=True, now=0.0)
    sent = pump(invoker, 0.0)
    assert indexes(sent) == [1]
    settle(invoker, sent[0])
    again = pump(invoker, 10.0)
    assert [(call.index, call.attempt) for call in again[0].task.calls] == [(0, 1)]
    settle(invoker, again[0])
    assert pump(invoker, 10.0) == []


def test_a_job_that_is_over_leaves_nothing() -> None:
    invoker = Invoker(Recorder(max_activations=1))
    add(invoker, 3, backoff_s=1.0)
    (sending,) = pump(invoker, 0.0)
    invoker.resend("j", 0, 1, failed=True, now=0.0)
    invoker.drop_job("j")
    assert pump(invoker, 100.0) == []
    invoker.settled("j", 0, sending.task.task_id, 0.0)
    invoker.finished(sending.task.task_id)
    add(invoker, 1, name="next")
    assert indexes(pump(invoker, 100.0)) == [0]

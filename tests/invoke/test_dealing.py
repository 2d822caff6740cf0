"""Tasks of a fixed size, where workers give back what they do not get to: calls start in their order."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import integers

from lithops.invoke.batches import AdaptiveBatches, FixedBatches


@given(integers(1, 60), integers(1, 20))
def test_calls_are_dealt_to_tasks_in_turn(count: int, size: int) -> None:
    batches = FixedBatches(size, dealt=True)
    pending = list(range(count))
    firsts = []
    while pending:
        task = pending[:: batches.stride(len(pending))][:size]
        assert len(task) <= size
        assert task == sorted(task)
        firsts.append(task[0])
        pending = [call for call in pending if call not in task]
    assert firsts == list(range(-(-count // size)))


def test_only_the_last_calls_are_dealt() -> None:
    assert FixedBatches(4, dealt=True).stride(8) == 2
    assert FixedBatches(4, dealt=True).stride(100_000) == 1
    assert FixedBatches(4).stride(8) == 1
    assert AdaptiveBatches().stride(8) == 1

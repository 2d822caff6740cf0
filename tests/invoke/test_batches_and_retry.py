"""How large tasks are, and how long the client waits before it tries again: always within bounds."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lithops.invoke.batches import AdaptiveBatches, FixedBatches
from lithops.invoke.retry import Throttle, backoff_s

_LARGEST = 2000
"""The most calls that a task may have."""
_LONGEST_S = 5.0
"""The longest that a throttled client waits."""

seeds = st.integers(0, 1 << 30).map(random.Random)
seconds = st.floats(-1.0, 1e6) | st.sampled_from([0.0, -1e-5, -0.0, 1e-9])
observations = st.lists(st.tuples(st.integers(0, 3000), seconds), max_size=30)


class TestAdaptiveBatches:
    @given(observations, st.integers(0, 1_000_000), st.integers(1, 1000))
    @example([(1, -1e-5)], 10, 1)
    def test_sizes_stay_within_bounds(
        self, observed: list[tuple[int, float]], pending: int, workers: int
    ) -> None:
        batches = AdaptiveBatches()
        for calls, busy_s in observed:
            batches.observe(calls, busy_s)
            size = batches.size(pending, workers)
            assert 1 <= size <= _LARGEST
            assert size == 1 or size * 2 * workers <= pending + 2 * workers

    def test_the_first_task_is_one_call(self) -> None:
        assert AdaptiveBatches().size(1_000_000, 1) == 1

    def test_short_calls_are_gathered(self) -> None:
        batches = AdaptiveBatches()
        sizes = []
        for _ in range(6):
            sizes.append(batches.size(1_000_000, 2))
            batches.observe(sizes[-1], sizes[-1] * 1e-6)
        assert sizes == sorted(sizes)
        assert sizes[-1] > 1000

    def test_long_calls_are_not(self) -> None:
        batches = AdaptiveBatches()
        for _ in range(6):
            batches.observe(100, 1.0)
            assert batches.size(1_000_000, 2) <= 2
        batches.observe(1, 1.0)
        assert batches.size(1_000_000, 2) == 1

    def test_calls_that_become_long_shrink_the_tasks(self) -> None:
        batches = AdaptiveBatches()
        for _ in range(10):
            batches.observe(1000, 0.001)
        assert batches.size(1_000_000, 1) > 100
        for _ in range(3):
            batches.observe(10, 10.0)
        assert batches.size(1_000_000, 1) == 1

    @given(st.integers(1, 100_000), st.integers(1, 64))
    def test_towards_the_end_every_worker_gets_some(self, pending: int, workers: int) -> None:
        batches = AdaptiveBatches()
        for _ in range(10):
            batches.observe(1000, 0.0)
        sent = 0
        while sent < pending:
            size = batches.size(pending - sent, workers)
            assert size <= math.ceil((pending - sent) / (2 * workers))
            sent += size
        assert sent == pending


@given(st.integers(1, 10_000), observations, st.integers(0, 1000))
def test_fixed_batches_stay_as_they_are(size: int, observed: list[tuple[int, float]], pending: int) -> None:
    batches = FixedBatches(size)
    for calls, busy_s in observed:
        batches.observe(calls, busy_s)
    assert batches.size(pending, 4) == min(size, _LARGEST)


class TestBackoff:
    @given(st.integers(1, 100_000), st.floats(0.0, 1e4), seeds)
    def test_it_is_finite_and_within_half_and_one_and_a_half(
        self, attempt: int, first_s: float, randomness: random.Random
    ) -> None:
        wait_s = backoff_s(attempt, first_s, randomness)
        doubled = first_s * 2.0 ** min(attempt - 1, 30)
        assert math.isfinite(wait_s)
        assert 0.5 * doubled <= wait_s <= 1.5 * doubled

    @given(st.integers(1, 25), st.floats(0.001, 100.0), seeds)
    def test_it_grows_on_average(self, attempt: int, first_s: float, randomness: random.Random) -> None:
        means = [sum(backoff_s(n, first_s, randomness) for _ in range(50)) for n in (attempt, attempt + 2)]
        assert means[0] < means[1]

    def test_calls_do_not_come_back_in_step(self) -> None:
        randomness = random.Random(1)
        assert len({backoff_s(1, 1.0, randomness) for _ in range(100)}) == 100


class TestThrottle:
    @given(st.lists(st.booleans(), max_size=200), seeds)
    def test_waits_are_bounded_and_start_again(self, answers: list[bool], randomness: random.Random) -> None:
        throttle = Throttle(randomness)
        now, refusals = 0.0, 0
        for number, is_refused in enumerate(answers):
            now = max(now, throttle.until)
            assert throttle.admits(now)
            throttle.sent(number, now)
            if is_refused:
                throttle.refused(number, now)
                refusals += 1
                lowest = min(0.05 * 2.0 ** (refusals - 1) * 0.5, _LONGEST_S)
                assert lowest <= throttle.until - now + 1e-9
                assert throttle.until - now <= min(3 * lowest, _LONGEST_S) + 1e-9
            else:
                throttle.accepted(number)
                refusals = 0
                assert throttle.until <= now

    @pytest.mark.parametrize("refusals", [100, 2_000, 20_000])
    def test_a_backend_that_refuses_for_hours(self, refusals: int) -> None:
        throttle = Throttle(random.Random(0))
        for number in range(refusals):
            throttle.sent(number, float(number))
            throttle.refused(number, float(number))
        assert throttle.until <= refusals + _LONGEST_S

    @given(st.lists(st.sampled_from(["send", "accept", "refuse", "wait"]), max_size=300), seeds)
    def test_no_more_requests_at_once_than_the_window(
        self, steps: list[str], randomness: random.Random
    ) -> None:
        most, now, number = 8, 0.0, 0
        throttle = Throttle(randomness, most)
        under_way: dict[int, float] = {}
        for step in steps:
            if step == "send" and throttle.admits(now):
                throttle.sent(number, now)
                under_way[number] = now
                number += 1
            elif step == "accept" and under_way:
                task_id = next(iter(under_way))
                del under_way[task_id]
                throttle.accepted(task_id)
            elif step == "refuse" and under_way:
                task_id = next(iter(under_way))
                del under_way[task_id]
                throttle.refused(task_id, now)
            elif step == "wait":
                due = throttle.next_due(now)
                assert due is None or due >= now
                now = now + 0.01 if due is None else due
                assert throttle.admits(now)
            recent = sum(now - sent_at < 1.0 for sent_at in under_way.values())
            assert recent <= most

    def test_refusals_of_one_burst_count_once(self) -> None:
        throttle = Throttle(random.Random(0), 64)
        for number in range(64):
            throttle.sent(number, 0.0)
        assert not throttle.admits(0.0)
        for number in range(64):
            throttle.refused(number, 0.1)
        assert throttle.until <= 0.1 + 0.05 * 1.5

    @given(st.floats(0.0, 1e6))
    def test_when_it_is_due_there_is_room(self, now: float) -> None:
        throttle = Throttle(random.Random(0), 1)
        throttle.sent(0, now)
        due = throttle.next_due(now)
        assert due is not None
        assert throttle.admits(due)

    def test_a_request_that_could_not_be_made_leaves_its_place(self) -> None:
        throttle = Throttle(random.Random(0), 1)
        throttle.sent(0, 0.0)
        throttle.failed(0)
        assert throttle.admits(0.0)

    def test_requests_that_are_held_open_leave_room_for_others(self) -> None:
        """An activation that answers after an hour has long been accepted."""
        throttle = Throttle(random.Random(0), 4)
        for number in range(4):
            throttle.sent(number, 0.0)
        assert not throttle.admits(0.5)
        assert throttle.next_due(0.5) == 1.0
        assert throttle.admits(1.0)

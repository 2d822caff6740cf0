"""Kinds of journeys through simulated clouds: what is called, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable

from journey import INTERVAL_S, Journey

import lithops
from lithops.exceptions import CallError, RemoteError, StorageUnavailable
from lithops.testing.simulation import SimulatedCloud

RETRIES = 60
"""So many that no call is ever given up for what its cloud did."""


# ---------------------------------------------------------------- what runs in the cloud


def triple(number: int) -> int:
    return 3 * number + 1


def bulky(number: int) -> bytes:
    """A result that does not fit into a message."""
    return bytes([number]) * 5_000


def joined(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def picky(number: int) -> int:
    if number % 5 == 2:
        raise ValueError(number, "x" * 500)
    return -number


# ---------------------------------------------------------------- kinds of journeys


def map_with_retries(journey: Journey) -> None:
    function = journey.random.choice([triple, bulky])
    numbers = range(journey.count)
    futures = journey.executor.map(
        function, numbers, retries=RETRIES, max_concurrency=journey.max_concurrency, **journey.options
    )
    journey.watch(futures)
    journey.executor.wait(show_progressbar=False)
    journey.finish()
    assert journey.executor.get_result() == [function(number) for number in numbers]
    if journey.max_concurrency is not None:
        assert journey.cloud.history.peak_calls[futures[0].job_key] <= journey.max_concurrency


def map_without_retries(journey: Journey) -> None:
    function = journey.random.choice([triple, bulky, picky])
    retries = journey.random.choice([0, 0, 1, 2])
    futures = journey.executor.map(function, range(journey.count), retries=retries, **journey.options)
    journey.watch(futures)
    journey.executor.wait(throw_except=False, show_progressbar=False)
    journey.finish()
    for number, future in enumerate(futures):
        journey.judge(future, function, number)
        attempts = [each.attempt for each in journey.cloud.history.of(future.job_key, future.index)]
        assert max(attempts, default=0) <= retries


def errors_that_are_not_retried(journey: Journey) -> None:
    futures = journey.executor.map(
        picky,
        range(journey.count),
        retries=RETRIES,
        retry_on=(CallError, StorageUnavailable),
        **journey.options,
    )
    journey.watch(futures)
    journey.executor.wait(throw_except=False, show_progressbar=False)
    journey.finish()
    for number, future in enumerate(futures):
        journey.judge(future, picky, number)
        assert future.success or isinstance(future.exception(), ValueError | RemoteError)


def map_reduce(journey: Journey) -> None:
    numbers = range(journey.count)
    futures = journey.executor.map_reduce(triple, numbers, joined, retries=RETRIES, **journey.options)
    journey.watch(futures)
    journey.executor.wait(show_progressbar=False)
    journey.finish()
    assert journey.executor.get_result() == joined([triple(number) for number in numbers])


def chain(journey: Journey) -> None:
    numbers = range(journey.count)
    first = journey.executor.map(triple, numbers, retries=RETRIES, **journey.options)
    second = first.map(triple, retries=RETRIES)
    third = second.map(bulky if journey.count < 10 else triple, retries=RETRIES, **journey.options)
    for futures in (first, second, third):
        journey.watch(futures)
    journey.executor.wait(third, show_progressbar=False)
    journey.finish()
    last = bulky if journey.count < 10 else triple
    assert third.get_result() == [last(triple(triple(number))) for number in numbers]


def chain_without_retries(journey: Journey) -> None:
    first = journey.executor.map(picky, range(journey.count), **journey.options)
    second = journey.executor.map(triple, first, retries=RETRIES)
    journey.watch(first)
    journey.watch(second)
    journey.executor.wait(throw_except=False, show_progressbar=False)
    journey.finish()
    for number, (before, after) in enumerate(zip(first, second, strict=True)):
        journey.judge(before, picky, number)
        assert after.success == before.success
        if after.success:
            assert after.result() == triple(picky(number))
        else:
            assert type(after.exception()) is type(before.exception())


def chain_across_executors(journey: Journey) -> None:
    other = journey.new_executor()
    numbers = range(journey.count)
    first = journey.executor.map(bulky, numbers, retries=RETRIES, **journey.options)
    second = other.map(len, first, retries=RETRIES)
    journey.watch(first)
    journey.watch(second)
    lithops.wait(second, throw_except=False, show_progressbar=False)
    journey.finish()
    outages = journey.cloud.client_outages.spans
    for future in second:
        # What the client hands over from one executor to the other it has to read.
        assert future.success or (isinstance(future.exception(), StorageUnavailable) and outages)
        assert not future.success or future.result() == len(bulky(future.index))


def cancel_midway(journey: Journey) -> None:
    executor, chance = journey.executor, journey.random
    retries = chance.choice([0, RETRIES])
    futures = executor.map(triple, range(journey.count), retries=retries, **journey.options)
    journey.watch(futures)
    executor.wait(throw_except=False, return_when=chance.randint(0, 99), show_progressbar=False)
    journey.cloud.clock.sleep(chance.choice([0.001, 0.5, 3.0]))
    journey.is_cancelled = True
    before = journey.cloud.clock.now()
    if chance.random() < 0.5:
        executor.cancel()
        assert all(future.done for future in futures)
    else:
        for future in futures[::2]:
            future.cancel()
            assert future.done
    assert journey.cloud.clock.now() - before < INTERVAL_S / 1000, "cancelling waits for nothing"
    executor.wait(throw_except=False, show_progressbar=False)
    journey.finish()
    for number, future in enumerate(futures):
        journey.judge(future, triple, number)


def late_calls_twice(journey: Journey) -> None:
    journey.is_speculative = True
    retries = journey.random.choice([0, RETRIES])
    futures = journey.executor.map(
        picky, range(journey.count), retries=retries, speculative=True, retry_on=(CallError, StorageUnavailable),
        **journey.options,
    )  # fmt: skip
    journey.watch(futures)
    journey.executor.wait(throw_except=False, show_progressbar=False)
    journey.finish()
    for number, future in enumerate(futures):
        journey.judge(future, picky, number)
        attempts = [each.attempt for each in journey.cloud.history.of(future.job_key, future.index)]
        assert max(attempts, default=0) <= retries + 1


def many_jobs(journey: Journey) -> None:
    executor, count = journey.executor, max(1, journey.count // 3)
    calls = [executor.call_async(triple, number, retries=RETRIES) for number in range(count)]
    mapped = executor.map(bulky, range(count), retries=RETRIES, **journey.options)
    journey.watch([*calls, *mapped])
    assert sorted(future.result() for future in executor.as_completed(calls)) == list(
        map(triple, range(count))
    )
    late = executor.map(triple, range(count), retries=RETRIES, max_concurrency=2)
    journey.watch(late)
    executor.wait(show_progressbar=False)
    journey.finish()
    assert [call.result() for call in calls] == [triple(number) for number in range(count)]
    assert mapped.get_result() == [bulky(number) for number in range(count)]
    assert late.get_result() == [triple(number) for number in range(count)]
    assert journey.cloud.history.peak_calls[late[0].job_key] <= 2


KINDS: tuple[Callable[[Journey], None], ...] = (
    map_with_retries,
    map_without_retries,
    errors_that_are_not_retried,
    map_reduce,
    chain,
    chain_without_retries,
    chain_across_executors,
    cancel_midway,
    late_calls_twice,
    many_jobs,
)


def travel(seed: int) -> SimulatedCloud:
    """Make the journey of this seed; one that fails tells its seed, its kind and everything that happened."""
    journey = Journey(seed)
    kind = KINDS[seed % len(KINDS)]
    try:
        kind(journey)
        journey.close()
    except Exception as error:
        story = f"seed {seed}, {kind.__name__}, {journey.cloud.faults}:\n{journey.cloud.history}"
        raise AssertionError(f"{type(error).__name__}: {error}\n{story}") from error
    return journey.cloud

"""What jobs cost, by hand and by the ledger: exact sums of real runs, and estimates that the real run stays within."""

from __future__ import annotations

import itertools
import math
import os
import re
import time
from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest
from faulty_proxy import FaultyProxy
from hypothesis import given
from hypothesis import strategies as st
from seaweedfs_server import SeaweedFS

import lithops
from lithops import FunctionExecutor
from lithops.clock import SystemClock
from lithops.compute.base import Prices, RuntimeInfo, Throttled
from lithops.config.loader import resolve
from lithops.config.passing import runtime_environment
from lithops.cost import Cost, PriceList
from lithops.estimate import spread
from lithops.exceptions import CallError, InvalidCall
from lithops.future import ResponseFuture
from lithops.ledger import billed_s
from lithops.storage import registry
from lithops.storage.prices import REQUEST_PRICES
from lithops.testing.functions import LocalFunctions
from lithops.wire.messages import Task

PRICES = Prices(
    activation=0.002, second=0.5, as_of="2026-11-22", source="https://example.com/prices", unit_s=0.02
)
# Of AWS: a function of 2 GB.
LIKE_LAMBDA = Prices(0.20e-6, 2 * 0.0000166667, "2024-12-01", "https://aws.amazon.com/lambda/pricing/")
LARGE = 300_000
PAGE = Path(__file__).parents[1] / "docs" / "cost.md"


class PricedFunctions(LocalFunctions):
    """Implements `SupportsPricing`, and refuses as often as it is told to."""

    known_prices = PRICES
    refusals = 0

    def deploy(self, runtime: str, memory_mb: int, timeout_s: float) -> RuntimeInfo:
        return replace(super().deploy(runtime, memory_mb, timeout_s), memory_mb=2048)

    def prices(self, runtime: RuntimeInfo) -> Prices:
        assert runtime.memory_mb == 2048
        return self.known_prices

    def invoke(self, task: Task, runtime: RuntimeInfo) -> str:
        if self.refusals:
            self.refusals -= 1
            raise Throttled("too many requests")
        return super().invoke(task, runtime)


def executor_over(
    compute: LocalFunctions, folder: Path, storage: str = "localhost", **section: Any
) -> FunctionExecutor:
    config = {"lithops": {"storage": storage}, "localhost": {"root": str(folder)}}
    settings = resolve({**config, **({storage: section} if section else {})}, log_level=None)
    store = registry.create(storage, settings.storage)
    return FunctionExecutor.over(compute, store, settings, clock=SystemClock(), threaded=True)


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionExecutor]:
    with executor_over(PricedFunctions(), tmp_path_factory.mktemp("priced")) as executor:
        yield executor


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def times_of(futures: list[ResponseFuture]) -> list[float]:
    return [future.stats["worker_exec_time"] for future in futures]


def rounded(seconds: float) -> float:
    return math.ceil(seconds / PRICES.unit_s) * PRICES.unit_s


# ---------------------------------------------------------------- what it has cost


def test_each_activation_is_rounded_up_and_billed(priced: FunctionExecutor) -> None:
    futures = priced.map(nap, [0.0, 0.01, 0.05])
    priced.get_result(futures)
    cost = priced.cost(futures)
    seconds = sum(map(rounded, times_of(futures)))
    assert cost.seconds == pytest.approx(seconds)
    assert cost.gb_seconds == pytest.approx(2 * seconds)
    assert cost.compute == pytest.approx(0.5 * seconds)
    assert cost.activations_n == 3
    assert cost.activations == pytest.approx(0.006)
    assert cost.storage == 0
    assert cost.total == pytest.approx(cost.compute + cost.activations)
    assert cost.price_lists == (PriceList("functions", "2026-11-22", "https://example.com/prices"),)


def test_calls_that_share_an_activation_are_billed_as_one(priced: FunctionExecutor) -> None:
    futures = priced.map(nap, [0.001] * 6, chunksize=3)
    priced.get_result(futures)
    tasks: dict[int, list[ResponseFuture]] = {}
    for future in futures:
        status = future.settled_status()
        assert status is not None
        tasks.setdefault(status.task_id, []).append(future)
    spans = [
        max(each.stats["worker_end_tstamp"] for each in some)
        - min(each.stats["worker_start_tstamp"] for each in some)
        for some in tasks.values()
    ]
    cost = priced.cost(futures)
    assert cost.activations_n == len(spans) == 2
    assert cost.seconds == pytest.approx(sum(map(rounded, spans)))


def fail_once(marker: str) -> None:
    time.sleep(0.05)
    if not os.path.exists(marker):
        Path(marker).touch()
        raise RuntimeError("the first time")


def test_what_is_repeated_is_paid_twice(priced: FunctionExecutor, tmp_path: Path) -> None:
    future = priced.call_async(fail_once, str(tmp_path / "marker"), retries=1)
    future.result()
    cost = priced.cost(future)
    assert cost.activations_n == 2
    (last_s,) = times_of([future])
    assert cost.seconds >= rounded(0.05) + rounded(last_s)


def test_an_activation_that_dies_was_one(priced: FunctionExecutor) -> None:
    future = priced.call_async(os._exit, 1)
    with pytest.raises(CallError):
        future.result()
    cost = priced.cost(future)
    assert (cost.activations_n, cost.seconds) == (1, 0), "what its worker used is known to nobody"


def test_a_refused_activation_costs_nothing(tmp_path: Path) -> None:
    compute = PricedFunctions()
    compute.refusals = 3
    with executor_over(compute, tmp_path) as executor:
        executor.get_result(executor.map(abs, range(4)))
        assert executor.cost().activations_n == 4


def test_responses_cost_no_request(tmp_path: Path) -> None:
    with executor_over(PricedFunctions(connections=4), tmp_path) as executor:
        futures = executor.map(nap, [0.0, 0.01])
        executor.get_result(futures)
        cost = executor.cost()
        assert cost.requests == {}
        assert cost.seconds == pytest.approx(sum(map(rounded, times_of(futures))))


@pytest.fixture(scope="module")
def many(priced: FunctionExecutor, tmp_path_factory: pytest.TempPathFactory) -> list[ResponseFuture]:
    """Of several jobs: alone and together, small and large, repeated and not."""
    folder = tmp_path_factory.mktemp("markers")
    markers = [str(folder / f"{number % 4}") for number in range(5)]
    futures = [
        *priced.map(nap, [0.01, 0.0, 0.03, 0.0, 0.002], chunksize=2),
        *priced.map(fail_once, markers, retries=2, chunksize=2),
        *priced.map(bytes, [LARGE] * 3),
    ]
    priced.get_result(futures)
    return futures


def amounts(cost: Cost) -> list[float]:
    numbers = astuple(cost)[:6]
    return [*numbers, *(cost.requests.get(kind, 0) for kind in ("put", "get", "list", "delete"))]


@given(data=st.data())
def test_costs_add_up(priced: FunctionExecutor, many: list[ResponseFuture], data: st.DataObject) -> None:
    mine = data.draw(st.lists(st.sampled_from(many), unique=True))
    others = [future for future in many if future not in mine]
    assert amounts(priced.cost(mine) + priced.cost(others)) == pytest.approx(amounts(priced.cost(many)))
    assert amounts(priced.cost(mine + mine)) == pytest.approx(amounts(priced.cost(mine)))
    assert all(amount >= 0 for amount in amounts(priced.cost(mine)))


def test_an_executor_has_cost_what_its_jobs_have(tmp_path: Path) -> None:
    with executor_over(PricedFunctions(), tmp_path) as executor:
        futures = [*executor.map(nap, [0.0, 0.01]), executor.call_async(abs, -1)]
        executor.get_result(futures)
        assert amounts(executor.cost()) == pytest.approx(amounts(executor.cost(futures)))
        assert list(executor.imap(nap, [0.0] * 5, window=4)) == [0.0] * 5
        assert executor.cost().activations_n == 8, "futures that were never handed out count too"


def test_requests_are_those_that_the_server_counts(seaweedfs: SeaweedFS, tmp_path: Path) -> None:
    with FaultyProxy(seaweedfs.endpoint).running() as proxy:
        section = {
            **seaweedfs.settings,
            "endpoint": proxy.endpoint,
            "region": "us-east-1",
            "storage_bucket": "cost-requests",
        }
        ballast = os.urandom(LARGE)
        settings = resolve({"lithops": {"storage": "aws_s3"}, "aws_s3": section}, log_level=None)
        compute = PricedFunctions(environment=runtime_environment(settings))
        with executor_over(compute, tmp_path, "aws_s3", **section) as executor:
            executor.map(lambda data: data + ballast[:1], [os.urandom(LARGE) for _ in range(4)])
            executor.map(abs, range(20))
            executor.get_result()
            futures = list(executor.futures)
        cost = executor.cost()
        counts = proxy.counts
    # One put made the bucket, and many are deleted by a post.
    made = {"put": counts["PUT"] - 1, "get": counts["GET"], "list": counts["LIST"], "delete": counts["POST"]}
    assert cost.requests == made
    prices = REQUEST_PRICES["aws_s3"]
    expected = made["put"] * prices.put + made["get"] * prices.get + made["list"] * prices.list
    assert cost.storage == pytest.approx(expected)
    assert executor.cost(futures).storage < cost.storage, "cleaning belongs to no job"


def test_this_machine_costs_nothing(fexec: FunctionExecutor) -> None:
    futures = fexec.map(abs, range(3))
    fexec.get_result(futures)
    for cost in (fexec.cost(), fexec.cost(futures), fexec.estimate(abs, range(100)).cost):
        assert cost.total == 0
        assert cost.notes == ("functions and objects on this machine cost nothing",)
    assert "on this machine cost nothing" in str(fexec.cost())


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    with executor_over(LocalFunctions(), tmp_path) as executor:
        executor.get_result(executor.map(nap, [0.02, 0.02]))
        cost = executor.cost()
        assert cost.total == 0
        assert cost.seconds >= 0.04, "it is measured all the same"
        assert "the prices of functions are not known: its activations are not counted" in cost.notes


def test_futures_of_another_executor_are_refused(priced: FunctionExecutor, fexec: FunctionExecutor) -> None:
    with pytest.raises(InvalidCall, match="ask the one that made it"):
        priced.cost(fexec.map(abs, [1]))
    fexec.get_result()


@pytest.mark.parametrize(
    ("seconds", "unit_s", "least_s", "billed"),
    [
        (0.0, 0.001, 0.0, 0.0),
        (0.0001, 0.001, 0.0, 0.001),
        (0.1, 0.001, 0.0, 0.1),
        (1.1, 0.1, 0.0, 1.1),
        (1.101, 0.1, 0.0, 1.2),
        (0.2, 0.1, 1.0, 1.0),
        (1.01, 0.1, 1.0, 1.1),
    ],
)
def test_seconds_are_rounded_as_clouds_do(
    seconds: float, unit_s: float, least_s: float, billed: float
) -> None:
    prices = Prices(0.0, 1.0, "2026-11-22", "", unit_s=unit_s, least_s=least_s)
    assert billed_s(seconds, prices) == pytest.approx(billed)


# ---------------------------------------------------------------- what it would cost


@given(total=st.integers(0, 10_000), size=st.integers(1, 60))
def test_a_sample_is_spread_from_the_first_to_the_last(total: int, size: int) -> None:
    chosen = spread(total, size)
    assert len(chosen) == min(total, size)
    assert chosen == sorted(set(chosen))
    if total:
        assert chosen[0] == 0
    if total and size > 1:
        assert chosen[-1] == total - 1
        gaps = {later - earlier for earlier, later in itertools.pairwise(chosen)}
        assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("chunksize", [None, 4])
def test_the_real_run_is_within_the_estimate(priced: FunctionExecutor, chunksize: int | None) -> None:
    naps = [0.02 + 0.01 * number for number in range(24)]
    before = priced.cost()
    futures_before = list(priced.futures)
    estimate = priced.estimate(nap, naps, chunksize=chunksize)
    assert priced.futures == futures_before, "nobody waits for the sample"
    assert (estimate.calls, estimate.sample) == (24, 5)
    assert estimate.shortest_s == pytest.approx(0.02, abs=0.05)
    assert estimate.longest_s == pytest.approx(0.25, abs=0.1)
    assert estimate.shortest_s < estimate.mean_s < estimate.longest_s
    assert estimate.spread_s == pytest.approx(0.08, abs=0.03)
    assert priced.cost().total == pytest.approx(before.total + estimate.spent.total)
    futures = priced.map(nap, naps, chunksize=chunksize)
    priced.get_result(futures)
    real = priced.cost(futures)
    assert estimate.low <= real.total <= estimate.high
    assert estimate.total == pytest.approx(real.total, rel=0.3)
    assert estimate.cost.activations_n == real.activations_n


def test_only_what_is_sampled_is_stored(tmp_path: Path) -> None:
    with executor_over(PricedFunctions(inline_bytes=1000), tmp_path) as executor:
        data = [bytes(2000) + bytes([number]) for number in range(20)]
        estimate = executor.estimate(len, data, sample=4)
        assert (estimate.calls, estimate.sample) == (20, 4)
        assert estimate.spent.requests["put"] == 1 + 4, "one for the arguments, one for each report"
        assert estimate.cost.requests["put"] == 1 + 20
        assert estimate.cost.requests["get"] == 2 * 20, "the arguments and the reports"


def test_data_that_is_cut_is_sampled_by_its_parts(priced: FunctionExecutor) -> None:
    storage = priced.storage
    storage.put_object(storage.bucket, "estimate/lines", "\n".join(["x" * 9] * 60))

    def count(obj: Any) -> int:
        return len(obj.data_stream.read())

    estimate = priced.estimate(count, f"{storage.bucket}/estimate/lines", sample=3, obj_chunk_size=100)
    futures = priced.map(count, f"{storage.bucket}/estimate/lines", obj_chunk_size=100)
    priced.get_result(futures)
    assert estimate.calls == len(futures) == 6
    assert estimate.spent.activations_n == estimate.sample == 3


def test_results_of_earlier_calls_are_sampled_too(priced: FunctionExecutor) -> None:
    estimate = priced.estimate(nap, priced.map(nap, [0.0, 0.01, 0.0, 0.02]), sample=2)
    assert (estimate.calls, estimate.sample) == (4, 2)


def test_no_data_costs_nothing(priced: FunctionExecutor) -> None:
    estimate = priced.estimate(nap, [])
    assert (estimate.calls, estimate.sample, estimate.total, estimate.high) == (0, 0, 0.0, 0.0)


def test_an_estimate_raises_what_a_call_raises(priced: FunctionExecutor) -> None:
    with pytest.raises(TypeError, match="bad operand"):
        priced.estimate(abs, ["x"] * 3)
    with pytest.raises(InvalidCall, match="1 or more"):
        priced.estimate(abs, [1, 2], sample=0)


# ---------------------------------------------------------------- what the page shows


def shape(text: str) -> list[str]:
    """The words, without what changes from run to run: times, amounts, and how often was looked."""
    return [" ".join(re.sub(r"[\d,.]*\d", "0", line).split()) for line in text.splitlines()]


def test_the_page_shows_what_a_run_prints(
    seaweedfs: SeaweedFS,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class LikeLambda(PricedFunctions):
        name = "aws_lambda"
        known_prices = LIKE_LAMBDA

    section = {**seaweedfs.settings, "region": "us-east-1", "storage_bucket": "cost-page"}
    settings = resolve({"lithops": {"storage": "aws_s3"}, "aws_s3": section}, log_level=None)
    compute = LikeLambda(environment=runtime_environment(settings))
    code, shown = re.findall(r"^```\w+\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    executor = executor_over(compute, tmp_path, "aws_s3", **section)
    monkeypatch.setattr(lithops, "FunctionExecutor", lambda: executor)
    exec(compile(code, str(PAGE), "exec"), {"__name__": "__main__"})
    printed = capsys.readouterr().out
    assert shape(printed) == shape(shown), printed

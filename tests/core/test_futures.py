"""Futures: their states, callbacks, awaiting, cancelling, and the journey to another process."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gates import Gate, pass_gate

import lithops
from lithops import FunctionExecutor
from lithops.exceptions import CallCancelled, CallTimeout, InvalidCall
from lithops.future import ResponseFuture
from lithops.utils import FuturesList

Eventually = Callable[..., None]
LARGE = 9 << 20
"""More bytes than a message holds: such a result is stored."""


def square(x: int) -> int:
    return x * x


def fail(message: str) -> None:
    raise LookupError(message)


def states(future: ResponseFuture) -> set[str]:
    names = ("new", "invoked", "running", "ready", "done", "success", "error", "futures")
    return {name for name in names if getattr(future, name)}


def large(letter: str) -> str:
    return letter * LARGE


# ---------------------------------------------------------------- states


def test_states_of_a_call(fexec: FunctionExecutor, tmp_path: Path, eventually: Eventually) -> None:
    gate = Gate(tmp_path)
    running = fexec.map(pass_gate, [(gate.path, "a"), (gate.path, "b")])
    waiting = fexec.call_async(square, 2)
    assert states(waiting) == {"new"}
    eventually(lambda: all(future.running for future in running))
    assert [states(future) for future in running] == [{"invoked", "running"}] * 2
    assert (waiting.running, waiting.logs, waiting.activation_id) == (False, "", "")
    assert waiting.status(check_only=True) is None
    gate.open()
    fexec.get_result([*running, waiting])
    assert states(waiting) == {"ready", "done", "success"}
    failed = fexec.call_async(fail, "it")
    fexec.wait([failed], throw_except=False)
    assert states(failed) == {"ready", "done", "error"}


def test_equality_and_hash(fexec: FunctionExecutor) -> None:
    first, second = fexec.map(square, [1, 2])
    copy = pickle.loads(pickle.dumps(first))
    assert copy is not first
    assert copy == first != second
    assert {first, copy, second} == {first, second}
    assert {first: "a"}[copy] == "a"
    assert first != (first.job_key, first.index)
    assert repr(first).startswith(f"<ResponseFuture {first.job_key}-00000 square ")


def test_exception_gives_what_was_raised(fexec: FunctionExecutor) -> None:
    good, bad = fexec.call_async(square, 2), fexec.call_async(fail, "why")
    assert good.exception() is None
    error = bad.exception()
    assert isinstance(error, LookupError)
    assert str(error) == "why"
    assert bad.result(throw_except=False) is None


def test_result_and_exception_time_out(fexec: FunctionExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    future = fexec.call_async(pass_gate, (gate.path, 1))
    for ask in (future.result, future.exception):
        with pytest.raises(TimeoutError, match=r"has not ended after 0\.02 s; it goes on"):
            ask(timeout=0.02)
    gate.open()
    assert future.result(timeout=10) == 1


# ---------------------------------------------------------------- callbacks


def test_callbacks_come_in_order_and_once(fexec: FunctionExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    future = fexec.call_async(pass_gate, (gate.path, 1))
    heard: list[Any] = []
    ended = threading.Event()
    future.add_done_callback(lambda one: heard.append(("first", one, one.done)))
    future.add_done_callback(lambda one: heard.append(("second", one, one.done)))
    future.add_done_callback(lambda _: ended.set())
    removed = heard.append
    future.add_done_callback(removed)
    future.remove_done_callback(removed)
    assert heard == []
    gate.open()
    assert ended.wait(10)
    assert heard == [("first", future, True), ("second", future, True)]
    future.add_done_callback(lambda one: heard.append("at once"))
    assert heard[-1] == "at once"


class Loud(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(3), KeyboardInterrupt()])
def test_a_callback_s_error_is_logged_and_harms_nobody(
    fexec: FunctionExecutor, tmp_path: Path, error: BaseException
) -> None:
    """`SystemExit` is what `result` raises in a callback of a call that has raised it."""
    gate, heard, loud = Gate(tmp_path), threading.Event(), Loud()

    def break_down(_: ResponseFuture) -> None:
        raise error

    logger = logging.getLogger("lithops.future")
    logger.addHandler(loud)
    try:
        future = fexec.call_async(pass_gate, (gate.path, 1))
        future.add_done_callback(break_down)
        future.add_done_callback(lambda _: heard.set())
        gate.open()
        assert heard.wait(10)
        assert future.result() == 1
        assert fexec.map(square, [2, 3]).get_result(timeout=10) == [4, 9]
    finally:
        logger.removeHandler(loud)
    (record,) = loud.records
    assert record.getMessage() == f"a callback of {future!r} failed"
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_a_callback_that_would_wait_for_ever_is_told(fexec: FunctionExecutor, tmp_path: Path) -> None:
    """Callbacks run in the thread that brings calls to their ends."""
    first, second = Gate(tmp_path, "first"), Gate(tmp_path, "second")
    one, other = fexec.map(pass_gate, [(first.path, 1), (second.path, 2)])
    errors: list[BaseException] = []
    heard = threading.Event()

    def ask_for_the_other(_: ResponseFuture) -> None:
        for ask in (
            other.result,
            other.exception,
            lambda: fexec.wait([other]),
            lambda: fexec.get_result([other]),
        ):
            try:
                ask()
            except InvalidCall as error:
                errors.append(error)
        heard.set()

    one.add_done_callback(ask_for_the_other)
    first.open()
    assert heard.wait(10)
    assert [str(error).partition(",")[0] for error in errors] == [
        "a callback waits for a call that has not ended"
    ] * 4
    second.open()
    assert other.result(timeout=10) == 2


def test_a_callback_may_cancel_the_rest(fexec: FunctionExecutor, tmp_path: Path) -> None:
    first, never = Gate(tmp_path, "first"), Gate(tmp_path, "never")
    one, *rest = fexec.map(pass_gate, [(first.path, 0), (never.path, 1), (never.path, 2), (never.path, 3)])
    answers: list[bool] = []
    one.add_done_callback(lambda _: answers.extend(future.cancel() for future in rest))
    first.open()
    fexec.wait(rest, throw_except=False, timeout=10)
    assert answers == [True] * 3
    assert all(future.cancelled() for future in rest)
    assert fexec.call_async(square, 4).result(timeout=10) == 16


# ---------------------------------------------------------------- await


def test_await(fexec: FunctionExecutor) -> None:
    async def work() -> list[Any]:
        mapped = fexec.map(square, range(20))
        failed = fexec.call_async(fail, "awaited")
        results = await asyncio.gather(*mapped, failed, return_exceptions=True)
        return [*results, await fexec.call_async(square, 5)]

    *squares, error, last = asyncio.run(work())
    assert squares == [x * x for x in range(20)]
    assert isinstance(error, LookupError)
    assert last == 25


def test_the_loop_goes_on_while_a_call_runs(fexec: FunctionExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)

    async def work() -> Any:
        future = fexec.call_async(pass_gate, (gate.path, "through"))
        asyncio.get_running_loop().call_later(0.05, gate.open)
        return await asyncio.wait_for(future, 10)

    assert asyncio.run(work()) == "through"


def test_an_await_that_is_given_up(fexec: FunctionExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    future = fexec.call_async(pass_gate, (gate.path, 1))

    async def work() -> None:
        await asyncio.wait_for(future, 0.05)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(work())
    gate.open()
    assert future.result(timeout=10) == 1


# ---------------------------------------------------------------- cancel


def test_cancel_a_call_that_runs(fexec: FunctionExecutor, tmp_path: Path, eventually: Eventually) -> None:
    gate = Gate(tmp_path)
    one, neighbour = fexec.map(pass_gate, [(gate.path, "one"), (gate.path, "neighbour")])
    eventually(lambda: gate.arrived("one") and gate.arrived("neighbour"))
    assert one.cancel()
    assert one.cancelled()
    assert one.error
    assert not neighbour.done
    for ask in (one.result, one.exception, lambda: fexec.wait([one])):
        with pytest.raises(CallCancelled):
            ask()
    gate.open()
    assert neighbour.result(timeout=10) == "neighbour"
    assert not neighbour.cancel()


def test_cancel_before_the_call_is_sent(
    fexec: FunctionExecutor, tmp_path: Path, eventually: Eventually
) -> None:
    gate = Gate(tmp_path)
    running = fexec.map(pass_gate, [(gate.path, "a"), (gate.path, "b")])
    eventually(lambda: gate.arrived("a") and gate.arrived("b"))
    queued = fexec.map(pass_gate, [(gate.path, "c"), (gate.path, "d")])
    fexec.cancel(queued)
    assert all(future.cancelled() and not future.invoked for future in queued)
    gate.open()
    assert fexec.get_result(running, timeout=10) == ["a", "b"]
    assert not gate.arrived("c")
    assert fexec.get_result(queued, throw_except=False) == [None, None]


def test_cancel_everything() -> None:
    with FunctionExecutor(log_level=None, worker_processes=1) as fexec:
        sleeping = fexec.map(time.sleep, [60] * 50)
        chained = sleeping.map(square)
        fexec.cancel()
        assert all(future.cancelled() for future in [*sleeping, *chained])
        assert fexec.call_async(square, 3).result(timeout=10) == 9


# ---------------------------------------------------------------- to another process

READER = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    futures = pickle.load(file)
import lithops
print("ready", flush=True)
for future in futures:
    error = future.exception(timeout=20)
    value = future.result(throw_except=False)
    print(type(error).__name__, error, repr(value)[:20], len(repr(value)), future.success, flush=True)
print(lithops.get_result(futures[:1])[0][:5], type(futures).__name__)
"""


def read_elsewhere(path: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen(
        [sys.executable, "-c", READER, str(path)], stdout=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.parametrize("settled", [True, False])
def test_another_process_reads_the_results(fexec: FunctionExecutor, tmp_path: Path, settled: bool) -> None:
    """Small and large results, and failures, whether the calls have ended before or not."""
    gate = Gate(tmp_path)
    futures = FuturesList(
        [
            fexec.call_async(pass_gate, (gate.path, "small")),
            fexec.call_async(large, "x"),
            fexec.call_async(fail, "elsewhere too"),
        ],
        executor=fexec,
    )
    if settled:
        gate.open()
        fexec.wait(futures, throw_except=False)
    path = tmp_path / "futures.pickle"
    path.write_bytes(pickle.dumps(futures))
    with read_elsewhere(path) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        gate.open()
        assert reader.stdout.read().splitlines() == [
            "NoneType None 'small' 7 True",
            f"NoneType None '{'x' * 19} {LARGE + 2} True",
            "LookupError elsewhere too None 4 False",
            "small FuturesList",
        ]
    assert reader.returncode == 0


def test_a_future_that_came_back(fexec: FunctionExecutor) -> None:
    futures = pickle.loads(pickle.dumps(fexec.map(square, [3, 4])))
    assert isinstance(futures, FuturesList)
    assert lithops.get_result(futures, timeout=20) == [9, 16]
    assert futures.config == fexec.config
    future = pickle.loads(pickle.dumps(fexec.call_async(fail, "again")))
    with pytest.raises(LookupError, match="again"):
        future.result(timeout=20)


def test_only_its_own_process_may_cancel_a_call(fexec: FunctionExecutor, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    original = fexec.call_async(pass_gate, (gate.path, 1))
    future = pickle.loads(pickle.dumps(original))
    with pytest.raises(
        InvalidCall, match=r"calls \[0\] of job .* belong to another process: cancel them there"
    ):
        future.cancel()
    gate.open()
    assert future.result(timeout=20) == 1


def test_waiting_elsewhere_ends_when_nothing_is_heard(fexec: FunctionExecutor, tmp_path: Path) -> None:
    """The maker has ended without a word: the time allowed for it is short here."""
    gate = Gate(tmp_path)
    original = fexec.call_async(pass_gate, (gate.path, 1))
    original.job.give_up_s = 0.1
    future = pickle.loads(pickle.dumps(original))
    with pytest.raises(
        CallTimeout, match="nothing was heard of the call in time; the program that made it may"
    ):
        future.result(timeout=20)
    gate.open()
    assert original.result(timeout=10) == 1


def test_waiting_elsewhere_ends_when_the_storage_is_gone(tmp_path: Path) -> None:
    root = tmp_path / "root"
    gate = Gate(tmp_path)
    config = {"localhost": {"root": str(root), "worker_processes": 1}}
    with FunctionExecutor(config=config, log_level=None) as fexec:
        original = fexec.call_async(pass_gate, (gate.path, 1))
        pickled = pickle.dumps(original)
        root.rename(tmp_path / "elsewhere")
        future = pickle.loads(pickled)
        with pytest.raises(
            lithops.exceptions.WorkerLost, match="its status cannot be read: there is no bucket"
        ):
            future.result(timeout=20)
        (tmp_path / "elsewhere").rename(root)
        gate.open()
        assert original.result(timeout=10) == 1


# ---------------------------------------------------------------- executors that come and go


def test_a_future_keeps_its_executor() -> None:
    def make() -> ResponseFuture:
        return FunctionExecutor(log_level=None, worker_processes=1).call_async(square, 6)

    assert make().result(timeout=10) == 36


def test_an_executor_that_nobody_holds_is_collected(
    workers: Callable[..., set[int]], eventually: Eventually
) -> None:
    before = workers()
    fexec = FunctionExecutor(log_level=None, worker_processes=1)
    assert fexec.map(square, [1]).get_result() == [1]
    (worker,) = workers() - before
    del fexec
    gc.collect()  # it holds its futures, and they hold it
    eventually(lambda: worker not in workers())


def test_executors_leave_no_descriptors_open(fexec: FunctionExecutor) -> None:
    def use_one() -> None:
        with FunctionExecutor(log_level=None, worker_processes=1) as other:
            other.map(square, [1]).get_result()

    use_one()
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        use_one()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_closed_executor_refuses(tmp_path: Path) -> None:
    fexec = FunctionExecutor(config={"localhost": {"root": str(tmp_path / "root")}}, log_level=None)
    kept = fexec.map(square, [2])
    kept.get_result()
    running = fexec.call_async(time.sleep, 60)
    fexec.close()
    fexec.close()
    assert running.cancelled()
    assert kept[0].result() == 4
    big = b"x" * (9 << 20)
    for verb in (
        lambda: fexec.call_async(len, big),
        lambda: fexec.map(square, [1]),
        lambda: fexec.map_reduce(square, [1], sum),
        lambda: kept.map(square),
    ):
        with pytest.raises(InvalidCall, match="this executor has been closed: make a new one"):
            verb()
    assert [future for future in fexec.futures if not future.done] == []
    assert fexec.storage.list_keys(fexec.storage.bucket, "lithops.jobs/") == []

"""Futures: their states, callbacks, awaiting, cancelling, and the journey to another process."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gates import Gate, pass_gate

from lithops import FunctionExecutor
from lithops.exceptions import CallCancelled, InvalidCall
from lithops.future import ResponseFuture

Eventually = Callable[..., None]


def square(x: int) -> int:
    return x * x


def fail(message: str) -> None:
    raise LookupError(message)


def states(future: ResponseFuture) -> set[str]:
    names = ("new", "invoked", "running", "ready", "done", "success", "error", "futures")
    return {name for name in names if getattr(future, name)}


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

"""What every compute backend promises of calls that do not return. Part of `ComputeConformance`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lithops.compute.base import SupportsCancel
from lithops.exceptions import (
    CallCancelled,
    CallTimeout,
    NotSerializable,
    RemoteError,
    RemoteTraceback,
    WorkerLost,
)
from lithops.executors import FunctionExecutor
from lithops.testing.conformance import Conformance

_LONG_S = 120.0
"""What a call that is to be stopped would take."""


class FailureConformance(Conformance):
    """Functions that fail, workers that die, and calls that are stopped."""

    # ---------------------------------------------------------------- failures of functions

    def test_an_exception_arrives_as_itself(self, executor: FunctionExecutor) -> None:
        class Particular(Exception):
            def __init__(self, code: int, *, detail: str) -> None:
                super().__init__(f"code {code}")
                self.code = code
                self.detail = detail

        def fail_deliberately(code: int) -> None:
            raise Particular(code, detail="of the call")

        future = executor.call_async(fail_deliberately, 42)
        with pytest.raises(Particular, match="code 42") as caught:
            future.result(timeout=self.patience_s)
        assert (caught.value.code, caught.value.detail) == (42, "of the call")
        assert isinstance(caught.value.__cause__, RemoteTraceback)
        assert "fail_deliberately" in str(caught.value.__cause__)

    def test_one_failure_spares_the_others(self, executor: FunctionExecutor) -> None:
        futures = executor.map(lambda x: 10 // x, [5, 0, 2])
        assert executor.get_result(throw_except=False, timeout=self.patience_s) == [2, None, 5]
        assert isinstance(futures[1].exception(), ZeroDivisionError)
        with pytest.raises(ZeroDivisionError):
            executor.get_result(futures)

    @pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt("stop"), GeneratorExit()])
    def test_leaving_a_function_is_a_failure_like_others(
        self, executor: FunctionExecutor, error: BaseException
    ) -> None:
        def leave(number: int) -> int:
            if number == 1:
                raise error
            return number

        futures = executor.map(leave, range(3))
        executor.wait(throw_except=False, timeout=self.patience_s)
        assert [futures[0].result(), futures[2].result()] == [0, 2]
        raised = futures[1].exception()
        assert type(raised) is type(error)
        assert raised.args == error.args

    def test_a_result_that_cannot_be_pickled(self, executor: FunctionExecutor) -> None:
        def generate(_: int) -> Iterator[int]:
            return (number for number in range(3))

        future = executor.call_async(generate, 0)
        with pytest.raises(NotSerializable, match="generator"):
            future.result(timeout=self.patience_s)

    def test_an_exception_that_cannot_be_pickled(self, executor: FunctionExecutor) -> None:
        def fail(_: int) -> None:
            error = RuntimeError("with a generator")
            error.numbers = (number for number in range(3))  # type: ignore[attr-defined]
            raise error

        future = executor.call_async(fail, 0)
        with pytest.raises(RemoteError, match="with a generator") as caught:
            future.result(timeout=self.patience_s)
        assert caught.value.type_name == "RuntimeError"
        assert "in fail" in str(caught.value.__cause__)

    # ---------------------------------------------------------------- calls that do not return

    def test_a_timeout_stops_its_call_alone(self, executor: FunctionExecutor) -> None:
        self.needs("runs_in_processes")

        def rest(duration_s: float) -> float:
            import time

            time.sleep(duration_s)
            return duration_s

        futures = executor.map(rest, [0.0, _LONG_S, 0.0, 0.0], timeout=2)
        executor.wait(throw_except=False, timeout=self.patience_s)
        with pytest.raises(CallTimeout, match="2 s"):
            futures[1].result()
        assert [futures[i].result() for i in (0, 2, 3)] == [0.0] * 3

    @pytest.mark.parametrize("how", ["exit", "signal"])
    def test_the_death_of_a_worker_costs_its_call_alone(self, executor: FunctionExecutor, how: str) -> None:
        self.needs("runs_in_processes")

        def die(number: int) -> int:
            import os
            import signal
            import sys

            if number == 5:
                sys.stdout.write("last words\n")
                os._exit(7) if how == "exit" else os.kill(os.getpid(), signal.SIGKILL)
            return number

        futures = executor.map(die, range(12))
        executor.wait(throw_except=False, timeout=self.patience_s)
        with pytest.raises(WorkerLost):
            futures[5].result()
        assert [futures[i].result() for i in range(12) if i != 5] == [i for i in range(12) if i != 5]
        executor.map(lambda x: x, range(3))
        assert executor.get_result(timeout=self.patience_s)[-3:] == [0, 1, 2]

    def test_a_call_that_failed_is_tried_again(self, tmp_path: Path) -> None:
        def unsteady(number: int, storage: Any) -> int:
            import uuid

            prefix = f"unsteady/{number}/"
            storage.put_object(storage.bucket, f"{prefix}{uuid.uuid4().hex}", b"")
            tries = len(storage.list_keys(storage.bucket, prefix))
            if tries < 3:
                raise OSError(f"try {tries}")
            return tries

        with self.make_executor(tmp_path, retries=4) as executor:
            try:
                executor.map(unsteady, range(3))
                assert executor.get_result(timeout=self.patience_s) == [3, 3, 3]
                future = executor.call_async(unsteady, 3, retries=1)
                with pytest.raises(OSError, match="try 2"):
                    future.result(timeout=self.patience_s)
            finally:
                _delete(executor, "unsteady/")

    def test_a_lost_call_is_tried_again(self, executor: FunctionExecutor) -> None:
        self.needs("runs_in_processes")

        def die_once(number: int, storage: Any) -> int:
            import os

            key = f"died/{number}"
            if not storage.list_keys(storage.bucket, key):
                storage.put_object(storage.bucket, key, b"")
                os._exit(1)
            return number

        try:
            executor.map(die_once, range(2), retries=2)
            assert executor.get_result(timeout=self.patience_s) == [0, 1]
        finally:
            _delete(executor, "died/")

    def test_cancelling_what_runs_and_what_waits(self, executor: FunctionExecutor) -> None:
        self.needs("runs_in_processes")

        def rest(duration_s: float) -> float:
            import time

            time.sleep(duration_s)
            return duration_s

        futures = executor.map(rest, [0.0] + [_LONG_S] * 20, max_concurrency=4)
        executor.wait(return_when=1, timeout=self.patience_s)
        started = time.monotonic()
        executor.cancel(futures[1:])
        assert time.monotonic() - started < self.patience_s
        assert futures[0].result() == 0.0
        assert all(future.cancelled() for future in futures[1:])
        with pytest.raises(CallCancelled):
            futures[-1].result()
        if isinstance(executor.compute_handler, SupportsCancel):
            after = executor.map(rest, [0.0] * 4)
            assert executor.get_result(after, timeout=self.patience_s) == [0.0] * 4

    def test_a_wait_that_runs_out_leaves_its_calls_alone(self, executor: FunctionExecutor) -> None:
        self.needs("runs_in_processes")

        def rest(duration_s: float) -> float:
            import time

            time.sleep(duration_s)
            return duration_s

        future = executor.call_async(rest, 1.5)
        with pytest.raises(TimeoutError):
            executor.get_result(timeout=0.1)
        assert not future.done
        assert future.result(timeout=self.patience_s) == 1.5


def _delete(executor: FunctionExecutor, prefix: str) -> None:
    storage = executor.storage
    storage.delete_objects(storage.bucket, storage.list_keys(storage.bucket, prefix))

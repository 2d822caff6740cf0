"""What every compute backend promises, as tests. A backend's author inherits them::

    class TestMyCompute(ComputeConformance):
        def make_executor(self, tmp_path, **section):
            return FunctionExecutor(config={"lithops": {"backend": "mine", **section}, "mine": {...}})

Functions are nested in the tests, so that they go to the workers by value: these have no `lithops.testing`. A backend
whose workers cannot do something says so in the attributes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lithops.exceptions import InvalidCall
from lithops.executors import FunctionExecutor
from lithops.future import ResponseFuture
from lithops.testing.compute_failures import FailureConformance
from lithops.testing.stats import check_stats
from lithops.wire.keys import executor_prefix

_LARGE_BYTES = 3_000_000


class ComputeConformance(FailureConformance):
    """Inherit this, and override `make_executor`."""

    many_calls: ClassVar[int] = 300

    # ---------------------------------------------------------------- results

    def test_results_come_in_the_order_of_the_calls(self, executor: FunctionExecutor) -> None:
        def square(number: int) -> int:
            return number * number

        futures = executor.map(square, range(self.many_calls))
        assert executor.get_result(timeout=self.patience_s) == [i * i for i in range(self.many_calls)]
        assert [future.result() for future in reversed(futures)] == [
            i * i for i in reversed(range(self.many_calls))
        ]

    def test_one_call_gives_its_value(self, executor: FunctionExecutor) -> None:
        future = executor.call_async(lambda a, b: {"sum": a + b}, (3, 4))
        assert executor.get_result(timeout=self.patience_s) == {"sum": 7}
        assert future.success
        assert not future.error

    def test_jobs_follow_each_other(self, executor: FunctionExecutor) -> None:
        for turn in range(5):
            mapped = executor.map(lambda x, turn=turn: (turn, x), range(4))
            assert executor.get_result(mapped, timeout=self.patience_s) == [(turn, x) for x in range(4)]

    @pytest.mark.parametrize("chunksize", [1, 3, 100])
    def test_calls_of_one_task_are_calls(self, executor: FunctionExecutor, chunksize: int) -> None:
        def picky(number: int) -> int:
            if number == 4:
                raise ValueError(number)
            return -number

        futures = executor.map(picky, range(10), chunksize=chunksize)
        executor.wait(throw_except=False, timeout=self.patience_s)
        assert [future.success for future in futures] == [number != 4 for number in range(10)]
        assert executor.get_result(futures, throw_except=False)[5:] == [-5, -6, -7, -8, -9]

    def test_large_arguments_and_results(self, executor: FunctionExecutor) -> None:
        def doubled(data: bytes) -> bytes:
            return data + data

        data = os.urandom(_LARGE_BYTES)
        executor.call_async(doubled, data)
        assert executor.get_result(timeout=self.patience_s) == data + data

    def test_large_results_of_many_calls(self, executor: FunctionExecutor) -> None:
        futures = executor.map(lambda number: bytes([number]) * 1_000_000, range(8))
        results = executor.get_result(timeout=self.patience_s)
        assert results == [bytes([number]) * 1_000_000 for number in range(8)]
        assert [future.stats["func_result_size"] > 1_000_000 for future in futures] == [True] * 8

    def test_arrays_come_back_whole_and_writable(self, executor: FunctionExecutor) -> None:
        self.needs("on_this_machine")
        numpy = pytest.importorskip("numpy")
        matrix = numpy.arange(60_000, dtype="f8").reshape(200, 300)
        executor.call_async(lambda array: array.T * 2, (matrix,))
        result = executor.get_result(timeout=self.patience_s)
        assert (result == matrix.T * 2).all()
        result += 1
        assert result[0, 0] == 1

    def test_map_reduce(self, executor: FunctionExecutor) -> None:
        def total(pairs: list[tuple[int, int]]) -> list[int]:
            return [sum(a for a, _ in pairs), sum(b for _, b in pairs)]

        executor.map_reduce(lambda x: (x, x * x), range(20), total)
        assert executor.get_result(timeout=self.patience_s) == [190, 2470]

    def test_many_small_results_are_one_reducers_inputs(self, executor: FunctionExecutor) -> None:
        """Together they may be larger than a task can be."""
        executor.map_reduce(lambda n: bytes([n]) * 30_000, range(60), lambda parts: sum(map(len, parts)))
        assert executor.get_result(timeout=self.patience_s) == 60 * 30_000

    def test_results_feed_the_next_calls(self, executor: FunctionExecutor) -> None:
        chained = (
            executor.map(lambda x: b"x" * (x * 200_000), range(4)).map(len).map(lambda length: length + 1)
        )
        assert executor.get_result(chained, timeout=self.patience_s) == [1, 200_001, 400_001, 600_001]

    def test_returned_futures_are_followed(self, executor: FunctionExecutor) -> None:
        self.needs("has_lithops")

        def outer(count: int) -> list[ResponseFuture]:
            import lithops

            return lithops.FunctionExecutor().map(lambda x: x + 100, range(count))

        executor.map(outer, [2, 3])
        assert executor.get_result(timeout=self.patience_s) == [[100, 101], [100, 101, 102]]

    def test_functions_make_executors(self, executor: FunctionExecutor) -> None:
        self.needs("has_lithops")

        def outer(count: int) -> int:
            import lithops

            with lithops.FunctionExecutor() as inner:
                inner.map(lambda x: x * 2, range(count))
                return sum(inner.get_result())

        executor.map(outer, [3, 4])
        assert executor.get_result(timeout=self.patience_s) == [6, 12]

    # ---------------------------------------------------------------- what a call is given

    def test_reserved_parameters(self, executor: FunctionExecutor) -> None:
        def stored(number: int, id: int, storage: Any) -> tuple[int, bytes]:  # noqa: A002 - the contract's name
            reference = storage.put_cloudobject(f"{number} {id}".encode())
            return id, storage.get_cloudobject(reference)

        executor.map(stored, [7, 8, 9])
        expected = [(0, b"7 0"), (1, b"8 1"), (2, b"9 2")]
        assert executor.get_result(timeout=self.patience_s) == expected

    def test_environment_is_set_and_put_back(self, executor: FunctionExecutor) -> None:
        def look(_: int) -> tuple[str | None, bool]:
            import os

            return os.environ.get("LITHOPS_CONFORMANCE"), "PATH" in os.environ

        executor.map(look, range(6), extra_env={"LITHOPS_CONFORMANCE": "set"})
        assert executor.get_result(timeout=self.patience_s) == [("set", True)] * 6
        executor.map(look, range(6))
        assert executor.get_result(timeout=self.patience_s) == [(None, True)] * 6

    # ---------------------------------------------------------------- what calls write

    def test_output_belongs_to_its_call(self, executor: FunctionExecutor) -> None:
        def talk(number: int) -> None:
            import sys

            sys.stdout.write(f"out {number}\n")
            sys.stderr.write(f"err {number}\n")

        futures = executor.map(talk, range(12))
        executor.wait(timeout=self.patience_s)
        assert [sorted(future.logs.split("\n")) for future in futures] == [
            ["", f"err {number}", f"out {number}"] for number in range(12)
        ]

    def test_log_records_belong_to_their_call(self, executor: FunctionExecutor) -> None:
        self.needs("captures_logging")

        def log(number: int) -> None:
            import logging

            logging.getLogger("user").info("about %d", number)

        futures = executor.map(log, range(6))
        executor.wait(timeout=self.patience_s)
        for number, future in enumerate(futures):
            assert f"about {number}\n" in future.logs
            assert future.logs.count("about") == 1

    def test_output_of_subprocesses_belongs_to_their_call(self, executor: FunctionExecutor) -> None:
        self.needs("captures_subprocesses")

        def start(number: int) -> None:
            import subprocess

            subprocess.run(["sh", "-c", f"echo said {number}; echo complained {number} >&2"], check=True)

        futures = executor.map(start, range(4))
        executor.wait(timeout=self.patience_s)
        expected = [f"said {number}\ncomplained {number}\n" for number in range(4)]
        assert [future.logs for future in futures] == expected

    def test_a_failure_keeps_what_was_written_before(self, executor: FunctionExecutor) -> None:
        def fail(_: int) -> None:
            import sys

            sys.stdout.write("so far\n")
            raise ValueError

        future = executor.call_async(fail, 0)
        executor.wait(throw_except=False, timeout=self.patience_s)
        assert future.logs == "so far\n"

    # ---------------------------------------------------------------- how many at once, and what it took

    def test_no_more_calls_at_once_than_asked_for(self, executor: FunctionExecutor) -> None:
        def rest(_: int) -> None:
            import time

            time.sleep(0.05)

        futures = executor.map(rest, range(10), max_concurrency=2)
        executor.wait(timeout=self.patience_s)
        assert _most_at_once(futures) <= 2

    def test_no_more_calls_at_once_than_an_executor_may_have(self, tmp_path: Path) -> None:
        def rest(_: int) -> None:
            import time

            time.sleep(0.05)

        with self.make_executor(tmp_path, max_concurrency=1) as executor:
            futures = [*executor.map(rest, range(4), chunksize=2), *executor.map(rest, range(2))]
            futures += [executor.call_async(rest, number) for number in range(3)]
            executor.wait(timeout=self.patience_s)
        assert _most_at_once(futures) == 1

    def test_stats_are_complete_and_plausible(self, executor: FunctionExecutor) -> None:
        def work(seconds: float) -> bytes:
            import time

            until = time.process_time() + seconds
            while time.process_time() < until:
                pass
            return b"r" * 1000

        before = time.time()
        future = executor.map(work, [0.3])[0]
        future.result(timeout=self.patience_s)
        check_stats(future.stats, began_at=before, ended_at=time.time(), busy_s=0.3, result_bytes=1000)

    # ---------------------------------------------------------------- the end

    def test_nothing_stays_behind(self, tmp_path: Path) -> None:
        def who(number: int) -> tuple[int, bytes]:
            import os

            return os.getpid(), bytes([number]) * 1_000_000

        with self.make_executor(tmp_path) as executor:
            executor.map(who, range(4))
            pids = {pid for pid, _ in executor.get_result(timeout=self.patience_s)}
            storage = executor.storage
        assert storage.list_keys(storage.bucket, executor_prefix(executor.executor_id)) == []
        executor.close()
        with pytest.raises(InvalidCall, match="closed"):
            executor.map(who, range(4))
        if self.on_this_machine:
            assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def _most_at_once(futures: Sequence[ResponseFuture]) -> int:
    spans: list[tuple[float, float]] = [
        (future.stats["worker_func_start_tstamp"], future.stats["worker_func_end_tstamp"])
        for future in futures
    ]
    return max(sum(begin <= start < end for begin, end in spans) for start, _ in spans)

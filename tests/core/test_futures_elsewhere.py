"""Futures in another process, and futures whose executor comes and goes."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gates import Gate, pass_gate

import lithops
from lithops import FunctionExecutor
from lithops.exceptions import CallTimeout, InvalidCall
from lithops.future import ResponseFuture
from lithops.utils import FuturesList

Eventually = Callable[..., None]
LARGE = 9 << 20
"""More bytes than a message holds: such a result is stored."""


def square(x: int) -> int:
    return x * x


def fail(message: str) -> None:
    raise LookupError(message)


def large(letter: str) -> str:
    return letter * LARGE


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

    def is_gone() -> bool:
        # It holds its futures, and they hold it; the monitor may still be on its way out of their settling.
        gc.collect()
        return worker not in workers()

    eventually(is_gone)


def open_descriptors() -> list[str]:
    """What this process has open; without what libuuid keeps of every thread that asks it for an identifier."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return [path for path in found if not path.startswith("/var/lib/libuuid/")]


def test_executors_leave_no_descriptors_open(fexec: FunctionExecutor) -> None:
    def use_one() -> None:
        with FunctionExecutor(log_level=None, worker_processes=1) as other:
            other.map(square, [1]).get_result()

    use_one()
    gc.collect()
    before = open_descriptors()
    for _ in range(3):
        use_one()
    gc.collect()
    assert len(open_descriptors()) <= len(before), sorted({*open_descriptors()} - {*before})


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

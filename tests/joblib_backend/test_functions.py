"""Over functions as clouds have them: workers without files in common, and a storage that is read, not mapped."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from joblib import Parallel, delayed
from parallel_backends import square

from lithops import FunctionExecutor
from lithops.clock import SystemClock
from lithops.config.loader import resolve
from lithops.config.passing import runtime_environment
from lithops.storage import registry
from lithops.testing.functions import LocalFunctions
from lithops.util.joblib import register_lithops
from lithops.util.joblib.worker import Reader
from lithops.wire.keys import JOBS_PREFIX

WORKERS = 3


@pytest.fixture(scope="module", autouse=True)
def executor(
    nothing_left_behind: None, storage_config: Callable[[str], dict[str, Any]]
) -> Iterator[FunctionExecutor]:
    """Three functions over Redis, in a context of joblib."""
    settings = resolve(storage_config("redis"), log_level=None)
    storage = registry.create("redis", settings.storage)
    compute = LocalFunctions(
        processes=WORKERS,
        max_activations=WORKERS,
        environment=runtime_environment(settings),
        connections=WORKERS,
    )
    register_lithops("functions")
    with (
        FunctionExecutor.over(compute, storage, settings, clock=SystemClock(), threaded=True) as executor,
        joblib.parallel_config(backend="functions", n_jobs=-1, executor=executor),
    ):
        yield executor


def place(array: Any) -> tuple[int, int, bool]:
    """The worker, where it has the array, and whether it may write to it."""
    return os.getpid(), array.__array_interface__["data"][0], bool(array.flags.writeable)


def test_all_functions_are_used() -> None:
    assert joblib.effective_n_jobs(-1) == joblib.effective_n_jobs(1000) == WORKERS
    assert Parallel()(delayed(square)(x) for x in range(50)) == [x * x for x in range(50)]


def test_a_worker_reads_an_array_once(executor: FunctionExecutor) -> None:
    array = np.ones((500, 500))
    places = set(Parallel(batch_size=1)(delayed(place)(array) for _ in range(12)))
    assert not any(writable for _, _, writable in places)
    assert len(places) == len({pid for pid, _, _ in places}), "in one place in each worker"


def test_results_and_messages_through_the_storage_are_deleted(executor: FunctionExecutor) -> None:
    texts = [os.urandom(300_000) for _ in range(5)]
    assert Parallel(batch_size=1)(delayed(lambda text: text)(text) for text in texts) == texts
    keys = executor.storage.list_keys(executor.storage.bucket, JOBS_PREFIX)
    assert not [key for key in keys if "/arguments/" in key or "/results/" in key]


def test_no_more_calls_run_at_once_than_are_asked_for(tmp_path: Path) -> None:
    def count_others(number: int) -> int:
        mine = tmp_path / str(number)
        mine.touch()
        threading.Event().wait(0.05)
        others = len(list(tmp_path.iterdir()))
        mine.unlink()
        return others

    assert max(Parallel(n_jobs=2, batch_size=1)(delayed(count_others)(x) for x in range(10))) == 2


def test_the_executor_is_not_closed_and_holds_no_results(executor: FunctionExecutor) -> None:
    Parallel()(delayed(square)(x) for x in range(10))
    assert executor.futures == []
    assert executor.call_async(square, 3).result() == 9


def test_threads_of_libraries_are_the_cloud_s_concern_unless_they_are_bounded(
    executor: FunctionExecutor,
) -> None:
    def threads() -> str | None:
        return os.environ.get("NUMBA_NUM_THREADS")

    assert set(Parallel()(delayed(threads)() for _ in range(3))) == {None}
    with joblib.parallel_config("functions", n_jobs=2, inner_max_num_threads=4, executor=executor):
        assert set(Parallel()(delayed(threads)() for _ in range(3))) == {"4"}


# ---------------------------------------------------------------- what a worker keeps


class CountingStorage:
    """A storage whose objects have ten bytes each."""

    bucket = "bucket"

    def __init__(self) -> None:
        self.storage_handler = self
        self.reads: list[str] = []

    def get(self, bucket: str, key: str) -> bytes:
        self.reads.append(key)
        return key.encode().ljust(10)


@pytest.fixture
def storage() -> Any:
    return CountingStorage()


def read(reader: Reader, storage: Any, *keys: str) -> None:
    """One call, which reads these objects."""
    reader.start_call(storage)
    for key in keys:
        reader.read(key)
    reader.end_call()


def test_objects_are_kept_for_the_calls_that_follow(storage: Any) -> None:
    reader = Reader(keep_bytes=20)
    read(reader, storage, "run/a", "run/b")
    read(reader, storage, "run/b", "run/a")
    assert storage.reads == ["run/a", "run/b"]


def test_the_oldest_goes_first_where_it_is_too_much(storage: Any) -> None:
    reader = Reader(keep_bytes=20)
    for keys in (["run/a"], ["run/b"], ["run/a"], ["run/c"]):
        read(reader, storage, *keys)
    storage.reads.clear()
    read(reader, storage, "run/a", "run/c", "run/b")
    assert storage.reads == ["run/b"]


def test_what_a_call_uses_is_kept_however_much_it_is(storage: Any) -> None:
    reader = Reader(keep_bytes=5)
    read(reader, storage, "run/a", "run/b")
    read(reader, storage, "run/a", "run/b")
    assert storage.reads == ["run/a", "run/b"]


def test_nothing_is_kept_of_another_run(storage: Any) -> None:
    reader = Reader()
    for key in ("one/a", "two/a", "one/a"):
        read(reader, storage, key)
    assert storage.reads == ["one/a", "two/a", "one/a"]


def test_what_may_be_written_to_is_a_copy(storage: Any) -> None:
    reader = Reader()
    reader.start_call(storage)
    copy: Any = reader.read("run/a", writable=True)
    copy[:] = b"x" * 10
    assert bytes(reader.read("run/a")) == b"run/a     "
    assert storage.reads == ["run/a"]

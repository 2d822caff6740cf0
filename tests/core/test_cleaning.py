"""What executors put into storage, and what they take out of it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lithops
from lithops import FunctionExecutor
from lithops.storage.utils import CloudObject, StorageNoSuchKeyError
from lithops.wire.keys import CLOUDOBJECTS_PREFIX, JOBS_PREFIX, functions_prefix

pytestmark = pytest.mark.localhost_storage
LARGE = 9 << 20


def large(letter: str) -> str:
    return letter * LARGE


def put(text: str, storage: lithops.Storage) -> CloudObject:
    return storage.put_cloudobject(text)


def large_function() -> Callable[..., int]:
    data = b"x" * LARGE
    return lambda _: len(data)


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[FunctionExecutor]:
    """An executor with a storage of its own."""
    config = {
        "localhost": {"root": str(tmp_path / "root"), "worker_processes": 1},
        "lithops": {"data_limit": False},
    }
    with FunctionExecutor(config=config, log_level=None) as fexec:
        yield fexec


def keys(fexec: FunctionExecutor, prefix: str = "") -> list[str]:
    return fexec.storage.list_keys(fexec.storage.bucket, prefix)


def test_small_things_are_not_stored_at_all(stored: FunctionExecutor) -> None:
    assert stored.map(len, ["a", "bc"]).get_result() == [1, 2]
    assert keys(stored) == []


def test_arguments_results_and_functions_are_stored_once(stored: FunctionExecutor) -> None:
    assert stored.call_async(len, "x" * LARGE).result() == LARGE
    assert len(stored.call_async(large, "y").result()) == LARGE
    function = large_function()
    for _ in range(2):
        assert stored.map(function, [1, 2]).get_result() == [LARGE, LARGE]
    prefix = f"{JOBS_PREFIX}{stored.executor_id}"
    arguments, result, *functions = keys(stored, JOBS_PREFIX)
    assert arguments == f"{prefix}-A000/arguments/00000"
    assert result.startswith(f"{prefix}-A001/results/00000.")
    assert len(functions) == 1
    assert functions == keys(stored, functions_prefix(stored.executor_id))


def test_large_arguments_share_objects(stored: FunctionExecutor) -> None:
    texts = [letter * (LARGE // 8) for letter in "abcdefghij"]
    futures = stored.map(min, [(text + "A" * LARGE,) for text in texts])
    assert futures.get_result() == ["A"] * 10
    stored_keys = keys(stored, JOBS_PREFIX)
    assert stored_keys == [f"{JOBS_PREFIX}{futures[0].job_key}/arguments/{number:05d}" for number in range(2)]


def test_leaving_an_executor_removes_its_data_alone(tmp_path: Path) -> None:
    config = {"localhost": {"root": str(tmp_path), "worker_processes": 1}}
    with FunctionExecutor(config=config, log_level=None) as kept:
        kept.call_async(large, "k").result()
        with FunctionExecutor(config=config, log_level=None) as left:
            left.call_async(large, "l").result()
            left.call_async(large_function(), 1).result()
            assert len(keys(kept, JOBS_PREFIX)) == 3
        (left_over,) = keys(kept, JOBS_PREFIX)
        assert left_over.startswith(f"{JOBS_PREFIX}{kept.executor_id}-A000/results/00000.")


def test_data_may_be_kept(tmp_path: Path) -> None:
    config = {"localhost": {"root": str(tmp_path), "worker_processes": 1}, "lithops": {"data_cleaner": False}}
    with FunctionExecutor(config=config, log_level=None) as fexec:
        fexec.call_async(large, "k").result()
    assert len(keys(fexec, JOBS_PREFIX)) == 1


def test_clean_leaves_what_nobody_has_read(stored: FunctionExecutor) -> None:
    read, unread = stored.call_async(large, "r"), stored.call_async(large, "u")
    read.result()
    unread.status()
    stored.clean()
    (left_over,) = keys(stored, JOBS_PREFIX)
    assert left_over.startswith(f"{JOBS_PREFIX}{unread.job_key}/results/00000.")
    assert len(unread.result()) == LARGE
    stored.clean(fs=read)
    assert len(keys(stored, JOBS_PREFIX)) == 1
    stored.clean(fs=unread)
    assert keys(stored, JOBS_PREFIX) == []


def test_clean_with_force_leaves_nothing(stored: FunctionExecutor) -> None:
    stored.call_async(large, "u").status()
    stored.call_async(large_function(), 1).result()
    stored.clean(force=True)
    assert keys(stored) == keys(stored, functions_prefix(stored.executor_id)) != []
    stored.clean(clean_fn=True)
    assert keys(stored) == []


def test_a_result_that_was_cleaned_away_says_so(stored: FunctionExecutor) -> None:
    future = stored.call_async(large, "u")
    future.status()
    stored.clean(force=True)
    with pytest.raises(StorageNoSuchKeyError, match=r"there is no object 'lithops\.jobs/"):
        future.result()


def test_cloud_objects_of_calls_and_of_the_client(stored: FunctionExecutor) -> None:
    objects = stored.map(put, ["one", "two"]).get_result()
    own = stored.storage.put_cloudobject("of the client")
    assert [stored.storage.get_cloudobject(each) for each in objects] == [b"one", b"two"]
    stored.clean(cs=[objects[0]])
    assert len(keys(stored, CLOUDOBJECTS_PREFIX)) == 2
    stored.clean(clean_cloudobjects=False)
    assert stored.storage.get_cloudobject(objects[1]) == b"two"
    stored.clean()
    assert keys(stored, CLOUDOBJECTS_PREFIX) == []
    with pytest.raises(StorageNoSuchKeyError):
        stored.storage.get_cloudobject(own)


def test_cloud_objects_outlive_their_executor(tmp_path: Path) -> None:
    config: dict[str, Any] = {"localhost": {"root": str(tmp_path), "worker_processes": 1}}
    with FunctionExecutor(config=config, log_level=None) as fexec:
        cloudobject = fexec.call_async(put, "still there").result()
    assert lithops.Storage(config).get_cloudobject(cloudobject) == b"still there"


def test_two_programs_use_one_storage(
    tmp_path: Path, run_program: Callable[..., subprocess.CompletedProcess[str]], stored: FunctionExecutor
) -> None:
    """Another program's data is its own, though the function is shared."""
    stored.call_async(large, "s").result()
    program = """
import sys, lithops
config = {"localhost": {"root": sys.argv[1], "worker_processes": 1}}
with lithops.FunctionExecutor(config=config, log_level=None) as fexec:
    assert len(fexec.call_async(lambda letter: letter * 9_000_000, "p").result()) == 9_000_000
    print(len(fexec.storage.list_keys(fexec.storage.bucket, "lithops.jobs/")))
"""
    assert run_program(program, str(tmp_path / "root")).stdout == "2\n"
    assert len(keys(stored, JOBS_PREFIX)) == 1

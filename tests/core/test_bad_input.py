"""Mistakes are told before anything is sent: no worker is started for them, and nothing is stored."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import lithops
from lithops import FunctionExecutor, RetryingFunctionExecutor
from lithops.exceptions import (
    DataLimitExceeded,
    InvalidCall,
    InvalidKey,
    NotSerializable,
)
from lithops.wire.keys import JOBS_PREFIX

Workers = Callable[..., set[int]]


def two(x: Any, y: Any) -> list[Any]:
    return [x, y]


def read(obj: Any) -> bytes:
    data: bytes = obj.data_stream.read()
    return data


def total(results: list[Any]) -> int:
    return len(results)


class Plain:
    """Has no __call__."""


class Untouched:
    """An executor to make mistakes with, which must not notice any."""

    def __init__(self, fexec: FunctionExecutor, workers: Workers) -> None:
        self.fexec = fexec
        self._workers = workers
        self._before = workers()

    def refuses(self, make: Callable[[FunctionExecutor], Any], kind: type[Exception], message: str) -> None:
        with pytest.raises(kind) as caught:
            make(self.fexec)
        assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)
        assert self.fexec.futures == []
        assert self._workers() == self._before
        storage = self.fexec.storage
        storage.create_bucket(storage.bucket)
        assert storage.list_keys(storage.bucket, JOBS_PREFIX) == []


@pytest.fixture
def untouched(tmp_path: Path, workers: Workers) -> Iterator[Untouched]:
    config = {"localhost": {"worker_processes": 1, "root": str(tmp_path / "storage")}}
    with FunctionExecutor(config=config, log_level=None) as fexec:
        yield Untouched(fexec, workers)
        assert fexec.map(two, [(1, 2)]).get_result(timeout=20) == [[1, 2]], "it can be used all the same"


LOCK = threading.Lock()


class Unpicklable:
    def __init__(self) -> None:
        self.lock = LOCK


def big_local_function() -> Callable[..., int]:
    data = b"x" * (9 << 20)
    return lambda *_: len(data)


MISTAKES: dict[str, tuple[Callable[[FunctionExecutor], Any], type[Exception], str]] = {
    # functions
    "a value": (
        lambda f: f.map(5, [1]),  # type: ignore[arg-type]
        InvalidCall,
        r"^5 \(int\) cannot be called\. Pass the function itself, a method, a class, or an object",
    ),
    "an instance without __call__": (
        lambda f: f.call_async(Plain(), 1),  # type: ignore[arg-type]
        ValueError,
        r"\(Plain\) cannot be called: class 'Plain' has no __call__ method",
    ),
    "a reducer that is none": (
        lambda f: f.map_reduce(two, [(1, 2)], "total"),  # type: ignore[arg-type]
        InvalidCall,
        r"^'total' \(str\) cannot be called",
    ),
    "a function that cannot be pickled": (
        lambda f: f.map(lambda x: LOCK, [1]),
        NotSerializable,
        r"^function '.*<lambda>' cannot be sent to a worker: it uses global 'LOCK' \(.*lock\), and that cannot be "
        r"pickled \(TypeError: cannot pickle '_thread.lock' object\)\. Create it inside the function",
    ),
    "a reducer that cannot be pickled": (
        lambda f: f.map_reduce(two, [(1, 2)], lambda results: LOCK),
        NotSerializable,
        r"it uses global 'LOCK'",
    ),
    "a reducer that takes too much": (
        lambda f: f.map_reduce(two, [(1, 2)], two),
        InvalidCall,
        r"missing: y",
    ),
    "a reducer of objects": (
        lambda f: f.map_reduce(two, [(1, 2)], read),
        InvalidCall,
        r"'read' has a parameter obj, which stands for data by name, but it is called with results of other calls",
    ),
    "one reducer for each of no objects": (
        lambda f: f.map_reduce(two, [(1, 2)], total, obj_reduce_by_key=True),
        InvalidCall,
        r"obj_reduce_by_key needs a map function with the parameter obj: one reducer for each object",
    ),
    # arguments
    "names that the function does not have": (
        lambda f: f.map(two, [{"x": 1, "y": 2}, {"x": 1, "z": 2}]),
        ValueError,
        r"^element 1 of the input data does not fit two\(x.*, y.*\).*\. It takes: x, y; given: x, z; "
        r"missing: y; unknown: z\. To pass a dict or a tuple whole, wrap it in a tuple of one$",
    ),
    "too few arguments": (
        lambda f: f.map(two, [(1,)]),
        InvalidCall,
        r"^element 0 .* does not fit two\(.*It takes: x, y; given: x; missing: y",
    ),
    "too many arguments": (
        lambda f: f.call_async(two, (1, 2, 3)),
        InvalidCall,
        r"does not fit two\(.*: it takes 2 arguments by position from the data, 3 were given: \(1, 2, 3\)",
    ),
    "extra arguments of another kind": (
        lambda f: f.map(two, [{"x": 1}], extra_args=(2,)),
        InvalidCall,
        r"is a dict, so extra_args must be a dict as well: name the arguments in \(2,\)",
    ),
    "extra arguments that are neither": (
        lambda f: f.map(two, [1], extra_args=2),  # type: ignore[arg-type]
        InvalidCall,
        r"^extra_args is 2 \(int\): pass a tuple for arguments by position, or a dict for arguments by name",
    ),
    # input data
    "data that cannot be iterated over": (
        lambda f: f.map(two, 5),
        InvalidCall,
        r"^the input data is 5 \(int\), which cannot be iterated over: pass a list with one element for each "
        r"call, or use call_async for one call$",
    ),
    "an element that cannot be pickled": (
        lambda f: f.map(two, [(1, 2), (1, {"deep": [Unpicklable()]})]),
        NotSerializable,
        r"^element 1 of the input data cannot be sent to a worker: argument 1 holds under key 'deep' a value "
        r"\(list\), which holds as element 0 a value \(.*Unpicklable\), which has attribute 'lock' \(.*lock\), "
        r"and that cannot be pickled \(TypeError: cannot pickle '_thread.lock' object\)",
    ),
    "more data than allowed": (
        lambda f: f.map(two, [(b"x" * (1 << 20), i) for i in range(5)]),
        DataLimitExceeded,
        r"^the input data is more than 4 MiB with element 3: put large data into storage and pass its name, or raise "
        r"lithops: data_limit in the configuration \(false: no limit\)$",
    ),
    "more data than allowed, though a large function could be stored": (
        lambda f: f.map(big_local_function(), [b"x" * (5 << 20)]),
        DataLimitExceeded,
        r"more than 4 MiB with element 0",
    ),
    # data by name
    "kinds of names that do not mix": (
        lambda f: f.map(read, ["bucket/key", "https://example.org/data"]),
        InvalidCall,
        r"^the input data is of different kinds: element 0 is the .* 'bucket/key', element 1 the .*"
        r"'https://example.org/data'; map over one kind at a time$",
    ),
    "a prefix that selects nothing": (
        lambda f: f.map(read, [stored(f), "of-this-test/none/"]),
        InvalidCall,
        r"^'of-this-test/none/', element 1 of the input data, selects nothing; check the name",
    ),
    "a glob that selects nothing": (
        lambda f: f.map(read, [f"{stored(f)}*.parquet"]),
        InvalidCall,
        r"^'of-this-test/data.txt\*\.parquet', element 0 of the input data, selects nothing",
    ),
    "an object that is not there": (
        lambda f: f.map(read, [stored(f) + "x"]),
        lithops.exceptions.StorageError,
        r"^there is no object 'data.txtx' in bucket 'of-this-test' \(localhost://of-this-test/data.txtx\); ",
    ),
    "a bucket that is not there": (
        lambda f: f.map(read, ["no-such-bucket"]),
        lithops.exceptions.StorageError,
        r"there is no bucket 'no-such-bucket'",
    ),
    "a path that is not there": (
        lambda f: f.map(read, ["/no/such/file"]),
        InvalidCall,
        r"^'/no/such/file' cannot be read: No such file or directory$",
    ),
    "a name of another storage": (
        lambda f: f.map(read, ["s3://bucket/key"]),
        InvalidCall,
        r"^'s3://bucket/key' lies in another storage than this executor's, which is 'localhost'",
    ),
    "several objects for one call": (
        lambda f: f.call_async(read, several(f)),
        InvalidCall,
        r"^the data names 2 objects \('data.txt' in bucket 'of-this-test', .*, which are as many calls: use map$",
    ),
    "a name that leaves the storage's folder": (
        lambda f: f.map(read, ["bucket/../../etc/passwd"]),
        InvalidKey,
        r"^the key '../../etc/passwd' is not allowed: take one without a leading '/', NUL, or '..' segments$",
    ),
    # options
    "chunks without size": (
        lambda f: f.map(read, [stored(f)], obj_chunk_size=0),
        InvalidCall,
        r"^obj_chunk_size is 0; it has to be a whole number of 1 or more, or None$",
    ),
    "no chunks at all": (
        lambda f: f.map(read, [stored(f)], obj_chunk_number=-1),
        InvalidCall,
        r"^obj_chunk_number is -1; it has to be a whole number",
    ),
    "tasks without calls": (
        lambda f: f.map(two, [(1, 2)], chunksize=0),
        InvalidCall,
        r"^chunksize is 0: it must be 1 or more$",
    ),
    "no time": (
        lambda f: f.map(two, [(1, 2)], timeout=0),
        InvalidCall,
        r"^timeout is 0: it must be more than 0$",
    ),
    "a time that is a text": (
        lambda f: f.map(two, [(1, 2)], timeout="5"),  # type: ignore[arg-type]
        InvalidCall,
        r"^timeout is '5': it must be a number$",
    ),
    "negative retries": (
        lambda f: f.call_async(two, (1, 2), retries=-1),
        InvalidCall,
        r"^retries is -1: it must be 0 or more$",
    ),
    "an environment of numbers": (
        lambda f: f.call_async(two, (1, 2), extra_env={"N": 1}),  # type: ignore[dict-item]
        InvalidCall,
        r"^extra_env holds 'N': 1; names and values must be texts$",
    ),
    "one module's name instead of a list": (
        lambda f: f.call_async(two, (1, 2), include_modules="numpy"),  # type: ignore[arg-type]
        InvalidCall,
        r"modules are given as a list of names, not as the text 'numpy': use \['numpy'\]",
    ),
    "retries of a class without __call__": (
        lambda f: RetryingFunctionExecutor(f).map(Plain(), [1]),  # type: ignore[arg-type]
        InvalidCall,
        r"class 'Plain' has no __call__ method",
    ),
}


def stored(fexec: FunctionExecutor) -> str:
    fexec.storage.create_bucket("of-this-test")
    fexec.storage.put_object("of-this-test", "data.txt", "text\n" * 10)
    return "of-this-test/data.txt"


def several(fexec: FunctionExecutor) -> str:
    stored(fexec)
    fexec.storage.put_object("of-this-test", "more.txt", "text")
    return "of-this-test"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(untouched: Untouched, mistake: str) -> None:
    untouched.refuses(*MISTAKES[mistake])


def test_the_data_limit_can_be_raised_or_lifted() -> None:
    data = [b"x" * (5 << 20)]
    for limit in (10, False):
        config = {"lithops": {"data_limit": limit}, "localhost": {"worker_processes": 1}}
        with FunctionExecutor(config=config, log_level=None) as fexec:
            assert fexec.map(len, data).get_result(timeout=20) == [5 << 20]


def test_a_large_function_may_be_the_first_thing_stored(tmp_path: Path) -> None:
    config = {"localhost": {"worker_processes": 1, "root": str(tmp_path / "new")}}
    with FunctionExecutor(config=config, log_level=None) as fexec:
        assert fexec.map(big_local_function(), [1]).get_result(timeout=20) == [9 << 20]

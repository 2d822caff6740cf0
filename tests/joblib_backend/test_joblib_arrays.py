"""Large arrays reach the workers through the storage, once, and leave nothing there."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from joblib import Parallel, delayed
from parallel_backends import context, square

from lithops import Storage
from lithops.storage.base import Body
from lithops.storage.client import Storage as StorageClient
from lithops.wire.keys import JOBS_PREFIX

LARGE = (500, 500)
"""Two million bytes of float64."""
SMALL = (100, 200)
"""160,000 bytes: stored, but each call has a copy of its own."""


@pytest.fixture(scope="module", autouse=True)
def lithops_context(nothing_left_behind: None) -> Iterator[None]:
    with context("lithops"):
        yield


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = left()
    yield
    assert left() - before == set()


def left() -> set[str]:
    """The objects of jobs that are in the storage; other tests may have left some."""
    storage = Storage()
    return set(storage.list_keys(storage.bucket, JOBS_PREFIX))


class Model:
    """Something that holds an array."""

    def __init__(self, weights: Any) -> None:
        self.weights = weights


def look(array: Any, *_: Any) -> tuple[float, bool]:
    """The sum of an array, and whether it can be written to."""
    return float(array.sum()), bool(array.flags.writeable)


def look_into(model: Model, _: int) -> tuple[float, bool]:
    return look(model.weights)


def add_one(array: Any, _: int) -> float:
    array += 1
    return float(array[0, 0])


def echo(value: Any) -> Any:
    return value


def fill(array: Any, row: int) -> None:
    array[row] = row


# ---------------------------------------------------------------- once, and shared


def test_an_array_of_many_calls_is_stored_once(stored: list[str]) -> None:
    array = np.ones(LARGE)
    results = Parallel(batch_size=1)(delayed(look)(array, x) for x in range(20))
    assert results == [(array.sum(), False)] * 20
    assert len(stored) == 1


def test_arrays_within_objects_and_closures_are_the_same_ones(stored: list[str]) -> None:
    array = np.ones(LARGE)
    model = Model(array)
    assert (
        Parallel(batch_size=1)(delayed(look_into)(model, x) for x in range(4)) == [(array.sum(), False)] * 4
    )
    assert (
        Parallel(batch_size=1)(delayed(lambda _: look(array))(x) for x in range(4))
        == [(array.sum(), False)] * 4
    )
    assert len(stored) == 2, "once for each run"


def test_a_frame_is_stored_once(stored: list[str]) -> None:
    frame = pd.DataFrame(np.arange(200_000.0).reshape(1000, 200))
    total = float(frame.to_numpy().sum())
    sums = Parallel(batch_size=1)(delayed(lambda f, _: float(f.sum().sum()))(frame, x) for x in range(6))
    assert sums == [total] * 6
    assert len(stored) == 1


def test_what_changes_between_runs_is_sent_anew() -> None:
    array = np.ones(LARGE)
    with Parallel() as parallel:
        first = parallel(delayed(look)(array, x) for x in range(2))
        array += 1
        second = parallel(delayed(look)(array, x) for x in range(2))
    assert first == [(array.size, False)] * 2
    assert second == [(2 * array.size, False)] * 2


def test_arrays_of_one_call_each_are_deleted_as_the_run_goes_on(stored: list[str]) -> None:
    before = left()
    counts: list[int] = []

    def calls() -> Iterator[Any]:
        for x in range(30):
            # It is read by the thread that has just taken note of a call's end.
            counts.append(len(left() - before))
            yield delayed(look)(np.full(LARGE, x), x)

    Parallel(batch_size=1, pre_dispatch=2)(calls())
    assert len(stored) == 30
    assert max(counts) < 8


# ---------------------------------------------------------------- as joblib is told


def test_small_arrays_are_each_call_s_own() -> None:
    array = np.zeros(SMALL)
    assert Parallel()(delayed(add_one)(array, x) for x in range(4)) == [1.0] * 4
    assert array.sum() == 0


def test_large_arrays_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Parallel()(delayed(add_one)(np.zeros(LARGE), x) for x in range(2))


def test_copies_on_write_can_be_asked_for(stored: list[str]) -> None:
    array = np.zeros(LARGE)
    assert Parallel(mmap_mode="c", batch_size=1)(delayed(add_one)(array, x) for x in range(4)) == [1.0] * 4
    assert len(stored) == 1


@pytest.mark.parametrize("options", [{"max_nbytes": None}, {"mmap_mode": None}])
def test_sharing_can_be_refused(options: dict[str, Any], stored: list[str]) -> None:
    array = np.zeros(LARGE)
    assert Parallel(batch_size=1, **options)(delayed(add_one)(array, x) for x in range(4)) == [1.0] * 4
    assert len(stored) == 4, "each message holds it, and is too large to be sent otherwise"


def test_the_size_from_which_arrays_are_read_only_is_the_caller_s() -> None:
    array = np.ones(SMALL)
    assert Parallel(max_nbytes="100K")(delayed(look)(array) for _ in range(2)) == [(array.sum(), False)] * 2
    with joblib.parallel_config(max_nbytes=5000):
        tiny = np.ones(1000)
        assert Parallel()(delayed(look)(tiny) for _ in range(2)) == [(1000.0, False)] * 2


# ---------------------------------------------------------------- every kind of array

ARRAYS: dict[str, Any] = {
    "C order": np.arange(250_000.0).reshape(LARGE),
    "Fortran order": np.asfortranarray(np.arange(250_000.0).reshape(LARGE)),
    "every other element": np.arange(500_000.0).reshape(500, 1000)[:, ::2],
    "backwards": np.arange(250_000)[::-1],
    "dates": np.arange("1000", "1400", dtype="datetime64[h]"),
    "records": np.zeros(100_000, dtype=[("a", "i4"), ("b", "S12")]),
    "texts": np.full(50_000, "text"),
    "objects": np.array([None, "x", 1] * 100, dtype=object),
    "broadcast": np.broadcast_to(np.arange(1000.0), (300, 1000)),
    "record array": np.zeros(100_000, dtype=[("a", "i4")]).view(np.recarray),
    "masked": np.ma.masked_greater(np.arange(200_000.0), 100_000),
    "no elements": np.zeros((0, 5)),
    "no dimensions": np.array(5.0),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_an_array_arrives_as_it_is(kind: str) -> None:
    array = ARRAYS[kind]
    for received in Parallel(batch_size=1)(delayed(echo)(array) for _ in range(2)):
        assert type(received) is type(array)
        assert received.dtype == array.dtype
        np.testing.assert_array_equal(received, array)


def test_workers_write_into_an_array_over_a_file(tmp_path: Path, stored: list[str]) -> None:
    output = np.memmap(tmp_path / "output", mode="w+", dtype=np.int64, shape=(8, 4))
    Parallel()(delayed(fill)(output[::-1], row) for row in range(8))
    assert output[:, 0].tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
    assert stored == []


def test_arrays_over_files_are_not_copied(tmp_path: Path, stored: list[str]) -> None:
    np.save(tmp_path / "input.npy", np.arange(250_000.0).reshape(LARGE))
    array = np.load(tmp_path / "input.npy", mmap_mode="r")
    part = array[10:20, 5:]
    assert Parallel()(delayed(look)(part) for _ in range(2)) == [(float(part.sum()), False)] * 2
    assert stored == []


def test_changes_that_are_in_no_file_are_sent(tmp_path: Path) -> None:
    np.save(tmp_path / "input.npy", np.zeros(LARGE))
    array = np.load(tmp_path / "input.npy", mmap_mode="c")
    array += 1
    assert Parallel()(delayed(look)(array) for _ in range(2)) == [(array.size, False)] * 2


# ---------------------------------------------------------------- other large things


def test_messages_and_results_may_be_large() -> None:
    text = "x" * (9 << 20)
    assert Parallel(batch_size=1)(delayed(echo)(text) for _ in range(3)) == [text] * 3


def test_nothing_is_left_after_an_error() -> None:
    def fail(array: Any, number: int) -> None:
        raise KeyError(number)

    with pytest.raises(KeyError):
        Parallel(batch_size=1)(delayed(fail)(np.ones(LARGE), x) for x in range(10))


def test_nothing_is_left_of_a_generator_that_is_given_up() -> None:
    results: Any = Parallel(return_as="generator", batch_size=1)(
        delayed(look)(np.ones(LARGE), x) for x in range(50)
    )
    next(results)
    with pytest.warns(UserWarning, match=r"cancelled|not used"):
        results.close()
    assert Parallel()(delayed(square)(x) for x in range(3)) == [0, 1, 4]


def test_an_array_that_cannot_be_stored_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: StorageClient, bucket: str, key: str, body: Body) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(StorageClient, "put_object", refuse)
    with pytest.raises(OSError, match="disk is full"):
        Parallel()(delayed(look)(np.ones(LARGE), x) for x in range(2))
    gc.collect()

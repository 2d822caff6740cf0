"""Exceptions of all odd kinds travel: as themselves where that is possible, else as their words."""

from __future__ import annotations

import pickle
from typing import Any

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithops.exceptions import (
    CallCancelled,
    CallError,
    CallTimeout,
    OutOfMemory,
    RemoteError,
    RemoteTraceback,
    StorageNoSuchKeyError,
    WorkerLost,
)
from lithops.wire.failures import error_of, failure_of
from lithops.wire.messages import Failure, FailureKind, InlineBlob


def there_and_back(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as raised:  # noqa: BLE001 - whatever it is
        failure = failure_of(raised, cloudpickle.dumps)
    assert failure.kind is FailureKind.RAISED
    assert "there_and_back" in failure.traceback
    body = failure.exception
    assert body is None or isinstance(body, InlineBlob)
    arrived = error_of(failure, None if body is None else bytes(body.data))
    assert isinstance(arrived.__cause__, RemoteTraceback)
    assert "there_and_back" in str(arrived.__cause__)
    return arrived


class NeedsMore(Exception):
    def __init__(self, first: int, second: str, *, third: bool) -> None:
        super().__init__(f"{first} {second}")
        self.first, self.second, self.third = first, second, third


class ForgetsItsArguments(Exception):
    def __init__(self, number: int) -> None:
        self.number = number


class CannotBeShown(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this works")

    __repr__ = __str__


class CannotBeReduced(Exception):
    def __reduce__(self) -> Any:
        raise RuntimeError("I stay here")


class ReducesToSomethingElse(Exception):
    def __reduce__(self) -> Any:
        return int, (7,)


class CannotBeLoaded(Exception):
    def __reduce__(self) -> Any:
        return _fail, ()


class LoadsOnlyHere(Exception):
    """Loads where it was made, and nowhere else."""

    loads_left = 1

    def __reduce__(self) -> Any:
        return _load_once, ()


def _fail() -> None:
    raise RuntimeError("not today")


def _load_once() -> LoadsOnlyHere:
    LoadsOnlyHere.loads_left -= 1
    if LoadsOnlyHere.loads_left < 0:
        raise RuntimeError("not there")
    return LoadsOnlyHere("here")


def test_a_constructor_that_needs_more() -> None:
    arrived = there_and_back(NeedsMore(1, "two", third=True))
    assert type(arrived) is NeedsMore
    assert (arrived.first, arrived.second, arrived.third, arrived.args) == (1, "two", True, ("1 two",))


def test_a_constructor_that_hands_nothing_on() -> None:
    arrived = there_and_back(ForgetsItsArguments(5))
    assert type(arrived) is ForgetsItsArguments
    assert (arrived.number, arrived.args) == (5, (5,))


def test_an_attribute_that_cannot_be_pickled() -> None:
    error = ValueError("with a generator")
    error.numbers = (number for number in range(3))  # type: ignore[attr-defined]
    arrived = there_and_back(error)
    assert isinstance(arrived, RemoteError)
    assert (arrived.type_name, arrived.message) == ("ValueError", "with a generator")


def test_an_exception_that_cannot_be_shown() -> None:
    arrived = there_and_back(CannotBeShown("secret"))
    assert type(arrived) is CannotBeShown
    assert arrived.args == ("secret",)


def test_an_exception_that_can_neither_be_shown_nor_pickled() -> None:
    arrived = there_and_back(CannotBeShown(number for number in range(3)))
    assert isinstance(arrived, RemoteError)
    assert arrived.type_name == "CannotBeShown"
    assert "cannot be shown" in arrived.message


def test_an_exception_whose_reduction_fails() -> None:
    arrived = there_and_back(CannotBeReduced("words"))
    assert type(arrived) is CannotBeReduced
    assert arrived.args == ("words",)


def test_an_exception_that_reduces_to_something_else() -> None:
    arrived = there_and_back(ReducesToSomethingElse("words"))
    assert type(arrived) is ReducesToSomethingElse
    assert arrived.args == ("words",)


def test_an_exception_whose_loading_fails() -> None:
    arrived = there_and_back(CannotBeLoaded("words"))
    assert type(arrived) is CannotBeLoaded
    assert arrived.args == ("words",)


def test_an_exception_that_cannot_be_loaded_on_the_client() -> None:
    arrived = there_and_back(LoadsOnlyHere("here"))
    assert isinstance(arrived, RemoteError)
    assert arrived.type_name == "LoadsOnlyHere"
    assert "not there" in arrived.message


def test_a_local_class() -> None:
    class Local(LookupError):
        def __init__(self, code: int, detail: str) -> None:
            super().__init__(code)
            self.detail = detail

    arrived = there_and_back(Local(4, "here"))
    assert type(arrived) is Local
    assert (arrived.args, arrived.detail) == ((4,), "here")


@pytest.mark.parametrize(
    "error",
    [
        KeyError("k"),
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        StopIteration(5),
        OSError(2, "No such file", "name"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
        StorageNoSuchKeyError("bucket", "key"),
        RemoteError("Inner", "came from afar"),
        ValueError("\ud800 lone surrogate"),
        RecursionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_common_exceptions_arrive_as_themselves(error: BaseException) -> None:
    arrived = there_and_back(error)
    assert type(arrived) is type(error)
    assert arrived.args == error.args
    assert str(arrived) == str(error)
    assert {**vars(arrived)} == {**vars(error)}


@given(st.lists(st.none() | st.integers() | st.text(), max_size=4))
def test_arguments_of_all_kinds(arguments: list[Any]) -> None:
    assert there_and_back(ValueError(*arguments)).args == tuple(arguments)


def test_frames_of_the_worker_are_left_out() -> None:
    def user_code() -> None:
        raise ValueError("here")

    try:
        user_code()
    except ValueError as error:
        failure = failure_of(error, pickle.dumps, skip_frames=1)
    assert "user_code" in failure.traceback
    assert "test_frames_of_the_worker" not in failure.traceback


def test_a_cause_is_in_the_words() -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error
    except ValueError as error:
        failure = failure_of(error, pickle.dumps)
    assert "KeyError: 'first'" in failure.traceback
    assert "direct cause" in failure.traceback


@pytest.mark.parametrize(
    ("kind", "error", "standard"),
    [
        (FailureKind.LOST, WorkerLost, Exception),
        (FailureKind.TIMEOUT, CallTimeout, TimeoutError),
        (FailureKind.MEMORY, OutOfMemory, MemoryError),
        (FailureKind.CANCELLED, CallCancelled, Exception),
    ],
)
def test_calls_that_did_not_return(
    kind: FailureKind, error: type[CallError], standard: type[Exception]
) -> None:
    arrived = error_of(Failure(kind, kind.value, "the reason"), None)
    assert type(arrived) is error
    assert isinstance(arrived, standard)
    assert str(arrived) == "the reason"
    assert arrived.__cause__ is None


def test_bytes_that_are_no_exception() -> None:
    failure = Failure(FailureKind.RAISED, "Odd", "words", exception=InlineBlob(b""))
    for body in (pickle.dumps("a text"), b"no pickle", b""):
        arrived = error_of(failure, body)
        assert isinstance(arrived, RemoteError)
        assert arrived.type_name == "Odd"

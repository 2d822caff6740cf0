"""Whatever goes wrong inside a function comes back as an error of its own call, with the remote traceback."""

from __future__ import annotations

import os
import re
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from lithops import FunctionExecutor
from lithops.exceptions import NotSerializable, RemoteError, RemoteTraceback


class WithAttributes(Exception):
    def __init__(self, message: str, *, code: int, extra: dict[str, int]) -> None:
        super().__init__(message)
        self.code = code
        self.extra = extra


class NeedsTwo(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")
        self.second = second


class HoldsALock(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


class ExitsWhenPickled(Exception):
    def __reduce__(self) -> NoReturn:
        raise SystemExit(3)


class CannotBeShown(Exception):
    def __str__(self) -> NoReturn:
        raise SystemExit(4)


class Endless:
    def __reduce__(self) -> tuple[Any, ...]:
        return list, ([Endless()],)


def raise_with_attributes() -> None:
    raise WithAttributes("with attributes", code=7, extra={"a": 1})


def raise_needs_two() -> None:
    raise NeedsTwo("one", "two")


def raise_holding_a_lock() -> None:
    raise HoldsALock("it has a lock")


def raise_exits_when_pickled() -> None:
    raise ExitsWhenPickled("stubborn")


def raise_cannot_be_shown() -> None:
    raise CannotBeShown


def raise_local_class() -> None:
    class OfThisCall(ValueError):
        pass

    raise OfThisCall("local")


def raise_strange_text() -> None:
    raise FileNotFoundError(2, "no file", os.fsdecode(b"caf\xe9"))


def raise_chained() -> None:
    try:
        int("x")
    except ValueError as error:
        raise KeyError("chained") from error


def raise_large() -> None:
    raise ValueError("x" * (9 << 20))


def return_a_lock() -> Any:
    return {"inside": [threading.Lock()]}


def return_a_generator() -> Iterator[int]:
    yield 1


def return_endless() -> Endless:
    return Endless()


def exit_in_order() -> None:
    sys.exit(5)


def interrupt_itself() -> None:
    raise KeyboardInterrupt("its own")


def recurse(depth: int = 0) -> int:
    return recurse(depth + 1)


def exhaust_memory() -> int:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))
    try:
        return len(bytearray(2 << 30))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


ROWS: dict[str, tuple[Callable[[], Any], type[BaseException], str]] = {
    "exception with attributes": (raise_with_attributes, WithAttributes, r"^with attributes$"),
    "exception whose constructor needs more": (raise_needs_two, NeedsTwo, r"^one and two$"),
    "exception that cannot be pickled": (raise_holding_a_lock, RemoteError, r"^HoldsALock: it has a lock$"),
    "exception that exits when pickled": (raise_exits_when_pickled, ExitsWhenPickled, r"^stubborn$"),
    "exception of a class of its own": (raise_local_class, ValueError, r"^local$"),
    "exception with a name that is no text": (
        raise_strange_text,
        FileNotFoundError,
        r"no file: 'caf\\udce9'",
    ),
    "exception with a cause": (raise_chained, KeyError, r"^'chained'$"),
    "exception that is large": (raise_large, ValueError, r"^x{9437184}$"),
    "result that cannot be pickled": (
        return_a_lock,
        NotSerializable,
        r"^the function returned an object of type dict, which cannot be pickled: cannot pickle '_thread.lock' object; "
        r"return plain data instead, or put it in storage and return its name$",
    ),
    "generator": (
        return_a_generator,
        NotSerializable,
        r"an object of type generator, which cannot be pickled",
    ),
    "result that never ends": (
        return_endless,
        NotSerializable,
        r"Endless, which cannot be pickled: .*recursion",
    ),
    "sys.exit": (exit_in_order, SystemExit, r"^5$"),
    "KeyboardInterrupt": (interrupt_itself, KeyboardInterrupt, r"^its own$"),
    "recursion": (recurse, RecursionError, r"maximum recursion depth exceeded"),
    "a real limit of memory": (exhaust_memory, MemoryError, r""),
}


@pytest.mark.parametrize("row", ROWS)
def test_failure(fexec: FunctionExecutor, row: str) -> None:
    function, kind, message = ROWS[row]
    neighbours = fexec.map(lambda x: x, [1, 2])
    future = fexec.call_async(function, ())
    with pytest.raises(kind) as caught:
        fexec.get_result(future, timeout=20)
    error = caught.value
    assert type(error).__name__ == kind.__name__ or kind is ValueError
    assert re.search(message, str(error))
    assert isinstance(error.__cause__, RemoteTraceback)
    assert "Traceback (most recent call last)" in str(error.__cause__)
    if kind is not NotSerializable:
        assert f"in {function.__name__}" in str(error.__cause__)
    assert "handler.py" not in str(error.__cause__).partition("Error")[0], (
        "the worker's own frame is left out"
    )
    assert future.error
    assert neighbours.get_result(timeout=20) == [1, 2]


def test_attributes_arrive(fexec: FunctionExecutor) -> None:
    error = fexec.call_async(raise_with_attributes, ()).exception()
    assert isinstance(error, WithAttributes)
    assert (error.code, error.extra) == (7, {"a": 1})
    other = fexec.call_async(raise_needs_two, ()).exception()
    assert isinstance(other, NeedsTwo)
    assert other.second == "two"
    lost = fexec.call_async(raise_holding_a_lock, ()).exception()
    assert isinstance(lost, RemoteError)
    assert (lost.type_name, lost.message) == ("HoldsALock", "it has a lock")


def test_a_cause_is_in_the_traceback(fexec: FunctionExecutor) -> None:
    error = fexec.call_async(raise_chained, ()).exception()
    assert error is not None
    text = str(error.__cause__)
    assert "invalid literal for int() with base 10: 'x'" in text
    assert "The above exception was the direct cause of the following exception" in text


def test_an_exception_that_cannot_be_shown(fexec: FunctionExecutor) -> None:
    future = fexec.call_async(raise_cannot_be_shown, ())
    error = future.exception(timeout=20)
    assert isinstance(error, CannotBeShown)
    assert "in raise_cannot_be_shown" in str(error.__cause__)


# ---------------------------------------------------------------- what cannot be read here


def complain(text: str) -> NoReturn:
    raise ValueError(text)


class Unreadable:
    def __reduce__(self) -> tuple[Any, ...]:
        return complain, ("not with me",)


class ExitsWhenRead:
    def __reduce__(self) -> tuple[Any, ...]:
        return sys.exit, (9,)


def return_unreadable() -> Unreadable:
    return Unreadable()


def return_what_exits() -> ExitsWhenRead:
    return ExitsWhenRead()


class UnreadableError(Exception):
    """Loads on the worker, so that it is sent, and does not load here."""

    def __reduce__(self) -> tuple[Any, ...]:
        return load_only_in, (os.getpid(), self.args)


def load_only_in(pid: int, args: tuple[Any, ...]) -> UnreadableError:
    if os.getpid() != pid:
        raise ImportError("there is no such module here")
    return UnreadableError(*args)


def raise_unreadable() -> None:
    raise UnreadableError("what it said")


@pytest.mark.parametrize(
    ("function", "reason"),
    [(return_unreadable, "ValueError: not with me"), (return_what_exits, "SystemExit: 9")],
)
def test_a_result_that_cannot_be_read_here(
    fexec: FunctionExecutor, function: Callable[[], Any], reason: str
) -> None:
    """An error of that call alone, and not the end of the program."""
    good, bad = fexec.call_async(len, "ab"), fexec.call_async(function, ())
    asks: list[Callable[[], Any]] = [bad.result, lambda: fexec.get_result([good, bad])]
    for ask in asks:
        with pytest.raises(NotSerializable) as caught:
            ask()
        assert str(caught.value) == (
            f"call 00000 of job {bad.job_key} ({function.__name__}) returned what cannot be unpickled here: {reason}; "
            "return plain data instead"
        )
    assert fexec.get_result([good, bad], throw_except=False) == [2, None]


def test_an_exception_that_cannot_be_read_here(fexec: FunctionExecutor) -> None:
    error = fexec.call_async(raise_unreadable, ()).exception()
    assert isinstance(error, RemoteError)
    assert error.type_name == "UnreadableError"
    assert error.message.startswith("what it said (it could not be unpickled here: ImportError(")
    assert "in raise_unreadable" in str(error.__cause__)


def test_a_call_s_interrupt_is_not_the_user_s(fexec: FunctionExecutor) -> None:
    """A `KeyboardInterrupt` that a call raised arrives as one, but nothing is cancelled for it."""
    neighbours = fexec.map(lambda x: x, range(200))
    with pytest.raises(KeyboardInterrupt, match="its own"):
        fexec.get_result([*neighbours, fexec.call_async(interrupt_itself, ())])
    assert neighbours.get_result(timeout=20) == list(range(200))

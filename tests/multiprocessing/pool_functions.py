"""What the tasks of the tests' pools run. The standard library's workers import it by its name."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from typing import Any

import process_functions
from places import AnyPlace


def square(x: Any) -> Any:
    return x * x


def add(x: Any, y: Any = 10, *, z: Any = 0) -> Any:
    return x + y + z


def identity(x: Any) -> Any:
    return x


def pid(_: object = None) -> int:
    return os.getpid()


def fail(x: Any) -> Any:
    raise KeyError(x)


def fail_if_negative(x: int) -> int:
    if x < 0:
        raise ValueError(f"{x} is negative")
    return x


def wait_for(path: AnyPlace) -> str:
    process_functions.wait_for(path)
    return path.name


def fail_or_wait(path: AnyPlace | None) -> None:
    if path is None:
        raise KeyError(path)
    wait_for(path)


def come_and_stay(path: AnyPlace) -> None:
    path.touch()
    time.sleep(60)


def note_and_wait(folder: AnyPlace, number: int, go: AnyPlace) -> int:
    (folder / str(number)).touch()
    process_functions.wait_for(go)
    return number


def lock(_: object = None) -> Any:
    return threading.Lock()


class Odd(Exception):
    """Cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


def fail_oddly(text: str) -> None:
    raise Odd(text)


class Fussy(Exception):
    """Its constructor takes more than `args` has: the standard library cannot unpickle it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def fail_fussily(code: int) -> None:
    raise Fussy(code, "fussy")


def leave(x: int) -> int:
    if x < 0:
        os._exit(-x)
    return x


def exit_with(code: int) -> None:
    sys.exit(code)


def interrupt() -> None:
    raise KeyboardInterrupt


def who() -> tuple[Any, ...]:
    me, parent = multiprocessing.current_process(), multiprocessing.parent_process()
    assert parent is not None
    return me.name, me.daemon, bytes(me.authkey), parent.name, parent.pid, sys.argv


def pool_inside(maker: Any) -> list[int]:
    with maker(2) as pool:
        return list(pool.map(square, range(3)))


def pool_in_process(maker: Any, path: AnyPlace) -> None:
    process_functions.write(path, repr(pool_inside(maker)))


_greeting = ""
_greeted = 0


def greet(text: str) -> None:
    global _greeting, _greeted
    _greeting = text
    _greeted += 1


def greeting(_: object = None) -> tuple[str, int, int]:
    return _greeting, _greeted, os.getpid()


def refuse_to_begin() -> None:
    raise RuntimeError("not today")


def blob(size: int) -> bytes:
    return b"x" * size


def length(data: bytes) -> int:
    return len(data)


def length_after(pair: tuple[bytes, AnyPlace]) -> int:
    wait_for(pair[1])
    return length(pair[0])


def say(text: str) -> None:
    print(text)


class Counted:
    """How many there are in this process."""

    alive = 0

    def __init__(self) -> None:
        type(self).alive += 1

    def __setstate__(self, state: Any) -> None:
        type(self).alive += 1

    def __getstate__(self) -> Any:
        return {"a": 1}

    def __del__(self) -> None:
        type(self).alive -= 1


def type_name(x: object) -> str:
    return type(x).__name__


def wait_or_touch(path: AnyPlace, waits: bool) -> None:
    if waits:
        process_functions.wait_for(path)
    else:
        path.touch()

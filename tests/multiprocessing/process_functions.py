"""What the processes of the tests run. The standard library's import it by its name, and it goes along to a cloud."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from multiprocessing.process import BaseProcess
from typing import Any

from places import AnyPlace


def write(path: Any, text: str) -> None:
    # At once, for those who look at it meanwhile.
    draft = path.with_name(path.name + "~")
    draft.write_text(text)
    draft.replace(path)


def nothing() -> None:
    pass


def note(path: AnyPlace, *args: Any, **kwargs: Any) -> None:
    write(path, repr((args, kwargs)))


def touch_and_sleep(path: AnyPlace) -> None:
    write(path, str(os.getpid()))
    time.sleep(60)


def write_late(path: AnyPlace, until: AnyPlace) -> None:
    wait_for(until)
    write(path, "late")


def wait_for(path: AnyPlace) -> None:
    """Block until there is something."""
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.005)


def leave(code: Any) -> None:
    sys.exit(code)


def leave_unheard(path: str, code: Any) -> None:
    """With a standard error of its own."""
    sys.stderr = open(path, "w")  # noqa: SIM115 - whoever ends the process writes to it
    if code is None:
        raise ValueError("told nobody else")
    sys.exit(code)


class Unpicklable:
    def __reduce__(self) -> Any:
        raise RuntimeError("no pickle of this")


def leave_at_once(code: int) -> None:
    os._exit(code)


def kill_self(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def fail(message: str) -> None:
    raise ValueError(message)


def interrupted() -> None:
    raise KeyboardInterrupt


def describe(path: AnyPlace) -> None:
    """Who I am, as the module says in this process."""
    me, parent = multiprocessing.current_process(), multiprocessing.parent_process()
    assert parent is not None
    parent.join(0.01)
    write(
        path,
        repr(
            {
                "name": me.name,
                "pid": me.pid == os.getpid(),
                "number": os.getpid(),
                "daemon": me.daemon,
                "alive": me.is_alive(),
                "exitcode": me.exitcode,
                "authkey": bytes(me.authkey),
                "children": multiprocessing.active_children(),
                "parent": (parent.name, parent.pid, parent.ident, parent.is_alive()),
                "state": repr(me).split(" parent=")[1].split()[1],
            }
        ),
    )


def join_self(path: AnyPlace) -> None:
    try:
        multiprocessing.current_process().join()
    except AssertionError as error:
        write(path, str(error))


def leave_a_thread(path: AnyPlace, until: AnyPlace) -> None:
    """A thread that is no daemon outlives the function."""
    threading.Thread(target=write_late, args=(path, until)).start()


def start_another(process_class: type[BaseProcess], path: AnyPlace) -> None:
    child = process_class(target=describe, args=(path,))
    child.start()
    child.join()
    sys.exit(child.exitcode)


def start_and_forget(process_class: type[BaseProcess], path: AnyPlace, until: AnyPlace) -> None:
    """A child that is no daemon is waited for at the end."""
    process_class(target=write_late, args=(path, until)).start()


def start_daemon_and_forget(process_class: type[BaseProcess], path: AnyPlace) -> None:
    """A daemonic child is stopped at the end."""
    process_class(target=touch_and_sleep, args=(path,), daemon=True).start()
    wait_for(path)


def try_to_start(process_class: type[BaseProcess], path: AnyPlace) -> None:
    try:
        process_class(target=nothing).start()
    except AssertionError as error:
        write(path, str(error))


def meet(folder: AnyPlace, number: int, count: int) -> None:
    """Come, and wait for all the others."""
    write(folder / str(number), "")
    for other in range(count):
        wait_for(folder / str(other))


def count_up(path: AnyPlace) -> None:
    """What one process leaves in this module's memory is not to be seen by the next."""
    global _count
    _count += 1
    write(path, str(_count))


_count = 0


class Locked:
    """Cannot be pickled."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class Payload:
    """Can be referred to weakly."""

    def __repr__(self) -> str:
        return "payload"


def _refuse() -> None:
    raise RuntimeError("it cannot be read")


class Unreadable:
    """Can be pickled, but not unpickled."""

    def __reduce__(self) -> Any:
        return _refuse, ()

"""Who runs: in a worker, the process of the user's that a call stands for takes the place of the worker's own."""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import process as standard
from multiprocessing import util
from typing import Any

_atexit: Any = atexit
_standard: Any = standard
_util: Any = util
_NEVER_S = 86_400.0


class ParentProcess(standard.BaseProcess):
    """The process that started this one, as this one sees it."""

    def __init__(self, name: str, pid: int, argv: list[str], logging: tuple[bool, int] | None) -> None:
        self.argv = argv
        """Of the program, which is that of its processes too."""
        self.logging = logging
        """Whether `multiprocessing.get_logger` writes to standard error, and its level; None if it is not used."""
        self._identity = ()
        self._name = name
        self._pid = pid
        self._parent_pid = None
        self._popen = None
        self._closed = False
        self._config: dict[str, Any] = {}

    def is_alive(self) -> bool:
        """Always: a worker ends with the program that started it."""
        return True

    @property
    def ident(self) -> int:
        return self._pid

    pid = ident

    @property
    def sentinel(self) -> int:
        """A descriptor that would tell of the parent's end, if this process were still there then."""
        return _never_ready()

    def join(self, timeout: float | None = None) -> None:
        """Block until the parent ends, and this process with it, or until the time is up."""
        until = time.monotonic() + (_NEVER_S if timeout is None else timeout)
        while time.monotonic() < until:
            time.sleep(max(0.0, until - time.monotonic()))

    @classmethod
    def here(cls) -> ParentProcess:
        """This process, for its children."""
        current = standard.current_process()
        logger = _util._logger
        logging = None if logger is None else (_util._log_to_stderr, logger.getEffectiveLevel())
        return cls(current.name, current.pid or 0, sys.argv, logging)

    def __reduce__(self) -> Any:
        return ParentProcess, (self._name, self._pid, self.argv, self.logging)


@lru_cache(maxsize=1)
def _never_ready() -> int:
    return os.pipe()[0]


@contextmanager
def running_as(process: Any, parent: ParentProcess, *, alone: bool) -> Iterator[None]:
    """While entered, `current_process` and its relatives answer as in that process. Its children end with it.

    `alone`: the worker is that process and no other, and what was registered with `atexit` runs.
    """
    before = _standard._children, _standard._process_counter
    threads = set(threading.enumerate())
    with member_of(process, parent):
        _standard._children, _standard._process_counter = set(), itertools.count(1)
        try:
            yield
        finally:
            try:
                _end_children()
                _join_threads(threads)
                if alone:
                    _atexit._run_exitfuncs()
                _util._flush_std_streams()
            finally:
                _standard._children, _standard._process_counter = before


@contextmanager
def member_of(process: Any, parent: ParentProcess) -> Iterator[None]:
    """While entered, `current_process` and `parent_process` answer as in that worker of a pool."""
    before = _standard._current_process, _standard._parent_process, sys.argv
    _standard._current_process, _standard._parent_process, sys.argv = process, parent, parent.argv
    if parent.logging is not None:
        _log_as(*parent.logging)
    try:
        yield
    finally:
        _standard._current_process, _standard._parent_process, sys.argv = before


def _log_as(to_stderr: bool, level: int) -> None:
    if to_stderr and not _util._log_to_stderr:
        _util.log_to_stderr()
    _util.get_logger().setLevel(level)


def _end_children() -> None:
    """As at the end of a process of the standard library: the daemonic ones are stopped, the others waited for."""
    children = standard.active_children()
    for child in children:
        if child.daemon:
            child.terminate()
    for child in children:
        child.join()


def _join_threads(before: set[threading.Thread]) -> None:
    for thread in threading.enumerate():
        if thread not in before and not thread.daemon and thread is not threading.current_thread():
            thread.join()


def is_interrupted() -> bool:
    """Whether this program ends because of Ctrl-C."""
    return getattr(sys, "last_type", None) is KeyboardInterrupt

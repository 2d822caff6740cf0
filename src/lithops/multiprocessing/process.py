"""`Process`: the standard library's class, whose processes are calls. What it checks and promises is the standard's."""

from __future__ import annotations

import io
import os
import sys
import traceback
from contextlib import nullcontext
from multiprocessing import process as standard
from multiprocessing.context import get_spawning_popen
from multiprocessing.process import active_children, current_process, parent_process
from typing import Any, TextIO

from lithops.multiprocessing.current import current_session, load
from lithops.multiprocessing.identity import ParentProcess, running_as
from lithops.multiprocessing.output import streamed
from lithops.shared import session as shared
from lithops.shared.server import VARIABLE

__all__ = ["Process", "active_children", "current_process", "parent_process", "run_process"]


class Process(standard.BaseProcess):
    """A call of a function that looks like a process. See `multiprocessing.Process`.

    It runs on the configured backend: on this machine in a process that is forked for it from one that is empty, on a
    cloud in a function. What differs from the standard library: on a cloud, `pid` is a number that no system knows,
    signals other than those of `terminate` and `kill` cannot be sent, and the function may have run others before.
    """

    _start_method = "spawn"

    def __getstate__(self) -> dict[str, Any]:
        """Without its key, unless it goes to a process of this machine: no secret travels to a cloud."""
        state = dict(self.__dict__)
        if get_spawning_popen() is None:
            state["_config"] = {name: value for name, value in state["_config"].items() if name != "authkey"}
        return state

    @staticmethod
    def _Popen(process_obj: standard.BaseProcess) -> Any:  # noqa: N802 - the standard's name
        return load("popen").Popen(process_obj)


def run_process(
    process: Process, parent: ParentProcess, name: str, stream: str | None, alone: bool
) -> tuple[int, str]:
    """In a worker: be that process, until it ends. Gives its exit code, and the last words that nobody has heard.

    `alone`: this is the first call of the worker, and the last.
    """
    if not alone and VARIABLE in os.environ:
        # To be told when it is stopped, which on this machine needs no telling.
        current_session()
    shared.appear_as(name)
    last_words = io.StringIO()
    streams = sys.stdout, sys.stderr
    if "authkey" not in process._config:  # type: ignore[attr-defined]
        process.authkey = os.urandom(32)
    try:
        with streamed(stream) if stream else nullcontext():
            code = _exit_code(process, parent, sys.stderr if stream else last_words, alone=alone)
        return code, last_words.getvalue()
    finally:
        sys.stdout, sys.stderr = streams
        shared.leave()


def _exit_code(process: Process, parent: ParentProcess, errors: TextIO, *, alone: bool) -> int:
    """`errors` is where its parent sees why it has failed, unless it has put another standard error in its place."""
    before = sys.stderr
    try:
        with running_as(process, parent, alone=alone):
            process.run()
    except BaseException as error:  # noqa: BLE001 - its parent sees the code, and its user the text
        code, text = _ending(process, error)
        print(text, end="", file=errors if sys.stderr is before else sys.stderr, flush=True)
        return code
    return 0


def _ending(process: Process, error: BaseException) -> tuple[int, str]:
    """The exit code that an error makes, and what is said of it, as in a process of the standard library."""
    if not isinstance(error, SystemExit):
        # The first frame is this module's.
        lines = traceback.format_exception(
            type(error), error, error.__traceback__ and error.__traceback__.tb_next
        )
        return 1, "".join([f"Process {process.name}:\n", *lines])
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF, ""
    return 1, f"{error.code}\n"

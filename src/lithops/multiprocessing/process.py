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
    if "authkey" not in process._config:  # type: ignore[attr-defined]
        process.authkey = os.urandom(32)
    try:
        with streamed(stream) if stream else nullcontext():
            errors = sys.stderr if stream else last_words
            return _exit_code(process, parent, errors, alone=alone), last_words.getvalue()
    finally:
        shared.leave()


def _exit_code(process: Process, parent: ParentProcess, errors: TextIO, *, alone: bool) -> int:
    try:
        with running_as(process, parent, alone=alone):
            process.run()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        errors.write(f"{end.code}\n")
        return 1
    except BaseException as error:  # noqa: BLE001 - its parent sees the code, and its user the text
        errors.write(f"Process {process.name}:\n")
        # The first frame is this module's.
        trace = error.__traceback__
        traceback.print_exception(type(error), error, trace and trace.tb_next, file=errors)
        return 1
    return 0

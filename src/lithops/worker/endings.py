"""Why a process in which calls run has ended, in words that help: what killed it, and what can be done."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from lithops.wire.messages import Failure, FailureKind

_LAST_WORDS = 2000
"""How many characters of a dead worker's output its error quotes."""


def failure_of_exit(code: int | None, *, killed_for_memory: bool, last_words: str) -> Failure:
    """The failure of the call that was running when its worker ended with `code` (negative: a signal)."""
    if killed_for_memory:
        kind, message = FailureKind.MEMORY, "the worker was killed because the machine ran out of memory"
        message += "; use smaller inputs, or fewer workers at once (localhost: worker_processes)"
    elif code is None:
        kind, message = FailureKind.LOST, "the worker closed its pipe but does not end; it was killed"
    elif code < 0:
        name = _signal_name(-code)
        kind, message = FailureKind.LOST, f"the worker was killed by {name}{_hint(-code)}"
    else:
        kind = FailureKind.LOST
        message = f"the worker ended by itself with exit code {code}: something in the call ended the process"
    return Failure(kind, kind.value, message + quoted(last_words), exit_code=code)


def count_memory_kills() -> int:
    """How many processes this machine has killed for want of memory; 0 where it does not tell."""
    try:
        match = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE)
    except OSError:  # not Linux
        return 0
    return int(match[1]) if match else 0


def quoted(last_words: str) -> str:
    """The end of a message that has the last words of a process, if it left any."""
    words = last_words.strip()
    return f"; its last output was:\n{words[-_LAST_WORDS:]}" if words else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _hint(number: int) -> str:
    if number == signal.SIGSEGV:
        return " (a crash in compiled code, or very deep recursion)"
    if number == signal.SIGKILL:
        return " (by another process, or by a limit of this machine)"
    return ""

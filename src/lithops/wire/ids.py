"""Names of executors, jobs and calls, as users and storage keys see them.

An executor is ``3f9a1c-0``: six random hex digits for the process, and a count. A job is ``M000`` (map), ``A000``
(call_async) or ``R000`` (reduce). A call is five digits, ``00042``. A job's key joins the first two.
"""

from __future__ import annotations

import itertools
import os

_session = ""
_session_pid = 0
_counter = itertools.count()


def new_executor_id() -> str:
    """A name that no other executor has: in a forked process too."""
    global _session, _session_pid, _counter
    if _session_pid != os.getpid():
        _session, _session_pid, _counter = os.urandom(3).hex(), os.getpid(), itertools.count()
    return f"{_session}-{next(_counter)}"


def job_key(executor_id: str, job_id: str) -> str:
    """``3f9a1c-0-M000``: unique over all clients."""
    return f"{executor_id}-{job_id}"


def call_id(index: int) -> str:
    """The call's index in its job, as five digits or more."""
    return f"{index:05d}"

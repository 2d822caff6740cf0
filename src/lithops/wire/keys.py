"""Every key under which this library stores an object of its own. No other module spells one out.

Everything of an executor lies under one prefix, so that cleaning is one listing; statuses have a prefix of their own,
so that a poll lists nothing else. Functions are named by their content, so that an executor stores each once.
"""

from __future__ import annotations

from lithops.wire.ids import call_id

JOBS_PREFIX = "lithops.jobs/"
CLOUDOBJECTS_PREFIX = "lithops.objects/"


def executor_prefix(executor_id: str) -> str:
    """Where all the objects of one executor lie."""
    return f"{JOBS_PREFIX}{executor_id}-"


def functions_prefix(executor_id: str) -> str:
    return f"{executor_prefix(executor_id)}functions/"


def job_prefix(job_key: str) -> str:
    return f"{JOBS_PREFIX}{job_key}/"


def function_key(executor_id: str, content_hash: str) -> str:
    return f"{functions_prefix(executor_id)}{content_hash}"


def arguments_key(job_key: str, number: int) -> str:
    """The arguments of one or more of the job's calls, one after the other."""
    return f"{job_prefix(job_key)}arguments/{number:05d}"


def result_key(job_key: str, index: int, token: str) -> str:
    """Each run of a call writes a result of its own: the status that was committed first says which one counts."""
    return f"{job_prefix(job_key)}results/{call_id(index)}.{token}"


def status_prefix(job_key: str) -> str:
    return f"{job_prefix(job_key)}status/"


def task_status_prefix(job_key: str, task_id: int) -> str:
    """Before all statuses of this task, and behind those of all earlier ones: tasks are numbered as they are sent."""
    return f"{status_prefix(job_key)}{task_id:08d}."


def status_key(job_key: str, task_id: int, part: int) -> str:
    """Put with `if_absent`. What a task reports is a log of parts: two activations of it never write the same one."""
    return f"{task_status_prefix(job_key, task_id)}{part:04d}"


def task_of(key: str) -> int:
    """The task whose statuses a key names; -1 for one that was published."""
    number = key.rpartition("/")[2].partition(".")[0]
    return int(number) if number.isdigit() else -1


def published_status_key(job_key: str, index: int) -> str:
    """A settled call's status, put by the client for processes that have its future. Behind those of all tasks."""
    return f"{status_prefix(job_key)}settled/{call_id(index)}"


def cloudobject_key(job_key: str, name: str) -> str:
    return f"{CLOUDOBJECTS_PREFIX}{job_key}/{name}"

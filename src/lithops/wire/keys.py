"""Every key under which this library stores an object of its own. No other module spells one out.

Everything of a job lies under one prefix, so that cleaning is one listing; statuses have a prefix of their own, so
that a poll lists nothing else. Functions are named by their content, so that they are stored once.
"""

from __future__ import annotations

from lithops.wire.ids import call_id

JOBS_PREFIX = "lithops.jobs/"
FUNCTIONS_PREFIX = "lithops.functions/"
CLOUDOBJECTS_PREFIX = "lithops.objects/"


def executor_prefix(executor_id: str) -> str:
    """Where all the objects of one executor's jobs lie."""
    return f"{JOBS_PREFIX}{executor_id}-"


def job_prefix(job_key: str) -> str:
    return f"{JOBS_PREFIX}{job_key}/"


def function_key(content_hash: str) -> str:
    return f"{FUNCTIONS_PREFIX}{content_hash}"


def arguments_key(job_key: str, index: int) -> str:
    return f"{job_prefix(job_key)}arguments/{call_id(index)}"


def result_key(job_key: str, index: int, attempt: int) -> str:
    """Each attempt writes a result of its own: the status that commits first says which one counts."""
    return f"{job_prefix(job_key)}results/{call_id(index)}.{attempt}"


def status_prefix(job_key: str) -> str:
    return f"{job_prefix(job_key)}status/"


def status_key(job_key: str, index: int, attempt: int) -> str:
    """One key an attempt, put with `if_absent`: an activation that a cloud delivers twice reports once."""
    return f"{status_prefix(job_key)}{call_id(index)}.{attempt}"


def cloudobject_key(job_key: str, name: str) -> str:
    return f"{CLOUDOBJECTS_PREFIX}{job_key}/{name}"

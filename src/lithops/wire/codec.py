"""Messages as bytes, in two forms of the same JSON.

*Text*, for clouds' events and stored objects: bytes are base64 inside the JSON. *Frames* (`frames.py`), for pipes: the
JSON holds only lengths, and the bytes follow it as they are.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from lithops.exceptions import WireError
from lithops.wire.frames import Frame, checked, parse, to_frame, to_json
from lithops.wire.messages import (
    WIRE_VERSION,
    Binding,
    Blob,
    ByteRange,
    Call,
    CallStatus,
    Failure,
    FailureKind,
    InlineBlob,
    JobSpec,
    Phase,
    StorageRef,
    StoredBlob,
    Task,
)
from lithops.wire.pickles import Buffer

_Message = TypeVar("_Message")

_JOBS_KEPT = 16
_PHASES = {phase.value: phase for phase in Phase}

Attach = Callable[[Buffer], Any]
"""Puts bytes into, or beside, the JSON and gives what stands for them there."""
Take = Callable[[Any], Buffer]
"""The reverse of `Attach`."""


# ---------------------------------------------------------------- text


def task_to_text(task: Task) -> bytes:
    return to_json(_task_out(task, _base64, with_job=True)).encode()


def task_from_text(data: bytes) -> Task:
    return task_from_json(parse(data))


def task_from_json(message: Any) -> Task:
    """A task from its text, parsed: clouds' own runtimes do that."""
    return _read(_task_in, checked(message), a2b_base64, {})


def statuses_to_text(statuses: Sequence[CallStatus]) -> bytes:
    return to_json(statuses_to_json(statuses)).encode()


def statuses_to_json(statuses: Sequence[CallStatus]) -> dict[str, Any]:
    """What `statuses_to_text` writes."""
    return _statuses_out(statuses, _base64)


def statuses_from_text(data: bytes) -> list[CallStatus]:
    return _read(_statuses_in, checked(parse(data)), a2b_base64)


# ---------------------------------------------------------------- frames


def task_to_frame(task: Task, *, with_job: bool) -> list[Buffer]:
    """The task as segments to write; without its job where the reader has seen that already."""
    attachments: list[Buffer] = []
    return to_frame(_task_out(task, _beside(attachments), with_job=with_job), attachments)


def statuses_to_frame(statuses: Sequence[CallStatus]) -> list[Buffer]:
    attachments: list[Buffer] = []
    return to_frame(_statuses_out(statuses, _beside(attachments)), attachments)


def task_from_frame(frame: Frame, known_jobs: dict[str, JobSpec]) -> Task:
    """The task; its job is taken from `known_jobs`, and put there when the frame brings a new one."""
    return _read(_task_in, frame.header, frame.take, known_jobs)


def statuses_from_frames(frames: Iterable[Frame]) -> list[CallStatus]:
    return [status for frame in frames for status in _read(_statuses_in, frame.header, frame.take)]


def remember_job(job: JobSpec, known_jobs: dict[str, JobSpec]) -> None:
    """Both ends of a pipe keep the same few jobs by this rule, so neither sends nor asks for one in vain."""
    known_jobs[job.job_key] = job
    if len(known_jobs) > _JOBS_KEPT:
        del known_jobs[next(iter(known_jobs))]


def hello_to_frame(version: str, python: tuple[int, int], pid: int) -> list[Buffer]:
    """What a worker process says first: who it is, so that a mismatch is found before a call is."""
    return to_frame(
        {"v": WIRE_VERSION, "hello": {"version": version, "python": list(python), "pid": pid}}, []
    )


def _beside(attachments: list[Buffer]) -> Attach:
    def attach(data: Buffer) -> int:
        attachments.append(data)
        return len(data)

    return attach


# ---------------------------------------------------------------- the JSON of both


def _task_out(task: Task, attach: Attach, *, with_job: bool) -> dict[str, Any]:
    calls = [
        [call.index, call.attempt, [_blob_out(blob, attach) for blob in call.inputs]] for call in task.calls
    ]
    message: dict[str, Any] = {
        "v": WIRE_VERSION,
        "task": task.task_id,
        "job_key": task.job.job_key,
        "calls": calls,
    }
    if task.reply_s:
        message["reply_s"] = task.reply_s
    if with_job:
        message["job"] = _job_out(task.job, attach)
    return message


def _task_in(message: dict[str, Any], take: Take, known_jobs: dict[str, JobSpec]) -> Task:
    # The calls come first, as `_task_out` attaches them first.
    calls = tuple(
        Call(index, tuple([_blob_in(blob, take) for blob in inputs]), attempt)
        for index, attempt, inputs in message["calls"]
    )
    job_key = message["job_key"]
    if "job" in message:
        remember_job(_job_in(job_key, message["job"], take), known_jobs)
    if job_key not in known_jobs:
        raise WireError(f"a task of job {job_key} came before the job itself")
    return Task(message["task"], known_jobs[job_key], calls, message.get("reply_s", 0.0))


def _job_out(job: JobSpec, attach: Attach) -> dict[str, Any]:
    return {
        "function": _blob_out(job.function, attach),
        "function_hash": job.function_hash,
        "modules": _blob_out(job.modules, attach),
        "modules_hash": job.modules_hash,
        "extra": _blob_out(job.extra, attach),
        "storage": [job.storage.backend, job.storage.bucket, dict(job.storage.options)],
        "timeout_s": job.timeout_s,
        "inline_limit": job.inline_limit,
        "binding": job.binding.value,
        "reserved": list(job.reserved),
        "placing": list(job.placing),
        "env": dict(job.env),
    }


def _job_in(job_key: str, message: dict[str, Any], take: Take) -> JobSpec:
    return JobSpec(
        job_key=job_key,
        function=_blob_in(message["function"], take),
        function_hash=message["function_hash"],
        modules=_optional_blob_in(message["modules"], take),
        modules_hash=message["modules_hash"],
        extra=_optional_blob_in(message["extra"], take),
        storage=StorageRef(*message["storage"]),
        timeout_s=message["timeout_s"],
        inline_limit=message["inline_limit"],
        binding=Binding(message["binding"]),
        reserved=tuple(message["reserved"]),
        placing=tuple(message["placing"]),
        env=message["env"],
    )


def _statuses_out(statuses: Sequence[CallStatus], attach: Attach) -> dict[str, Any]:
    return {
        "v": WIRE_VERSION,
        "statuses": [
            [
                status.job_key,
                status.index,
                status.phase.value,
                status.task_id,
                status.attempt,
                status.activation_id,
                attach(status.stats),
                _blob_out(status.result, attach),
                _failure_out(status.failure, attach),
                status.logs,
                status.follow,
            ]
            for status in statuses
        ],
    }


def _statuses_in(message: dict[str, Any], take: Take) -> list[CallStatus]:
    return [
        # In the order in which `_statuses_out` attaches: what `take` gives depends on it.
        CallStatus(
            job_key,
            index,
            _PHASES[phase],
            task_id,
            attempt,
            activation_id,
            bytes(take(stats)),
            _optional_blob_in(result, take),
            _failure_in(failure, take),
            logs,
            follow,
        )
        for job_key, index, phase, task_id, attempt, activation_id, stats, result, failure, logs, follow in message[
            "statuses"
        ]
    ]


def _failure_out(failure: Failure | None, attach: Attach) -> list[Any] | None:
    if failure is None:
        return None
    exception = _blob_out(failure.exception, attach)
    return [
        failure.kind.value, failure.type_name, failure.message, failure.traceback, exception, failure.exit_code
    ]  # fmt: skip


def _failure_in(message: list[Any] | None, take: Take) -> Failure | None:
    if message is None:
        return None
    kind, type_name, text, traceback, exception, exit_code = message
    blob = _optional_blob_in(exception, take)
    return Failure(FailureKind(kind), type_name, text, traceback, blob, exit_code)


def _blob_out(blob: Blob | None, attach: Attach) -> Any:
    """Inline: what `attach` gives, a text or a length. Stored: a list. None: null."""
    if blob is None:
        return None
    if isinstance(blob, InlineBlob):
        return attach(blob.data)
    return [blob.key] if blob.range is None else [blob.key, blob.range.start, blob.range.stop]


def _blob_in(message: Any, take: Take) -> Blob:
    if isinstance(message, list):
        return StoredBlob(message[0], ByteRange(*message[1:]) if len(message) > 1 else None)
    return InlineBlob(take(message))


def _optional_blob_in(message: Any, take: Take) -> Blob | None:
    return None if message is None else _blob_in(message, take)


def _read(read: Callable[..., _Message], *arguments: Any) -> _Message:
    """What `read` makes of a message, if the message has the shape that it expects."""
    try:
        return read(*arguments)
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(f"a message has another shape than this side knows: {error!r}") from error


def _base64(data: Buffer) -> str:
    return b2a_base64(data, newline=False).decode("ascii")

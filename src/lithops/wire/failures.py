"""Failures as they travel: an exception becomes a `Failure` on the worker, and an exception again on the client."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

from lithops import exceptions
from lithops.exceptions import CallError, RemoteError, RemoteTraceback
from lithops.wire.messages import Failure, FailureKind, InlineBlob
from lithops.wire.pickles import Dumps

_ERRORS = {
    FailureKind.LOST: "WorkerLost",
    FailureKind.TIMEOUT: "CallTimeout",
    FailureKind.MEMORY: "OutOfMemory",
    FailureKind.CANCELLED: "CallCancelled",
}


def failure_of(error: BaseException, dumps: Dumps, *, skip_frames: int = 0) -> Failure:
    """What travels of an exception: itself if it can be pickled and read back, and its words in any case.

    `skip_frames` leaves out the outermost frames of the traceback, which are the worker's own.
    """
    name = type(error).__qualname__
    frames = error.__traceback__
    for _ in range(skip_frames):
        if frames is not None and frames.tb_next is not None:
            frames = frames.tb_next
    text = "".join(traceback.format_exception(type(error), error, frames))
    body = _pickled(error, dumps)
    exception = None if body is None else InlineBlob(body)
    return Failure(FailureKind.RAISED, name, _message(error), text, exception)


def failure_of_timeout(timeout_s: float) -> Failure:
    """The failure of a call that was stopped after so many seconds."""
    text = (
        f"the call ran longer than its timeout of {timeout_s:g} s and was stopped; give it more with timeout="
    )
    return Failure(FailureKind.TIMEOUT, FailureKind.TIMEOUT.value, text)


def failure_of_time(limit_s: float, timeout_s: float) -> Failure:
    """The failure of a call that was stopped after `limit_s`: its timeout, or what was left of its activation."""
    if limit_s >= timeout_s:
        return failure_of_timeout(timeout_s)
    text = (
        f"the activation's time was up after {max(0.0, limit_s):.3g} s of the call, which may take {timeout_s:g} s; "
        "give activations more with runtime_timeout, or fewer calls with chunksize"
    )
    return Failure(FailureKind.TIMEOUT, FailureKind.TIMEOUT.value, text)


def error_of(failure: Failure, body: bytes | None) -> BaseException:
    """The exception that a failure stands for, with the remote traceback as its cause.

    `body` holds the bytes of `failure.exception`, where there are any.
    """
    error: BaseException
    if failure.kind is FailureKind.RAISED:
        error = _unpickled(failure, body)
    else:
        kind: type[CallError] = getattr(exceptions, _ERRORS[failure.kind])
        error = kind(failure.message)
    if failure.traceback:
        error.__cause__ = RemoteTraceback(failure.traceback)
    return error


def revive(kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    """An exception made without its constructor, for classes whose constructor takes other arguments."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class _Revived:
    """Pickles as a call of `revive`."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return revive, (type(self._error), self._error.args, self._error.__dict__)


def _pickled(error: BaseException, dumps: Dumps) -> bytes | None:
    """A pickle that is known to load again as the same type, or None if there is none."""
    for candidate in (error, _Revived(error)):
        try:
            body = dumps(candidate, protocol=5)
            if type(pickle.loads(body)) is type(error):
                return body
        except BaseException:  # noqa: BLE001, S112 - a user's class may fail in any way: then its words travel alone
            continue
    return None


def _unpickled(failure: Failure, body: bytes | None) -> BaseException:
    if body is not None:
        try:
            error = pickle.loads(body)
        except BaseException as reason:  # noqa: BLE001 - the class may be missing here, or fail in any way
            note = f"{failure.message} (it could not be unpickled here: {reason!r})"
            return RemoteError(failure.type_name, note)
        if isinstance(error, BaseException):
            return error
    return RemoteError(failure.type_name, failure.message)


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as reason:  # noqa: BLE001 - a user's __str__ may fail in any way
        return f"<its message cannot be shown: {reason!r}>"

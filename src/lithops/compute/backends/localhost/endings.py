"""Why a worker process never became ready, in words that help."""

from __future__ import annotations

from lithops.wire.messages import Failure, FailureKind
from lithops.worker.endings import quoted


def failure_of_start(runtime: str, code: int | None, *, needs: str, last_words: str) -> Failure:
    """The failure of a call whose worker has ended before it was ready for any. `runtime` lacks what it `needs`."""
    message = f"the worker of {runtime} ended with code {code} before it was ready; it needs {needs}"
    return Failure(FailureKind.LOST, FailureKind.LOST.value, message + quoted(last_words))


def failure_of_slow_start(runtime: str, startup_s: float, *, last_words: str) -> Failure:
    """The failure of a call whose worker takes too long to be ready for any."""
    message = (
        f"the worker of {runtime} was not ready after {startup_s:g} s; see if this machine is overloaded"
    )
    return Failure(FailureKind.LOST, FailureKind.LOST.value, message + quoted(last_words))

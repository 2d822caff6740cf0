"""The standard library's future of a call that a native future stands for."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent import futures
from typing import TypeVar

from lithops.future import ResponseFuture

T = TypeVar("T")


class Future(futures.Future[T]):
    """A call that was submitted: `concurrent.futures.Future`, with the native future in `response_future`."""

    def __init__(self) -> None:
        super().__init__()
        self.response_future: ResponseFuture | None = None
        """The native future of the call, or of its chunk; None until it is on its way."""
        self._claimed = False

    def cancel(self) -> bool:
        """Cancel the call, unless it is known to run or has ended. Whether it is cancelled."""
        self._note_start()
        if not super().cancel():
            return False
        with self._condition:
            told, self._claimed = self._claimed, True
            if not told:
                self.set_running_or_notify_cancel()
        native = self.response_future
        if native is not None and not native.done:
            stop([native])
        return True

    def running(self) -> bool:
        """Whether the call is known to run."""
        self._note_start()
        return super().running()

    def __repr__(self) -> str:
        self._note_start()
        return super().__repr__()

    def claim(self) -> bool:
        """Whether the caller shall set the outcome: true once, and never if the call was cancelled."""
        with self._condition:
            if self._claimed or super().done():
                return False
            self._claimed = True
            if not super().running():
                self.set_running_or_notify_cancel()
            return True

    def _note_start(self) -> None:
        # Found out when it makes a difference: being told would cost each of many short calls more than asking does.
        native = self.response_future
        if native is not None and native.running:
            with self._condition:
                if not (super().running() or super().done()):
                    self.set_running_or_notify_cancel()


def stop(natives: Iterable[ResponseFuture]) -> None:
    """Cancel these calls, without waiting for it: one message for each job."""
    jobs: dict[int, list[ResponseFuture]] = {}
    for native in natives:
        jobs.setdefault(id(native.job), []).append(native)
    for members in jobs.values():
        job = members[0].job
        job.owner.cancel(job.job_key, [native.index for native in members])

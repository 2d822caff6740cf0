"""One call of `joblib.Parallel`: batches in, results out.

::

    submit ─► Packer ─► (waits for room) ─► call_async ─► worker
                                                            │
    callback, result ◄─ a reading thread ◄─ done callback ◄─┘
                        reads what was returned, and sends what waited
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lithops.executors import FunctionExecutor
from lithops.future import ResponseFuture
from lithops.util.joblib.objects import RunObjects
from lithops.util.joblib.packing import Packed, Packer, Sharing
from lithops.wait import cancel
from lithops.wire.ids import job_key
from lithops.wire.messages import StoredBlob


class BatchCall:
    """One batch under way: what joblib holds of it."""

    def __init__(self, callback: Callable[[BatchCall], None]) -> None:
        self._callback: Callable[[BatchCall], None] | None = callback
        self.packed: Packed | None = None
        self.future: ResponseFuture | None = None
        self._value: Any = None
        self._error: BaseException | None = None

    def read(self) -> None:
        """Take in what the batch returned or raised. Its call has ended, or could not be made."""
        if self.future is None:
            return
        try:
            self._value = self.future.result()
        except BaseException as error:  # noqa: BLE001 - whatever it is, joblib raises it where it belongs
            self._error = error.with_traceback(None)  # which would lead back to this

    def fail(self, error: Exception) -> None:
        """It could not be sent."""
        self._error = error

    def tell(self) -> None:
        """Have joblib fetch the result, unless nobody is to be told any more."""
        callback = self._callback
        self.forget()
        if callback is not None:
            callback(self)

    def forget(self) -> None:
        """Let go of what holds this call: joblib's callback, which would be a circle, and by the future an executor."""
        self._callback = self.future = None

    def result(self) -> Any:
        """What the batch returned, to be had once; raises what it raised."""
        if self._error is not None:
            raise self._error
        value, self._value = self._value, None
        return value

    def stored_keys(self) -> list[str]:
        """The objects in which its result lies, if it was too large for a message."""
        status = self.future.settled_status() if self.future is not None else None
        if status is None:
            return []
        failure = status.failure.exception if status.failure is not None else None
        return [blob.key for blob in (status.result, failure) if isinstance(blob, StoredBlob)]


class Run:
    """The calls of one run.

    At most `room` of them run at once; None: as many as the executor takes. `readers` threads read their results.
    """

    def __init__(
        self, executor: FunctionExecutor, number: int, sharing: Sharing, environment: Mapping[str, str], *,
        room: int | None, readers: int,
    ) -> None:  # fmt: skip
        self._executor = executor
        self._environment = dict(environment)
        self._objects = RunObjects(executor.storage, job_key(executor.executor_id, f"J{number:03d}"))
        self._packer = Packer(self._objects, sharing, executor.compute_handler.limits.inline_bytes)
        self._room = room
        self._waiting: deque[BatchCall] = deque()
        self._under_way: set[BatchCall] = set()
        self._readers = ThreadPoolExecutor(readers, "lithops-joblib")
        self._closed = False
        self._lock = threading.Lock()

    def submit(self, batch: Callable[[], Any], callback: Callable[[BatchCall], None]) -> BatchCall:
        """Send the batch, now or as soon as there is room; `callback` is told when it has ended, well or badly."""
        call = BatchCall(callback)
        try:
            call.packed = self._packer.pack(batch)
        except Exception as error:  # noqa: BLE001 - joblib submits in its callbacks too, where nobody would hear of it
            call.fail(error)
            call.tell()
            return call
        with self._lock:
            if self._closed:
                return call
            if self._room is not None and len(self._under_way) >= self._room:
                self._waiting.append(call)
                return call
            self._under_way.add(call)
        self._send(call)
        return call

    def close(self) -> None:
        """Cancel what is under way, and remove what is left in the storage. Returns when that is done."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._waiting.clear()
            calls = list(self._under_way)
        cancel([call.future for call in calls if call.future is not None])
        for call in calls:
            call.forget()
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._objects.close()

    def _send(self, call: BatchCall) -> None:
        assert call.packed is not None
        try:
            future = self._executor.call_async(
                call.packed.function, (call.packed.message,), extra_env=self._environment
            )
        except Exception as error:  # noqa: BLE001 - as above
            call.fail(error)
            self._in_reader(call)
            return
        self._executor.futures.remove(future)  # its result is nobody else's
        call.packed.message = b""
        with self._lock:
            closed = self._closed
            call.future = None if closed else future
        if closed:
            future.cancel()
        else:
            future.add_done_callback(lambda _: self._in_reader(call))

    def _in_reader(self, call: BatchCall) -> None:
        """Have a call's end taken in by a thread that may wait: the executor's own has other calls to watch."""
        with self._lock:
            if not self._closed:
                self._readers.submit(self._end, call)

    def _end(self, call: BatchCall) -> None:
        self._send_next(call)
        call.read()
        assert call.packed is not None
        self._objects.delete(call.stored_keys())
        self._objects.release(call.packed.keys)
        call.tell()

    def _send_next(self, ended: BatchCall) -> None:
        with self._lock:
            self._under_way.discard(ended)
            following = self._waiting.popleft() if self._waiting else None
            if following is not None:
                self._under_way.add(following)
        if following is not None:
            self._send(following)

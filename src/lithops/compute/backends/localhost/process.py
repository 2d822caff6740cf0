"""One worker process as its client sees it: channels, the task in hand, and how it ended."""

from __future__ import annotations

import fcntl
import itertools
import os
import sys
import termios
from abc import ABC, abstractmethod
from collections import deque
from typing import ClassVar

from lithops.compute.backends.localhost.channels import Channels
from lithops.compute.backends.localhost.pipes import read_frames
from lithops.wire.codec import remember_job, task_to_frame
from lithops.wire.frames import Frame, FrameReader
from lithops.wire.messages import Call, JobSpec, Task
from lithops.worker.capture import read_tail

_READS = 16
"""After so many reads of one pipe the others have their turn."""
_WRITEV_SEGMENTS = 64


class WorkerProcess(ABC):
    """A process that runs one task at a time. Owned and used by one thread."""

    exit_s: ClassVar[float] = 2.0
    """How long it may take to end when it is told to."""

    def __init__(self, channels: Channels, name: str) -> None:
        self._channels = channels
        self.name = name
        """As it calls itself."""
        self.tasks_fd = channels.tasks.fileno()
        self.statuses_fd = channels.statuses.fileno()
        self._claims_fd = channels.claims.fileno()
        self._unused_claims_fd = channels.unused_claims.fileno()
        self.ready = False
        """Whether it has said hello."""
        self.fruitful = False
        """Whether it has reported on any call."""
        self.calls = 0
        """How many calls it has reported on."""
        self._known_jobs: dict[str, JobSpec] = {}
        self._reader = FrameReader()
        self._outbox: deque[memoryview] = deque()
        self._tasks_sent = 0

    # ------------------------------------------------------------ talking

    def send(self, task: Task) -> None:
        """Hand over a task; the claims for its calls go first."""
        os.write(self._claims_fd, bytes([self._tasks_sent % 256]) * len(task.calls))
        self._tasks_sent += 1
        known = task.job.job_key in self._known_jobs
        if not known:
            remember_job(task.job, self._known_jobs)
        segments = task_to_frame(task, with_job=not known)
        self._outbox.extend(memoryview(segment) for segment in segments if len(segment))
        self.flush()

    def flush(self) -> bool:
        """Write what the pipe takes now; True once everything is written."""
        outbox = self._outbox
        try:
            while outbox:
                written = os.writev(self.tasks_fd, list(itertools.islice(outbox, _WRITEV_SEGMENTS)))
                while outbox and written >= outbox[0].nbytes:
                    written -= outbox.popleft().nbytes
                if written:
                    outbox[0] = outbox[0][written:]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            outbox.clear()  # the process is dead, which its other pipe tells as well
        return not outbox

    def read(self) -> list[Frame] | None:
        """The frames that have arrived; None once the process has closed the pipe."""
        frames: list[Frame] = []
        for _ in range(_READS):
            try:
                ended, arrived = read_frames(self.statuses_fd, self._reader)
            except BlockingIOError:
                break
            frames += arrived
            if ended:
                return frames or None
        return frames

    def reclaim(self) -> int:
        """Take back the claims that the process has not used: it will not start that many of its last calls."""
        try:
            return len(os.read(self._unused_claims_fd, 1 << 16))
        except BlockingIOError:
            return 0

    def has_begun(self, calls: int) -> bool:
        """Whether it has started the first of so many calls that it has in hand."""
        unused = bytearray(4)
        fcntl.ioctl(self._unused_claims_fd, termios.FIONREAD, unused)
        return int.from_bytes(unused, sys.byteorder) < calls

    # ------------------------------------------------------------ ending

    @abstractmethod
    def kill(self) -> None:
        """End the process and all that its calls have started, now or soon."""

    @abstractmethod
    def wait(self, timeout_s: float) -> int | None:
        """Its exit code, negative for a signal; None if it has not ended in time."""

    def say_goodbye(self) -> None:
        """Close the pipe of tasks: an idle process ends by itself."""
        self._channels.tasks.close()

    def last_words(self) -> str:
        """What its last call printed before the process died."""
        fd = self._channels.output.fileno()
        return read_tail(fd, os.lseek(fd, 0, os.SEEK_END))

    def close(self) -> None:
        """Release the pipes. The process ends when it sees that."""
        self._channels.close()


class Assignment:
    """The task that a process has in hand: which of its calls have been reported, and which one is running."""

    def __init__(self, task: Task, now: float) -> None:
        self.task = task
        self._calls = task.calls
        self._reported = 0
        self.since = now
        """When the running call started, as far as is known here."""
        self.slow_start_s = 0.0
        """How much later than it was to start the running call may have started."""
        self.announced = -1
        """The call of which it has been said that it is running."""

    def reported(self, count: int, now: float) -> None:
        """So many calls have ended, and the next one has started."""
        self._reported += count
        self.since = now
        self.slow_start_s = 0.0

    def shorten(self, count: int) -> tuple[Call, ...]:
        """Take the last `count` calls out of the task and give them back."""
        if not count:
            return ()
        taken = self._calls[-count:]
        self._calls = self._calls[:-count]
        return taken

    @property
    def running(self) -> Call | None:
        """The call that is running; None when all have been reported."""
        return self._calls[self._reported] if self._reported < len(self._calls) else None

    @property
    def unreported(self) -> int:
        return len(self._calls) - self._reported

    @property
    def is_news(self) -> bool:
        """Whether it is not known yet that the running call takes its time."""
        running = self.running
        return running is not None and running.index != self.announced

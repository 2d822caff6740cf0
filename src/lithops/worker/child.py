"""A process that runs calls for another on the same machine: see `children.py`."""

from __future__ import annotations

import faulthandler
import os
import sys

from lithops.storage.registry import from_reference
from lithops.wire.codec import statuses_to_text, task_from_text
from lithops.wire.messages import CallStatus
from lithops.worker.capture import OutputCapture, log_to_stderr
from lithops.worker.handler import Worker


def serve(statuses_fd: int) -> None:
    """Run the tasks that come as lines of text on standard input, and write a line for each status."""
    os.set_inheritable(statuses_fd, False)
    tasks = os.fdopen(os.dup(0), "rb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    faulthandler.enable(file=2)
    log_to_stderr()
    worker = Worker("", from_reference, OutputCapture(2))

    def report(status: CallStatus) -> None:
        with os.fdopen(os.dup(statuses_fd), "wb") as pipe:
            pipe.write(statuses_to_text([status]) + b"\n")

    for line in tasks:
        worker.run(task_from_text(line), report)
    sys.stdout.flush()

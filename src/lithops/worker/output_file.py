"""The file in which a parent finds what the process of a call has written, also when it has died."""

from __future__ import annotations

import fcntl
import os
import tempfile
from typing import IO


def open_output() -> IO[bytes]:
    """A file at whose end all writes go: it is emptied between calls, while others hold it open."""
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - whoever asked for it closes it
    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
    return file

"""The processes of a sandbox, as /proc shows them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def descendants(pid: int) -> list[int]:
    """The processes that this one has started, and theirs."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def memory_mb(pid: int) -> int:
    """What the process and those below it hold in memory."""
    pages = 0
    for each in [pid, *descendants(pid)]:
        with contextlib.suppress(OSError, IndexError):
            pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
    return int(pages * _PAGE_MB)

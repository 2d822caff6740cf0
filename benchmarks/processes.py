"""How much memory this process and its descendants hold, as Linux tells in /proc."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def resident_bytes() -> int:
    """The memory of this process that is in RAM now."""
    return _status_bytes(os.getpid(), "VmRSS")


def peak_bytes() -> int:
    """The most memory of this process that ever was in RAM, shared and mapped pages included."""
    return _status_bytes(os.getpid(), "VmHWM")


class DescendantPeaks:
    """While it is entered, looks for the descendant of this process whose peak is the highest.

    That is a worker, or a process that serves them. Looking takes time: nothing is timed meanwhile.
    """

    def __init__(self, *, every_s: float) -> None:
        self.largest_bytes = 0
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> DescendantPeaks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._ended.wait(self._every_s):
            self._look()

    def _look(self) -> None:
        peaks = (_status_bytes(pid, "VmHWM") for pid in _descendants(os.getpid()))
        self.largest_bytes = max(self.largest_bytes, *peaks, 0)


def _descendants(ancestor: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            children.setdefault(_parent(int(entry.name)), []).append(int(entry.name))
    found: list[int] = []
    unread = [ancestor]
    while unread:
        below = children.get(unread.pop(), [])
        found += below
        unread += below
    return found


def _parent(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it ended since it was listed
    # The name, in parentheses, may hold spaces: the parent is the second field after it.
    return int(stat.rpartition(")")[2].split()[1])


def _status_bytes(pid: int, field: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # A process that ended and was not yet waited for has no such line.
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)

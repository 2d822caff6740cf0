"""What a call used of the machine: processor time for each call, memory and network sampled now and then.

Reading /proc costs more than a short call does. Memory and network are therefore read at most every
`SAMPLE_EVERY_S`, so that calls shorter than that share a sample.
"""

from __future__ import annotations

import os
import resource
import sys
from dataclasses import dataclass
from typing import NamedTuple

SAMPLE_EVERY_S = 0.2
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Linux tells the peak resident size in KiB, macOS in bytes.
_PEAK_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


class Usage(NamedTuple):
    """Processor time of this process so far in seconds, and its largest resident size in bytes."""

    user_s: float
    system_s: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory in bytes, and bytes sent and received by this machine; zero where the system does not tell."""

    rss: int = 0
    vms: int = 0
    uss: int = 0
    sent: int = 0
    received: int = 0


def read_usage() -> Usage:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(usage.ru_utime, usage.ru_stime, usage.ru_maxrss * _PEAK_UNIT_BYTES)


class Gauge:
    """Gives the latest sample, and takes a new one when that is due."""

    def __init__(self) -> None:
        self._sample = Sample()
        self._due = 0.0

    def read(self, now: float) -> Sample:
        if now >= self._due:
            self._sample = _sample() if sys.platform == "linux" else Sample()
            self._due = now + SAMPLE_EVERY_S
        return self._sample


of_this_process = Gauge()
"""One for all of its workers: a simulated cloud has many, and to take a sample costs more the more memory there is."""


def _sample() -> Sample:
    with open("/proc/self/statm", "rb") as file:
        vms_pages, rss_pages = file.read().split()[:2]
    sent, received = _network_bytes()
    return Sample(
        int(rss_pages) * _PAGE_BYTES, int(vms_pages) * _PAGE_BYTES, _private_bytes(), sent, received
    )


def _private_bytes() -> int:
    """What this process would give back if it ended."""
    try:
        with open("/proc/self/smaps_rollup", "rb") as file:
            lines = file.read().splitlines()
    except OSError:  # kernels before 4.14, and some sandboxes, do not have it
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(b"Private_"))


def _network_bytes() -> tuple[int, int]:
    try:
        with open("/proc/self/net/dev", "rb") as file:
            rows = [line.split(b":")[1].split() for line in file.read().splitlines()[2:]]
    except OSError:  # some sandboxes hide it
        return 0, 0
    return sum(int(row[8]) for row in rows), sum(int(row[0]) for row in rows)

"""How calls run on this machine: the compute keys of the section `localhost`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from lithops.settings import Between


@dataclass(frozen=True, slots=True)
class LocalhostConfig:
    """The section `localhost` as the compute backend sees it; its storage backend reads the same section."""

    mode: ClassVar[str] = "localhost"

    runtime: str = ""
    """What runs the workers: the path or name of a Python interpreter, or a container image, as ``python:3.11-slim``;
    empty: the interpreter that runs this program."""
    worker_processes: Annotated[int, Between(1)] | None = None
    """How many worker processes; none: one for each CPU that this process may use."""
    max_workers: Annotated[int, Between(1)] | None = None
    """Never more worker processes than this; none: no such bound."""

    calls_per_worker: Annotated[int, Between(1)] | None = None
    """After so many calls a worker process is replaced by a new one; none: it is kept."""
    preload: list[str] = field(default_factory=list)
    """Names of modules that are imported once for all worker processes, before those start. Not in containers."""

    @property
    def processes(self) -> int:
        """How many worker processes there are to be."""
        wanted = self.worker_processes or _usable_cpus()
        return min(wanted, self.max_workers or wanted)


def _usable_cpus() -> int:
    """The CPUs that this process may run on, where the system tells; else all of them."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1

"""What `localhost: runtime` names: an interpreter of this machine, or a container image."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import ClassVar, Protocol

from lithops.compute.backends.localhost.interpreter import Interpreter
from lithops.compute.backends.localhost.process import WorkerProcess
from lithops.compute.base import Surroundings
from lithops.storage.registry import row as storage_row
from lithops.wire.messages import StorageRef

IMAGE_VARIABLE = "LITHOPS_CONTAINER_IMAGE"
"""Set in a container: the image that it was made of."""


class Runtime(Protocol):
    """Where workers run. As text, it is what messages call it."""

    kind: ClassVar[str]
    """What it is, in a word."""
    name: str
    needs: str
    """What it must have, beside the program's Python version."""

    def check(self) -> None:
        """Make it ready. Raises `ConfigError` where there is no such runtime, `ComputeError` where it cannot run."""
        ...

    def start(self, storage: StorageRef) -> WorkerProcess:
        """A new worker, for tasks of jobs with this storage. Raises `OSError`."""
        ...

    def close(self) -> None:
        """Let go of what workers have in common. The next `start` makes it again."""
        ...


def runtime_of(named: str, surroundings: Surroundings, preload: Sequence[str]) -> Runtime:
    """What is found under a name: a path or a program's name is an interpreter, everything else an image.

    Workers of an interpreter have imported the modules `preload` when they start.
    """
    environment = surroundings.environment
    python = os.path.expanduser(named)
    # A function that makes an executor in a container is in its runtime already.
    if not named or named == os.environ.get(IMAGE_VARIABLE):
        python = sys.executable
    elif not (named.startswith(("/", ".", "~")) or shutil.which(python)):
        # Needs more imports than most programs have a use for.
        from lithops.compute.backends.localhost.container import Image

        return Image(named, {**environment, IMAGE_VARIABLE: named})
    row = storage_row(surroundings.storage)
    needed = [row.backend.partition(":")[0]] if row else []
    return Interpreter(python, environment, ["cloudpickle", *needed, *preload])

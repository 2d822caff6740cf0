"""What cannot be had: memory that processes of different machines have in common."""

from __future__ import annotations

from typing import Any


def _refuse(*_: Any, **__: Any) -> Any:
    raise NotImplementedError(
        "processes may run on different machines, which have no memory in common: use Array or a Manager for small "
        "data, and object storage (lithops.Storage) for large"
    )


SharedMemory = ShareableList = _refuse

"""Object storage: `Storage` for users, `base.StorageBackend` for those who add one.

A worker imports `base` and `registry` alone, so `Storage` is loaded when it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lithops.storage.client import Storage as Storage

__all__ = ["Storage"]


def __getattr__(name: str) -> Any:
    if name == "Storage":
        from lithops.storage.client import Storage

        return Storage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

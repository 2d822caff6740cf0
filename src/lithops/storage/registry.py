"""The storage backends by name. A new one is one row here."""

from __future__ import annotations

from typing import Any

from lithops.registry import Registry, Row
from lithops.storage.base import StorageBackend
from lithops.wire.messages import StorageRef

_registry = Registry(
    "storage",
    "lithops.storage",
    {
        "localhost": Row(
            "lithops.storage.backends.localhost.config:LocalhostStorageConfig",
            "lithops.storage.backends.localhost.backend:LocalhostStorage",
        ),
    },
)

backend_names = _registry.names
config_class = _registry.config_class


def create(name: str, config: Any) -> StorageBackend:
    """The backend `name`, made of its configuration (an instance of `config_class(name)`)."""
    backend: StorageBackend = _registry.create(name, config)
    return backend


def from_reference(ref: StorageRef) -> StorageBackend:
    """The storage that a task names. Credentials are those under which this process runs."""
    config = config_class(ref.backend)(**{**ref.options, "storage_bucket": ref.bucket})
    return create(ref.backend, config)

"""The settings of the Redis storage. The section `redis` is shared with everything else that uses the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from lithops.settings import Between, Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisConfig:
    """Where the server is, and who asks."""

    host: str | None = None
    """None: a server on this machine; but for objects that processes share, one that the program starts for itself."""
    port: Annotated[int, Between(1, 65535)] = 6379
    username: str | None = None
    """None: the server's default user."""
    password: Annotated[str, Secret()] | None = None
    db: Annotated[int, Between(0)] = 0
    """The number of the server's database."""
    ssl: bool = False
    """Speak TLS, and check the server's certificate against the system's authorities."""
    storage_bucket: str = "lithops-data"
    """The bucket of everything that names no other."""

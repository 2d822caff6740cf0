"""Where a program's shared state lives: what a process has to know to reach it, secrets left out."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from typing import Any

from lithops.exceptions import ConfigError

VARIABLE = "LITHOPS_SHARED"
"""Names the server to functions that make shared objects themselves."""
PASSWORD_VARIABLE = "LITHOPS_REDIS_PASSWORD"
"""Set on runtimes, since a password never travels with a task or a pickle."""

_CONNECT_S = 5.0
_SILENCE_S = 30.0
"""No command blocks in the server for this long: a server that is silent for longer is gone."""
_CONNECTIONS = 1000


@dataclass(frozen=True, slots=True)
class Server:
    """A Redis server, and the part of it that belongs to one program. It travels with every shared object."""

    program: str
    """The prefix of all keys: two programs on one server do not meet."""
    expiry_s: int
    """What nobody holds any more is gone after so many seconds."""
    folder: str = ""
    """Of an embedded server: where its socket and its password are. Empty: it is reached by network."""
    host: str = ""
    port: int = 0
    db: int = 0
    username: str | None = None
    ssl: bool = False

    def text(self) -> str:
        """As the environment of a function holds it."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Server:
        return cls(**json.loads(text))

    def connect(self, password: str | None = None) -> Any:
        """A client. Raises `ConfigError` where the package `redis` is missing."""
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as error:
            raise ConfigError(
                "objects that processes share need the package redis: pip install 'lithops[multiprocessing]', "
                "and for functions of a cloud a runtime that has it"
            ) from error
        options: dict[str, Any] = {
            # A command that was sent may have been carried out: sent again, it would be carried out twice.
            "retry": Retry(NoBackoff(), 0),
            "socket_timeout": _SILENCE_S,
            "max_connections": _CONNECTIONS,
            "protocol": 2,
        }  # fmt: skip
        if self.folder:
            path = os.path.join(self.folder, "password")
            try:
                with open(path, encoding="ascii") as file:
                    password = file.read()
            except OSError as error:
                raise ConfigError(
                    f"the shared state of this program is in a server on the machine that runs it ({path}: "
                    f"{error.strerror}), which a worker elsewhere cannot reach: configure a section redis"
                ) from error
            socket = os.path.join(self.folder, "socket")
            return redis.Redis(unix_socket_path=socket, password=password, **options)
        if password is None:
            password = os.environ.get(PASSWORD_VARIABLE)
        return redis.Redis(
            host=self.host, port=self.port, db=self.db, username=self.username, password=password, ssl=self.ssl,
            socket_connect_timeout=_CONNECT_S, socket_keepalive=True, **options,
        )  # fmt: skip

    def __str__(self) -> str:
        return "the embedded server" if self.folder else f"the Redis server {self.host}:{self.port}"

"""The one place where the errors of redis-py become `StorageError`s."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - redis-py's own
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    TimeoutError,  # noqa: A004 - redis-py's own
    TryAgainError,
)

from lithops.exceptions import AccessDenied, StorageError, StorageUnavailable
from lithops.storage.errors import called

Diagnosis = tuple[type[StorageError], str]
"""Which of our errors it is, and what to do about it."""

_CREDENTIALS = (AccessDenied, "check `username` and `password` in the section `redis`")
_RIGHTS = (AccessDenied, "give this user the right to do that, with ACL SETUSER")
_FULL = (StorageUnavailable, "its memory is full: delete objects, or raise `maxmemory` of the server")
_LOADING = (StorageUnavailable, "it reads its data from disk: try again later")
_REPLICA = (
    StorageUnavailable,
    "it is a replica: set `host` to the primary, or wait until it has become that",
)
_CLUSTER = (StorageError, "it is part of a Redis Cluster: take a server that stands alone")

_BY_CLASS: dict[type[RedisError], Diagnosis] = {
    AuthenticationError: _CREDENTIALS,
    AuthenticationWrongNumberOfArgsError: _CREDENTIALS,
    AuthorizationError: _CREDENTIALS,
    NoPermissionError: _RIGHTS,
    OutOfMemoryError: _FULL,
    BusyLoadingError: _LOADING,
    ReadOnlyError: _REPLICA,
    MasterDownError: _REPLICA,
    AskError: _CLUSTER,
    ClusterCrossSlotError: _CLUSTER,
    ClusterDownError: _CLUSTER,
    TryAgainError: _CLUSTER,
}
_BY_TEXT: dict[str, Diagnosis] = {
    "no permissions": _RIGHTS,
    "OOM ": _FULL,
    "max number of clients": (StorageUnavailable, "close connections, or raise `maxclients` of the server"),
    "DB index": (StorageError, "set `db` in the section `redis` to a database that the server has"),
    "SELECT is not allowed": (StorageError, "set `db` in the section `redis` to 0"),
    "unknown command": (StorageError, "the server has to be Redis 5 or newer, or Valkey"),
}
"""Errors within scripts, and those that have no code of their own."""
_BY_CODE: dict[str, Diagnosis] = {
    "BUSY": (StorageUnavailable, "a script of somebody else keeps the server busy: try again later"),
    "MISCONF": (StorageUnavailable, "it cannot save its data: look at its log, and at the space on its disk"),
    "NOREPLICAS": (StorageUnavailable, "it has too few replicas to take writes: try again later"),
    "WRONGTYPE": (StorageError, "another program wrote under the names `lithops:*`: give it another `db`"),
    "MASTERDOWN": _REPLICA,
    "MOVED": _CLUSTER,
    "ASK": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
    "CLUSTERDOWN": _CLUSTER,
    "TRYAGAIN": _CLUSTER,
}
"""By the first word of the answer. Newer versions of redis-py have classes for more of them, and drop the word."""


@contextmanager
def translate_errors(server: str, bucket: str, key: str = "") -> Iterator[None]:
    """`server` is the address, as messages name it."""
    try:
        yield
    except RedisError as error:
        kind, advice = diagnose(error)
        raise kind(f"{called(bucket, key)}: Redis at {server} says '{_text(error)}'; {advice}") from error


def diagnose(error: RedisError) -> Diagnosis:
    for kind, diagnosis in _BY_CLASS.items():
        if isinstance(error, kind):
            return diagnosis
    text = _text(error)
    for words, diagnosis in _BY_TEXT.items():
        if words in text:
            return diagnosis
    code = text.partition(" ")[0]
    if code in _BY_CODE:
        return _BY_CODE[code]
    if isinstance(error, ConnectionError | TimeoutError):
        return StorageUnavailable, "check `host`, `port` and `ssl`, and that it runs, or try again later"
    return StorageError, "look at the log of the server"


def _text(error: RedisError) -> str:
    # Errors of scripts repeat the script's name and more, some over several lines.
    return " ".join(str(error).split())[:300] or type(error).__name__

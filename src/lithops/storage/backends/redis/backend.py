"""Objects in a Redis server: what `layout` says under which name.

One script stores an object and one deletes objects, so that the index and the bytes never disagree. Reading takes plain
commands alone, which a user who may only read can give too.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from itertools import repeat
from typing import Any, BinaryIO, TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from lithops.exceptions import StorageError, StorageNoSuchKeyError, StorageUnavailable
from lithops.storage.backends.redis.config import RedisConfig
from lithops.storage.backends.redis.errors import translate_errors
from lithops.storage.backends.redis.layout import (
    BUCKETS,
    DELETE,
    PART_BYTES,
    PUT,
    Piece,
    data_name,
    index_name,
    listing_bounds,
    member_bounds,
    parse_member,
    part_name,
    pieces_within,
)
from lithops.storage.base import Body, ObjectInfo
from lithops.storage.bodies import pieces
from lithops.storage.credentials import public_options
from lithops.storage.errors import already_exists, called, no_bucket
from lithops.storage.many import outcome_of
from lithops.storage.naming import check_dns_bucket, check_key
from lithops.storage.patience import CONNECT_S, READ_S, persistently
from lithops.storage.streams import open_pieces
from lithops.wire.messages import ByteRange, StorageRef

_CONNECTIONS = 10_000
"""As many as there are threads at once: redis-py's own bound is an error in the thread that comes after it."""
_ABANDONED_AFTER_S = 86_400
"""Parts whose object is not complete by then are removed by the server: their writer died."""
_PAGE = 1_000
_BULK = 256
_DELETED_AT_ONCE = 1_000
_READ_ATTEMPTS = 5

Command = tuple[Any, ...]
T = TypeVar("T")


class RedisStorage:
    """Implements `StorageBackend` and `SupportsBulk`. Safe in threads and after a fork."""

    name = "redis"

    def __init__(self, config: RedisConfig) -> None:
        self._config = config
        host = config.host or "localhost"
        self._server = f"{host}:{config.port}"
        # redis-py has types for its synchronous and its asynchronous clients at once, which say nothing.
        self._redis: Any = Redis(
            host=host,
            port=config.port,
            username=config.username,
            password=config.password,
            db=config.db,
            ssl=config.ssl,
            protocol=2,
            max_connections=_CONNECTIONS,
            socket_connect_timeout=CONNECT_S,
            socket_timeout=READ_S,
            # Its own would not hold while connections are made, and twice when they are made again.
            retry=Retry(NoBackoff(), 0),
        )

    def put(self, bucket: str, key: str, body: Body, *, if_absent: bool = False) -> None:
        check_dns_bucket(bucket)
        check_key(key)
        version = os.urandom(8).hex()
        parts: list[str] = []
        size = 0
        # The commands of the last part and of the commit travel together.
        commands: list[Command] = []
        try:
            for piece in pieces(body, repeat(PART_BYTES)):
                self._run(commands, bucket, key)
                parts.append(part_name(version, len(parts)))
                size += len(piece)
                commands = [("SET", parts[-1], piece, "EX", _ABANDONED_AFTER_S)]
        except BaseException:
            self._discard(parts)
            raise
        names = (BUCKETS, index_name(bucket), data_name(bucket, key), *parts)
        condition = "if absent" if if_absent else ""
        commands.append(("EVAL", PUT, len(names), *names, bucket, key, version, size, condition))
        outcome = self._run(commands, bucket, key)[-1]
        if outcome == b"no bucket":
            raise no_bucket(bucket)
        if outcome == b"exists":
            raise already_exists(bucket, key)
        if outcome == b"lost":
            raise StorageUnavailable(
                f"{called(bucket, key)}: Redis at {self._server} dropped what was sent of it before it was complete; "
                " send it in less than a day, and set `maxmemory-policy` of the server to noeviction"
            )

    def _run(self, commands: Sequence[Command], bucket: str, key: str) -> list[Any]:
        """The answers to commands that are sent at once. If one of them is an error, that is raised."""

        def send() -> list[Any]:
            pipeline = self._redis.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            answers: list[Any] = pipeline.execute(raise_on_error=False)
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
            return answers

        with self._translated(bucket, key):
            answers: list[Any] = self._ask(send)
        return answers

    def _ask(self, command: Callable[..., Any], *arguments: Any) -> Any:
        """What the server answers. While the connection fails, it is asked again: whatever is asked here may be."""
        return persistently(partial(command, *arguments), _may_pass)

    def _discard(self, parts: Sequence[str]) -> None:
        # The error that led here is the one to be told; what cannot be removed now expires.
        with suppress(RedisError):
            if parts:
                self._redis.unlink(*parts)

    def get(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> bytes:
        check_dns_bucket(bucket)
        check_key(key)

        def read() -> bytes:
            found = self._find(bucket, key, byte_range)
            return found if isinstance(found, bytes) else b"".join(self._read(found, bucket, key))

        return _until_whole(read)

    def open(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> BinaryIO:
        check_dns_bucket(bucket)
        check_key(key)
        found = _until_whole(lambda: self._find(bucket, key, byte_range))
        if isinstance(found, bytes):
            return io.BytesIO(found)
        return open_pieces(self._read(found, bucket, key))

    def _find(self, bucket: str, key: str, byte_range: ByteRange | None) -> bytes | list[Piece]:
        """What is asked for of the object's bytes; of an object in parts, what to read of which."""
        name = data_name(bucket, key)
        with self._translated(bucket, key):
            try:
                data = self._read_string(name, byte_range)
            except ResponseError as error:
                if not _is_wrong_type(error):
                    raise
                return self._find_parts(name, bucket, key, byte_range)
        if data is None:
            raise self._missing(bucket, key)
        return data

    def _read_string(self, name: str, byte_range: ByteRange | None) -> bytes | None:
        if byte_range is None:
            whole: bytes | None = self._ask(self._redis.get, name)
            return whole
        # Redis counts the last byte in, and answers with nothing if that is before the first.
        stop = byte_range.stop - 1
        first, last = (byte_range.start, stop) if byte_range.start <= stop else (1, 0)
        data: bytes = self._ask(self._redis.getrange, name, first, last)
        return data if data or self._ask(self._redis.exists, name) else None

    def _find_parts(self, name: str, bucket: str, key: str, byte_range: ByteRange | None) -> list[Piece]:
        try:
            parts = self._ask(self._redis.lrange, name, 0, -1)
        except ResponseError as error:
            if not _is_wrong_type(error):
                raise
            raise _Replaced(bucket, key) from error
        if not parts:
            raise _Replaced(bucket, key)
        return pieces_within(parts, byte_range)

    def _read(self, pieces: Sequence[Piece], bucket: str, key: str) -> Iterator[bytes]:
        for piece in pieces:
            with self._translated(bucket, key):
                data: bytes = self._ask(self._redis.getrange, piece.name, piece.start, piece.stop - 1)
            if len(data) < piece.stop - piece.start:
                raise _Replaced(bucket, key)
            yield data

    def get_many(self, bucket: str, keys: Sequence[str]) -> Sequence[bytes | StorageError]:
        check_dns_bucket(bucket)
        for key in keys:
            check_key(key)
        bodies: list[bytes | StorageError] = []
        for start in range(0, len(keys), _BULK):
            batch = keys[start : start + _BULK]
            with self._translated(bucket):
                found = self._ask(self._redis.mget, [data_name(bucket, key) for key in batch])
            for key, body in zip(batch, found, strict=True):
                # Objects in parts are not found in this way either.
                bodies.append(outcome_of(partial(self.get, bucket), key) if body is None else body)
        return bodies

    def head(self, bucket: str, key: str) -> ObjectInfo:
        check_dns_bucket(bucket)
        check_key(key)
        with self._translated(bucket, key):
            members = self._ask(self._redis.zrangebylex, index_name(bucket), *member_bounds(key), 0, 1)
        if not members:
            raise self._missing(bucket, key)
        return parse_member(members[0])

    def list(self, bucket: str, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        check_dns_bucket(bucket)
        if "\0" in prefix:
            return  # No key starts like this.
        is_first = True
        while True:
            bounds = listing_bounds(prefix, start_after)
            with self._translated(bucket):
                page = self._ask(self._redis.zrangebylex, index_name(bucket), *bounds, 0, _PAGE)
            if is_first and not page and not self.bucket_exists(bucket):
                raise no_bucket(bucket)
            yield from map(parse_member, page)
            if len(page) < _PAGE:
                return
            is_first = False
            start_after = parse_member(page[-1]).key

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        check_dns_bucket(bucket)
        for key in keys:
            check_key(key)
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            batch = keys[start : start + _DELETED_AT_ONCE]
            names = (BUCKETS, index_name(bucket), *(data_name(bucket, key) for key in batch))
            with self._translated(bucket):
                outcome = self._ask(self._redis.eval, DELETE, len(names), *names, bucket, *batch)
            if outcome == b"no bucket":
                raise no_bucket(bucket)

    def ensure_bucket(self, bucket: str) -> None:
        # Users who may only read can name a bucket that is there.
        if not self.bucket_exists(bucket):
            with self._translated(bucket):
                self._ask(self._redis.sadd, BUCKETS, bucket)

    def bucket_exists(self, bucket: str) -> bool:
        check_dns_bucket(bucket)
        with self._translated(bucket):
            return bool(self._ask(self._redis.sismember, BUCKETS, bucket))

    def default_bucket(self) -> str:
        return self._config.storage_bucket

    def reference(self, bucket: str) -> StorageRef:
        return StorageRef(self.name, bucket, public_options(self._config))

    def client(self) -> Any:
        """The `redis.Redis` of this storage."""
        return self._redis

    def close(self) -> None:
        self._redis.close()

    def _translated(self, bucket: str, key: str = "") -> AbstractContextManager[None]:
        return translate_errors(self._server, bucket, key)

    def _missing(self, bucket: str, key: str) -> StorageError:
        return StorageNoSuchKeyError(bucket, key) if self.bucket_exists(bucket) else no_bucket(bucket)


class _Replaced(StorageUnavailable):
    """The parts that an object had are gone."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(f"{called(bucket, key)} was replaced or deleted while it was read; read it again")


def _until_whole(read: Callable[[], T]) -> T:
    """Start again when the object is replaced meanwhile, but not for ever."""
    for _ in range(_READ_ATTEMPTS - 1):
        with suppress(_Replaced):
            return read()
    return read()


def _may_pass(error: Exception) -> bool:
    # redis-py counts wrong credentials among failing connections.
    is_of_connection = isinstance(error, RedisConnectionError | RedisTimeoutError)
    return is_of_connection and not isinstance(error, AuthenticationError)


def _is_wrong_type(error: ResponseError) -> bool:
    return str(error).startswith("WRONGTYPE")

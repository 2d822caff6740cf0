"""Bytes that processes share: one string in the server, of which each operation moves what it touches and no more."""

from __future__ import annotations

from typing import Any

from lithops.exceptions import SharedStateError
from lithops.multiprocessing.current import current_session
from lithops.multiprocessing.references import SharedObject
from lithops.shared.session import Session

_ZEROS_IN_COMMAND = 65_536
_DENSE = 16
"""Reading what lies between is cheaper than picking, up to one item in so many."""

# All scripts: KEYS[1]: the memory; ARGV[1]: its size. What has expired must not come back half, or for ever.
_GONE = "if redis.call('STRLEN', KEYS[1]) ~= tonumber(ARGV[1]) then return -1 end\n"
# ARGV: first byte, last byte
_READ = _GONE + "return redis.call('GETRANGE', KEYS[1], ARGV[2], ARGV[3])"
# ARGV: first byte, data
_WRITE = _GONE + "redis.call('SETRANGE', KEYS[1], ARGV[2], ARGV[3]) return 1"
# ARGV: first byte, bytes of an item, bytes from one item to the next, number of items
_GATHER = _GONE + """
local first, size, step, items = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), {}
for item = 1, tonumber(ARGV[5]) do
  items[item] = redis.call('GETRANGE', KEYS[1], first, first + size - 1)
  first = first + step
end
return table.concat(items)
"""  # fmt: skip
# ARGV: first byte, bytes of an item, bytes from one item to the next, all items
_SCATTER = _GONE + """
local first, size, step = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
for at = 1, #ARGV[5], size do
  redis.call('SETRANGE', KEYS[1], first, string.sub(ARGV[5], at, at + size - 1))
  first = first + step
end
return 1
"""  # fmt: skip
# KEYS[2]: the new memory; ARGV: first byte, last byte, ms of life
_COPY = _GONE + """
redis.call('SET', KEYS[2], redis.call('GETRANGE', KEYS[1], ARGV[2], ARGV[3]), 'PX', ARGV[4])
return 1
"""  # fmt: skip


class Memory(SharedObject):
    """A number of bytes. Callers stay within it."""

    size: int
    writes: int
    """How often this process has written."""

    def _open(self, session: Session, key: str, *details: Any) -> None:
        (self.size,) = details
        self.writes = 0
        super()._open(session, key)

    def _details(self) -> tuple[Any, ...]:
        return (self.size,)

    @property
    def plain(self) -> Memory:
        """The same bytes, without a lock that guards them."""
        return self

    def read(self, offset: int, size: int) -> bytes:
        if not size:
            return b""
        found: bytes = self._session.run("GETRANGE", self._key, offset, offset + size - 1)
        if len(found) != size:
            raise self._gone()
        return found

    def write(self, offset: int, data: bytes) -> None:
        if not data:
            return
        self.writes += 1
        if len(data) < self.size:
            self._perform(_WRITE, offset, data)
        elif self._session.run("SET", self._key, data, "XX", "KEEPTTL") is None:
            raise self._gone()

    def read_items(self, offset: int, size: int, step: int, count: int) -> bytes:
        """`count` items of `size` bytes, each `step` bytes after the one before, or before it with a minus."""
        if step == size or not count:
            return self.read(offset, size * count)
        span = abs(step) * (count - 1) + size
        if span > _DENSE * size * count:
            return bytes(self._perform(_GATHER, offset, size, step, count))
        between = self.read(offset if step > 0 else offset - span + size, span)
        at = range(0, span, step) if step > 0 else range(span - size, -1, step)
        return b"".join(between[start : start + size] for start in at)

    def write_items(self, offset: int, size: int, step: int, data: bytes) -> None:
        """The counterpart of `read_items`."""
        if step == size or len(data) <= size:
            self.write(offset, data)
        else:
            self.writes += 1
            self._perform(_SCATTER, offset, size, step, data)

    def copy(self, offset: int, size: int) -> Memory:
        """Memory of its own, with a part of this one's content, which does not leave the server."""
        if not size:
            return new_memory(0)
        key = self._session.key("memory")
        arguments = self.size, offset, offset + size - 1, self._session.expiry_ms
        self._check(self._session.script(_COPY, (self._key, key), *arguments))
        return _opened(self._session, key, size)

    def _perform(self, script: str, *arguments: Any) -> Any:
        return self._check(self._session.script(script, (self._key,), self.size, *arguments))

    def _check(self, answer: Any) -> Any:
        if answer == -1:
            raise self._gone()
        return answer

    def _gone(self) -> SharedStateError:
        return SharedStateError(
            f"{self._session.server} has lost a shared value or array of {self.size} bytes: it has run out of memory, "
            "or all who have it said nothing for too long; its setting maxmemory-policy has to be noeviction, and the "
            "parameter REDIS_EXPIRY_TIME long enough"
        )


class LockedMemory(Memory):
    """The same bytes under a lock: each operation acquires it, and releases it when it is done."""

    def __init__(self, memory: Memory, lock: Any) -> None:
        self._memory, self._lock = memory, lock
        self._session, self._key, self.size = memory._session, memory._key, memory.size

    @property
    def plain(self) -> Memory:
        return self._memory

    @property
    def writes(self) -> int:
        return self._memory.writes

    @writes.setter
    def writes(self, count: int) -> None:
        self._memory.writes = count

    def read(self, offset: int, size: int) -> bytes:
        with self._lock:
            return self._memory.read(offset, size)

    def write(self, offset: int, data: bytes) -> None:
        with self._lock:
            self._memory.write(offset, data)

    def _perform(self, script: str, *arguments: Any) -> Any:
        with self._lock:
            return self._memory._perform(script, *arguments)


class GuardedMemory(LockedMemory):
    """The same bytes under a lock of this package.

    With the lock free, an operation is one request: a script that finds it free, and is done before anybody takes it.
    """

    def read(self, offset: int, size: int) -> bytes:
        if self._lock._is_mine() or not size:
            return self._memory.read(offset, size)
        return bytes(self._perform(_READ, offset, offset + size - 1))

    def write(self, offset: int, data: bytes) -> None:
        if self._lock._is_mine() or not data:
            self._memory.write(offset, data)
        else:
            self.writes += 1
            self._perform(_WRITE, offset, data)

    def _perform(self, script: str, *arguments: Any) -> Any:
        return self._check(self._lock._guarded(script, (self._key,), self.size, *arguments))


def new_memory(size: int, content: bytes = b"") -> Memory:
    """Memory of its own, with that content, or else zeros."""
    session = current_session()
    key = session.key("memory")
    if content or size <= _ZEROS_IN_COMMAND:
        session.run("SET", key, content or bytes(size), "PX", session.expiry_ms)
    else:
        session.run_all(("SETRANGE", key, size - 1, b"\0"), ("PEXPIRE", key, session.expiry_ms))
    return _opened(session, key, size)


def _opened(session: Session, key: str, size: int) -> Memory:
    memory = Memory.__new__(Memory)
    memory._open(session, key, size)
    return memory

"""`Queue`, `JoinableQueue` and `SimpleQueue`: lists in the server of the program.

There is no feeder thread: when `put` returns, the item is where every process can get it. An item that cannot be
pickled still goes the way it goes in the standard library: `put` returns, and `_on_queue_feeder_error` is told.

Who finds a bounded queue full leaves the item as an offer and waits. Whoever takes an item admits the oldest offer,
so the capacity is exact, and items enter in the order of their arrival.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from multiprocessing import queues as standard
from queue import Empty, Full
from typing import Any

from lithops.exceptions import SharedStateError
from lithops.multiprocessing import messages
from lithops.multiprocessing.current import current_session
from lithops.shared.server import Server
from lithops.shared.session import Session, new_name, session_for
from lithops.wire.pickles import Buffer

# The keys of all scripts: items, large messages, unfinished tasks, names that offer, their offers.
# items, large, unfinished | element, expiry, "1" if tasks are counted
_PUT = (
    messages.PUSH
    + """
push(KEYS[1], ARGV[1], KEYS[2], ARGV[2])
if ARGV[3] == '1' then redis.call('INCR', KEYS[3]) redis.call('PEXPIRE', KEYS[3], ARGV[2]) end
"""
)
# Offers of processes that are gone are passed over. | expiry, counted, size, prefix of wake lists, presence prefix
_ADMIT = (
    messages.PUSH
    + """
local function admit(expiry, counted, size, wake, presence)
  while redis.call('LLEN', KEYS[1]) < tonumber(size) do
    local name = redis.call('LPOP', KEYS[4])
    if not name then return end
    local element = redis.call('HGET', KEYS[5], name)
    redis.call('HDEL', KEYS[5], name)
    if element and redis.call('GET', presence .. string.match(name, '^[^/]*')) == '1' then
      push(KEYS[1], element, KEYS[2], expiry)
      if counted == '1' then redis.call('INCR', KEYS[3]) redis.call('PEXPIRE', KEYS[3], expiry) end
      redis.call('RPUSH', wake .. name, '1')
      redis.call('PEXPIRE', wake .. name, expiry)
    end
  end
end
"""
)
# 1: it is in; 0: the queue is full, and the offer stands if a name was given.
_OFFER = (
    _ADMIT
    + """
admit(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
if redis.call('LLEN', KEYS[1]) < tonumber(ARGV[3]) then
  push(KEYS[1], ARGV[6], KEYS[2], ARGV[1])
  if ARGV[2] == '1' then redis.call('INCR', KEYS[3]) redis.call('PEXPIRE', KEYS[3], ARGV[1]) end
  return 1
end
if ARGV[7] ~= '' then
  redis.call('RPUSH', KEYS[4], ARGV[7])
  redis.call('HSET', KEYS[5], ARGV[7], ARGV[6])
  redis.call('PEXPIRE', KEYS[4], ARGV[1])
  redis.call('PEXPIRE', KEYS[5], ARGV[1])
end
return 0
"""
)
# 1: the offer is withdrawn; 0: it has been admitted. | its name, its wake list
_WITHDRAW = """
redis.call('DEL', ARGV[2])
redis.call('LREM', KEYS[4], 1, ARGV[1])
return redis.call('HDEL', KEYS[5], ARGV[1])
"""
_TAKE = (
    _ADMIT
    + """
local element = redis.call('LPOP', KEYS[1])
if element then admit(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]) end
return element
"""
)
# A putter looks after its offer: it is lost if the process was taken for dead. | ... its element, its name
_RENEW = (
    _ADMIT
    + """
local known = redis.call('HEXISTS', KEYS[5], ARGV[7]) + redis.call('EXISTS', ARGV[4] .. ARGV[7])
if known == 0 then
  redis.call('RPUSH', KEYS[4], ARGV[7])
  redis.call('HSET', KEYS[5], ARGV[7], ARGV[6])
  redis.call('PEXPIRE', KEYS[4], ARGV[1])
  redis.call('PEXPIRE', KEYS[5], ARGV[1])
end
admit(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
"""
)
_MAKE_ROOM = _ADMIT + "admit(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])"
# unfinished, names that wait for the last one | expiry, prefix of wake lists
_DONE = """
local left = tonumber(redis.call('GET', KEYS[1]) or '0')
if left < 1 then return 0 end
if redis.call('DECR', KEYS[1]) == 0 then
  for _, name in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
    redis.call('RPUSH', ARGV[2] .. name, '1')
    redis.call('PEXPIRE', ARGV[2] .. name, ARGV[1])
  end
  redis.call('DEL', KEYS[2])
end
return 1
"""
# 1: nothing is unfinished | expiry, name
_JOIN = """
if tonumber(redis.call('GET', KEYS[1]) or '0') < 1 then return 1 end
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
return 0
"""


class _Items:
    """The list of a queue: its keys, and how items come into it and out of it."""

    def __init__(self, session: Session, key: str, maxsize: int, counted: bool) -> None:
        self.session = session
        self.key = key
        self.store = messages.Store(session, key)
        self.unfinished, self.joiners = f"{key}:unfinished", f"{key}:joiners"
        self._wake = f"{key}:wake:"
        self._keys = [key, self.store.large, self.unfinished, f"{key}:waiting", f"{key}:offers"]
        self._maxsize = maxsize
        self._counted = "1" if counted else "0"
        session.keep(self)

    @property
    def keys(self) -> Sequence[str]:
        return [*self._keys, self.joiners, *self.store.keys]

    def put(self, segments: list[Buffer], block: bool, timeout_s: float | None) -> bool:
        """False: the queue has been full all the time."""
        if not self._maxsize:
            element = self.store.wrap(segments)
            self.session.script(_PUT, self._keys[:3], element, self.session.expiry_ms, self._counted)
            return True
        return self._put_bounded(self.store.wrap(segments), block, timeout_s)

    def _put_bounded(self, element: bytes, block: bool, timeout_s: float | None) -> bool:
        waits = block and (timeout_s is None or timeout_s > 0)
        name = f"{self.session.me}/{new_name()}" if waits else ""
        try:
            if self._run(_OFFER, element, name):
                return True
            if waits:
                with self.store.kept(element):
                    woken = self.session.wait(
                        self._wake + name, timeout_s, lambda: self._run(_RENEW, element, name)
                    )
                if woken is not None:
                    return True
        except BaseException:
            with contextlib.suppress(SharedStateError):
                self._withdraw(name, element)
            raise
        return not self._withdraw(name, element)

    def _withdraw(self, name: str, element: bytes) -> bool:
        withdrawn = not name or bool(self.session.script(_WITHDRAW, self._keys, name, self._wake + name))
        if withdrawn:
            self.store.drop(element)
        return withdrawn

    def get(self, block: bool, timeout_s: float | None) -> bytes | None:
        """The next item's element; None when there has been none all the time."""
        if not self._maxsize:
            return self.session.wait(self.key, timeout_s if block else 0)
        element: bytes | None = self._run(_TAKE)
        if element is None and block:
            element = self.session.wait(self.key, timeout_s)
            if element is not None:
                self._make_room()
        return element

    def size(self) -> int:
        return int(self.session.run("LLEN", self.key))

    def done(self) -> bool:
        """False: there was nothing unfinished."""
        keys = [self.unfinished, self.joiners]
        return bool(self.session.script(_DONE, keys, self.session.expiry_ms, self._wake))

    def join(self) -> None:
        name = new_name()
        keys = [self.unfinished, self.joiners]
        if self.session.script(_JOIN, keys, self.session.expiry_ms, name):
            return
        try:
            self.session.wait(self._wake + name)
        finally:
            with contextlib.suppress(SharedStateError):
                self.session.run("LREM", self.joiners, 1, name)

    def _make_room(self) -> None:
        """A process that took an item may have died before it admitted an offer."""
        self._run(_MAKE_ROOM)

    def _run(self, lua: str, *arguments: Any) -> Any:
        session = self.session
        return session.script(
            lua, self._keys, session.expiry_ms, self._counted, self._maxsize, self._wake, session.presence(""),
            *arguments,
        )  # fmt: skip


class Queue(standard.Queue):  # type: ignore[type-arg] # it takes a type argument only when types are checked
    """As `multiprocessing.Queue`. It pickles anywhere. `empty()` is right as soon as `put` has returned."""

    _counts = False

    def __init__(self, maxsize: int = 0, *, ctx: object = None) -> None:  # noqa: ARG002 - as the standard's
        session = current_session()
        self._open(session, session.key("queue"), max(maxsize, 0))

    def _open(self, session: Session, key: str, maxsize: int) -> None:
        self._maxsize = maxsize
        self._items = _Items(session, key, maxsize, self._counts)
        self._closed = False
        # What the standard library's methods look at: there is no thread to close or to join.
        self._close = self._jointhread = None
        self._joincancelled = False

    def __reduce__(self) -> tuple[Any, ...]:
        items = self._items
        return _rebuild, (type(self), items.session.server, items.key, self._maxsize)

    def put(self, obj: Any, block: bool = True, timeout: float | None = None) -> None:
        self._check_open()
        try:
            segments = messages.dump(obj)
        except Exception as error:  # noqa: BLE001 - a user's own reduction may raise anything
            self._on_queue_feeder_error(error, obj)  # type: ignore[attr-defined] # the standard library's hook
            return
        if not self._items.put(segments, block, timeout):
            raise Full

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        self._check_open()
        element = self._items.get(block, timeout)
        if element is None:
            raise Empty
        return self._items.store.load(element)

    def qsize(self) -> int:
        return self._items.size()

    def empty(self) -> bool:
        return not self._items.size()

    def full(self) -> bool:
        return bool(self._maxsize) and self._items.size() >= self._maxsize

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"Queue {self!r} is closed")


class JoinableQueue(Queue):
    """As `multiprocessing.JoinableQueue`. An item that cannot be pickled is no task."""

    _counts = True

    def task_done(self) -> None:
        """Raises `ValueError` when it is called more often than items were put."""
        if not self._items.done():
            raise ValueError("task_done() called too many times")

    def join(self) -> None:
        """Wait until each item that was put is done."""
        self._items.join()


class SimpleQueue(standard.SimpleQueue):  # type: ignore[type-arg] # as above
    """As `multiprocessing.SimpleQueue`."""

    def __init__(self, *, ctx: object = None) -> None:  # noqa: ARG002 - as above
        session = current_session()
        self._open(session, session.key("queue"))

    def _open(self, session: Session, key: str) -> None:
        self._items = _Items(session, key, 0, counted=False)
        self._is_closed = False

    def __reduce__(self) -> tuple[Any, ...]:
        self._check_open()
        return _rebuild, (type(self), self._items.session.server, self._items.key)

    def put(self, item: Any) -> None:
        self._check_open()
        self._items.put(messages.dump(item), True, None)

    def get(self) -> Any:
        self._check_open()
        element = self._items.get(True, None)
        assert element is not None
        return self._items.store.load(element)

    def empty(self) -> bool:
        self._check_open()
        return not self._items.size()

    def close(self) -> None:
        """This process does without it from now on."""
        self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise OSError("handle is closed")


def _rebuild(kind: Any, server: Server, *place: Any) -> Any:
    queue = kind.__new__(kind)
    queue._open(session_for(server), *place)
    return queue

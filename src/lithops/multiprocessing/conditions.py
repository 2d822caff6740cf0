"""`Condition` and `Event`, as those of `multiprocessing`, for processes anywhere.

Who sleeps in a condition is moved into the queue of its lock when it is notified, and wakes when it has the lock: in
order of arrival, with no race for it.
"""

from __future__ import annotations

from multiprocessing import synchronize
from typing import Any

from lithops.exceptions import SharedStateError
from lithops.multiprocessing.current import current_session
from lithops.multiprocessing.locks import Lock, RLock
from lithops.multiprocessing.permits import COMMON, Permits, robbed
from lithops.multiprocessing.references import SharedObject, Suspects, caller
from lithops.shared.session import Session

__all__ = ["Condition", "Event"]

# KEYS[4] of a condition: who sleeps (list), KEYS[5]: who was notified and has not said yet that it is awake (set).
_SLEEP = COMMON + """
-- Let go of the lock and sleep. Gives 0 if the caller has not got the lock
if not has(who) then return 0 end
append(KEYS[4], who)
drop(who)
give()
return 1
"""  # fmt: skip
_NOTIFY = COMMON + """
-- ARGV[8]: how many. Gives how many there were; -1 if the caller has not got the lock
if not has(who) then return -1 end
local number = 0
while number < tonumber(ARGV[8]) do
  local next = redis.call('LPOP', KEYS[4])
  if not next then break end
  if state(next) == '1' then
    redis.call('SADD', KEYS[5], next)
    append(waiters, next)
    number = number + 1
  end
end
redis.call('PEXPIRE', KEYS[5], life)
return number
"""  # fmt: skip
_GET_UP = COMMON + """
-- Sleep no more. Gives whether the caller was notified, and whether it has the lock; if not, it is in the queue
local notified = redis.call('SREM', KEYS[5], who)
if has(who) then
  redis.call('DEL', permits .. ':wake:' .. who)
  return {1, 1}
end
if redis.call('LREM', KEYS[4], 1, who) == 1 or notified == 0 then hand_or_queue(who) end
return {notified, 0}
"""  # fmt: skip
_LOOK = COMMON + """
-- ARGV[8] and on: who is gone. Gives whether the caller was notified, and then those notified who are silent
local gone, answer = {}, {redis.call('SISMEMBER', KEYS[5], who)}
for index = 8, #ARGV do gone[ARGV[index]] = true end
if answer[1] == 0 and not redis.call('LPOS', KEYS[4], who) then append(KEYS[4], who) end
for _, each in ipairs(redis.call('SMEMBERS', KEYS[5])) do
  if state(each) ~= '1' then
    if gone[each] or buried(each) then
      redis.call('SREM', KEYS[5], each)
      local next = redis.call('LPOP', KEYS[4])
      if next then
        redis.call('SADD', KEYS[5], next)
        hand_or_queue(next)
      end
    else
      answer[#answer + 1] = each
    end
  end
end
return answer
"""  # fmt: skip


class Condition(SharedObject, synchronize.Condition):
    """See `multiprocessing.Condition`. A process that is killed while it waits takes no notification from others."""

    def __init__(
        self,
        lock: Lock | RLock | None = None,
        *,
        ctx: object = None,  # noqa: ARG002 - as the standard's
    ) -> None:
        if lock is None:
            lock = RLock()
        elif not isinstance(lock, (Lock, RLock)):
            raise TypeError(
                f"a Condition needs a Lock or an RLock of lithops.multiprocessing, not {type(lock).__name__}"
            )
        session = lock._session
        self._open(session, session.key("condition"), lock)

    def _open(self, session: Session, key: str, *details: Any) -> None:
        self._lock: Lock | RLock = details[0]
        self._permits: Permits = self._lock._permits
        self._suspects = Suspects()
        super()._open(session, key)

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take the lock."""
        return self._lock.acquire(block, timeout)

    def release(self) -> None:
        """Give the lock back."""
        self._lock.release()

    def _details(self) -> tuple[Any, ...]:
        return (self._lock,)

    @property
    def keys(self) -> tuple[str, ...]:
        return self._key, f"{self._key}:notified"

    def wait(self, timeout: float | None = None) -> bool:
        """Let go of the lock, sleep until notified, and take the lock again. False if the time was up before."""
        if not self._lock._is_mine():
            raise AssertionError("must acquire() condition before using wait()")
        me = caller(self._session)
        depth = self._lock._let_go()
        try:
            if not self._script(_SLEEP, me):
                raise robbed()
            return self._sleep(me, timeout)
        finally:
            self._lock._hold(me, depth)

    def _sleep(self, me: str, timeout: float | None) -> bool:
        """Come back with the lock."""
        try:
            if self._session.wait(self._permits.wake_key(me), timeout, lambda: self._look(me)) is not None:
                self._session.run("SREM", self.keys[1], me)
                return True
        except BaseException:
            self._get_up(me)
            raise
        return self._get_up(me)

    def _get_up(self, me: str) -> bool:
        """Take the lock, though nobody has called; True if somebody has in the last moment."""
        notified, has = self._script(_GET_UP, me)
        if not has:
            self._permits.wait(me, None)
        return bool(notified)

    def notify(self, n: int = 1) -> None:
        """Wake up to so many of those who wait. Raises `AssertionError` if the lock is not this thread's."""
        if not self._lock._is_mine():
            raise AssertionError("lock is not owned")
        if self._script(_NOTIFY, caller(self._session), n) < 0:
            raise robbed()

    def _look(self, me: str) -> None:
        """Pass on the notifications of processes that are gone."""
        notified, *silent = self._script(_LOOK, me, *self._suspects.gone())
        self._suspects.note(silent)
        if notified:
            self._permits.look(me, waits=True)

    def _script(self, lua: str, me: str, *arguments: Any) -> Any:
        return self._permits.script(lua, me, *arguments, keys=self.keys)

    def __repr__(self) -> str:
        try:
            waiting = self._session.run("LLEN", self._key)
        except SharedStateError:
            waiting = "unknown"
        return f"<{type(self).__name__}({self._lock}, {waiting})>"


# KEYS of an event: whether it is set (string), who waits (list).
_SET = """
-- ARGV: ms of life
redis.call('SET', KEYS[1], 1, 'PX', ARGV[1])
for _, each in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do
  redis.call('RPUSH', KEYS[1] .. ':wake:' .. each, 1)
  redis.call('PEXPIRE', KEYS[1] .. ':wake:' .. each, ARGV[1])
end
redis.call('DEL', KEYS[2])
"""
_AWAIT = """
-- ARGV: who waits, ms of life. Gives 1 if the event is set
if redis.call('EXISTS', KEYS[1]) == 1 then return 1 end
redis.call('RPUSH', KEYS[2], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return 0
"""
_STOP_WAITING = """
-- ARGV: who waits. Gives 1 if the event was set meanwhile
if redis.call('LREM', KEYS[2], 1, ARGV[1]) == 1 then return 0 end
redis.call('DEL', KEYS[1] .. ':wake:' .. ARGV[1])
return 1
"""


class Event(SharedObject):
    """See `multiprocessing.Event`. Whoever waits when it is set wakes, even if it is cleared at once."""

    def __init__(self, *, ctx: object = None) -> None:  # noqa: ARG002 - as the standard's
        session = current_session()
        self._open(session, session.key("event"))

    @property
    def keys(self) -> tuple[str, ...]:
        return self._key, f"{self._key}:waiters"

    def is_set(self) -> bool:
        """Whether it is set."""
        return bool(self._session.run("EXISTS", self._key))

    def set(self) -> None:
        """Set it, and wake all who wait."""
        self._session.script(_SET, self.keys, self._session.expiry_ms)

    def clear(self) -> None:
        """From now on, who waits blocks until it is set again."""
        self._session.run("DEL", self._key)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until it is set; False when the time is up before."""
        if timeout is not None and timeout <= 0:
            return self.is_set()
        me = caller(self._session)
        if self._session.script(_AWAIT, self.keys, me, self._session.expiry_ms):
            return True
        woken = None
        try:
            woken = self._session.wait(f"{self._key}:wake:{me}", timeout)
        finally:
            if woken is None:
                woken = self._session.script(_STOP_WAITING, self.keys, me) or None
        return woken is not None

    def __repr__(self) -> str:
        try:
            shown = "set" if self.is_set() else "unset"
        except SharedStateError:
            shown = "unknown"
        return f"<{type(self).__qualname__} at {id(self):#x} {shown}>"

"""What locks and semaphores are made of: permits in the server, and those who wait for one, in order of arrival.

A permit that is given back goes straight to the first who waits and is still there. Whoever has one is known by name,
so that the permits of a process that was killed can be taken back: those who wait look after it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

from lithops.exceptions import SharedStateError
from lithops.multiprocessing.references import Suspects
from lithops.shared import session as sessions
from lithops.shared.session import Session

COUNTER = "counter"
"""Permits that nobody owns: whoever has taken one may be gone, and others give it back."""
OWNED = "owned"
"""Anybody may give back a permit, and a dead process's are taken back."""
PERSONAL = "personal"
"""Only who has the permit can give it back."""

COMMON = """
-- KEYS: permits (hash: how many are free, how many each one has), who waits for one (list), who was robbed (set)
-- ARGV: who calls, prefixes of presences and graves, ms of life, value at first, limit, kind
local permits, waiters, robbed = unpack(KEYS)
local who, presence, grave, life, first, limit, kind = unpack(ARGV)
local function free() return tonumber(redis.call('HGET', permits, 'free') or first) end
local function set_free(number)
  redis.call('HSET', permits, 'free', number)
  redis.call('PEXPIRE', permits, life)
end
local function has(each) return redis.call('HEXISTS', permits, each) == 1 end
local function process(each) return string.match(each, '^[^/]*') end
local function state(each) return redis.call('GET', presence .. process(each)) end
local function buried(each) return redis.call('EXISTS', grave .. process(each)) == 1 end
local function append(key, each)
  redis.call('RPUSH', key, each)
  redis.call('PEXPIRE', key, life)
end
local function hand(each)
  redis.call('HINCRBY', permits, each, 1)
  redis.call('PEXPIRE', permits, life)
  append(permits .. ':wake:' .. each, 1)
end
local function give()
  local next = redis.call('LPOP', waiters)
  while next and state(next) ~= '1' do next = redis.call('LPOP', waiters) end
  if next then hand(next) else set_free(free() + 1) end
end
local function drop(each)
  if redis.call('HINCRBY', permits, each, -1) < 1 then redis.call('HDEL', permits, each) end
end
local function hand_or_queue(each)
  if free() > 0 then
    set_free(free() - 1)
    hand(each)
  else
    append(waiters, each)
  end
end
"""
_TAKE = COMMON + """
-- ARGV[8]: 1 to wait where none is free
local number = free()
if number > 0 then
  if kind ~= 'counter' then redis.call('HINCRBY', permits, who, 1) end
  set_free(number - 1)
  return 1
end
if ARGV[8] == '1' then append(waiters, who) end
return 0
"""  # fmt: skip
_GIVE = COMMON + """
local function owner()
  local found
  for _, each in ipairs(redis.call('HKEYS', permits)) do
    local mate = process(each) == process(who)
    if each ~= 'free' and (mate or not found) then found = each end
  end
  return found
end
local mine = kind == 'counter' or has(who)
if not mine and (redis.call('SREM', robbed, who) == 1 or kind == 'personal') then return -1 end
if free() >= tonumber(limit) then return 0 end
if kind ~= 'counter' then drop(mine and who or owner()) end
give()
return 1
"""  # fmt: skip
_WITHDRAW = COMMON + """
-- Gives 1 if the caller got one before it gave up
if redis.call('LREM', waiters, 1, who) == 1 then return 0 end
redis.call('DEL', permits .. ':wake:' .. who)
if kind == 'counter' then return redis.call('HDEL', permits, who) end
return redis.call('HEXISTS', permits, who)
"""  # fmt: skip
_LOOK = COMMON + """
-- ARGV[8]: 1 if the caller waits; ARGV[9] and on: who is gone. Gives those who are silent
local gone, silent = {}, {}
for index = 9, #ARGV do gone[ARGV[index]] = true end
for _, each in ipairs(redis.call('HKEYS', permits)) do
  local said = each == 'free' and '1' or state(each)
  if not said or (said == 'left' and kind == 'counter') then
    if gone[each] or buried(each) then
      local number = tonumber(redis.call('HGET', permits, each))
      redis.call('DEL', permits .. ':wake:' .. each)
      redis.call('HDEL', permits, each)
      if kind ~= 'counter' then
        redis.call('SADD', robbed, each)
        redis.call('PEXPIRE', robbed, life)
      end
      for _ = 1, number do give() end
    else
      silent[#silent + 1] = each
    end
  end
end
if ARGV[8] == '1' and not has(who) and not redis.call('LPOS', waiters, who) then hand_or_queue(who) end
return silent
"""  # fmt: skip
_GUARD = """
-- The last of KEYS: permits; the last of ARGV: who calls
local free = redis.call('HGET', KEYS[#KEYS], 'free')
if free == '0' and redis.call('HEXISTS', KEYS[#KEYS], ARGV[#ARGV]) == 0 then return {} end
"""


class Permits:
    """A number of them under a key. `me` is the caller's name, see `references.caller`."""

    def __init__(self, session: Session, key: str, first: int, limit: int, kind: str) -> None:
        self.session = session
        self.key = key
        self.keys = (key, f"{key}:waiters", f"{key}:robbed")
        self.first = first
        self.limit = limit
        self.kind = kind
        self._constants = (session.presence(""), session.grave(""), session.expiry_ms, first, limit, kind)
        self._suspects = Suspects()
        self._looked_at = time.monotonic()

    def script(self, lua: str, me: str, *arguments: Any, keys: Sequence[str] = ()) -> Any:
        """Run a script that begins with `COMMON`. `keys` and `arguments` come after the ones that it has there."""
        return self.session.script(lua, (*self.keys, *keys), me, *self._constants, *arguments)

    def take(self, me: str, timeout_s: float | None) -> bool:
        """Have one, or False when the time is up. None: there is no limit to the time; 0: do not wait."""
        waits = timeout_s is None or timeout_s > 0
        if self.script(_TAKE, me, int(waits)):
            return True
        if waits:
            return self.wait(me, timeout_s)
        self._look_again(me, waits=False)
        return False

    def wait(self, me: str, timeout_s: float | None) -> bool:
        """Have the one for which the caller is in the queue, or leave the queue when the time is up."""
        try:
            woken = self.session.wait(self.wake_key(me), timeout_s, lambda: self.look(me, waits=True))
            if woken is None:
                self._look_again(me, waits=True)
                return bool(self.script(_WITHDRAW, me))
        except BaseException:
            # What comes too late is not kept. A server that has failed has nothing to be kept.
            with contextlib.suppress(SharedStateError):
                if self.script(_WITHDRAW, me):
                    self.give(me)
            raise
        if self.kind == COUNTER:
            self.session.run("HDEL", self.key, me)
        return True

    def give(self, me: str) -> None:
        """Give one back. Raises `ValueError` when all are back already."""
        done = self.script(_GIVE, me)
        if done == 0:
            raise ValueError("semaphore or lock released too many times")
        if done < 0:
            raise robbed()

    def look(self, me: str, *, waits: bool) -> None:
        """Take back what processes have that are gone. One who waits and has been forgotten queues up again."""
        self._looked_at = time.monotonic()
        self._suspects.note(self.script(_LOOK, me, int(waits), *self._suspects.gone()))

    def _look_again(self, me: str, *, waits: bool) -> None:
        """Look, if the last time is long ago: some ask again and again, and never wait for long."""
        if time.monotonic() - self._looked_at > sessions.SLICE_S:
            self.look(me, waits=waits)

    def guard(self, me: str, lua: str, keys: Sequence[str], *arguments: Any) -> tuple[bool, Any]:
        """Run a script if there is a free permit or the caller has one, in one request: whether it ran, and its answer.

        The script finds in KEYS and ARGV what is given here. Its answer is not an empty list.
        """
        answer = self.session.script(_GUARD + lua, (*keys, self.key), *arguments, me)
        return answer != [], answer

    def free(self) -> int:
        """How many nobody has."""
        found = self.session.run("HGET", self.key, "free")
        return self.first if found is None else int(found)

    def holders(self) -> list[str]:
        """The names of those who have one."""
        return [each.decode() for each in self.session.run("HKEYS", self.key) if each != b"free"]

    def wake_key(self, me: str) -> str:
        """Where one who waits is told that it has got one."""
        return f"{self.key}:wake:{me}"


def robbed() -> SharedStateError:
    """For one who was thought to be dead."""
    return SharedStateError(
        "this process gave no sign of life for too long, so a lock that it held was handed on: what the lock protects "
        "may have been changed by others meanwhile; look for what stops all of its threads for seconds"
    )

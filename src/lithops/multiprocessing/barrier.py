"""`Barrier`, as that of `multiprocessing`, for processes anywhere.

A round of the barrier ends when its last party arrives: it runs the action, if there is one, and wakes the others. Who
arrives while the action runs stands before the door until it is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from threading import BrokenBarrierError
from typing import Any

from lithops.multiprocessing.current import current_session
from lithops.multiprocessing.references import SharedObject, Suspects, caller
from lithops.shared.session import Session

__all__ = ["Barrier"]

_COMMON = """
-- KEYS: state (string: open where there is none, else broken, or who runs the action), who waits (list),
-- who stands before the door (list)
-- ARGV: who calls, prefixes of presences and graves, ms of life
local barrier, waiters, outside = unpack(KEYS)
local who, presence, grave, life = unpack(ARGV)
local state = redis.call('GET', barrier) or 'open'
local function append(key, each)
  redis.call('RPUSH', key, each)
  redis.call('PEXPIRE', key, life)
end
local function wake(list, word)
  for _, each in ipairs(redis.call('LRANGE', list, 0, -1)) do append(barrier .. ':wake:' .. each, word) end
  redis.call('DEL', list)
end
local function open()
  redis.call('DEL', barrier)
  wake(outside, 'enter')
end
local function break_it()
  redis.call('SET', barrier, 'broken', 'PX', life)
  wake(waiters, 'broken')
  wake(outside, 'enter')
end
"""
_ENTER = _COMMON + """
-- ARGV[5]: parties, ARGV[6]: 1 if there is an action.
-- Gives an index; -1 where it is broken; -2 where the caller has to wait since an action runs
if state == 'broken' then return -1 end
if state ~= 'open' then
  append(outside, who)
  return -2
end
local index = redis.call('LLEN', waiters)
if index + 1 ~= tonumber(ARGV[5]) then
  append(waiters, who)
elseif ARGV[6] == '1' then
  redis.call('SET', barrier, who, 'PX', life)
else
  wake(waiters, 'go')
end
return index
"""  # fmt: skip
_FINISH = _COMMON + """
-- The action is over. ARGV[5]: 1 if it went well. Gives 0 if the barrier was broken meanwhile
if state ~= who then return 0 end
if ARGV[5] == '0' then
  break_it()
else
  wake(waiters, 'go')
  open()
end
return 1
"""  # fmt: skip
_TIME_OUT = _COMMON + """
-- Gives what the caller was told; an empty text if it is to wait on, since the action runs
local told = redis.call('LPOP', barrier .. ':wake:' .. who)
if told then return told end
if state ~= 'open' and state ~= 'broken' then return '' end
break_it()
redis.call('DEL', barrier .. ':wake:' .. who)
return 'broken'
"""  # fmt: skip
_LEAVE = _COMMON + """
redis.call('LREM', waiters, 1, who)
redis.call('LREM', outside, 1, who)
redis.call('DEL', barrier .. ':wake:' .. who)
"""  # fmt: skip
_RESET = _COMMON + """
if state == 'broken' then
  open()
elseif state == 'open' then
  wake(waiters, 'broken')
end
"""  # fmt: skip
_ABORT = _COMMON + "break_it()"
_LOOK = _COMMON + """
-- ARGV[5] and on: who is gone. Gives those who are silent
local gone, silent = {}, {}
for index = 5, #ARGV do gone[ARGV[index]] = true end
local parties = redis.call('LRANGE', waiters, 0, -1)
if state ~= 'open' and state ~= 'broken' then parties[#parties + 1] = state end
for _, each in ipairs(parties) do
  local name = string.match(each, '^[^/]*')
  if redis.call('GET', presence .. name) ~= '1' then
    if gone[each] or redis.call('EXISTS', grave .. name) == 1 then
      break_it()
      return silent
    end
    silent[#silent + 1] = each
  end
end
return silent
"""  # fmt: skip


class Barrier(SharedObject, threading.Barrier):
    """See `multiprocessing.Barrier`. When a process is killed that waits in it, it is broken, some seconds later."""

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        *,
        ctx: object = None,  # noqa: ARG002 - as the standard's
    ) -> None:
        session = current_session()
        self._open(session, session.key("barrier"), parties, action, timeout)

    def _open(self, session: Session, key: str, *details: Any) -> None:
        self._parties, self._action, self._timeout = details
        self._suspects = Suspects()
        super()._open(session, key)

    def _details(self) -> tuple[Any, ...]:
        return self._parties, self._action, self._timeout

    @property
    def keys(self) -> tuple[str, ...]:
        return self._key, f"{self._key}:waiters", f"{self._key}:outside"

    def wait(self, timeout: float | None = None) -> int:
        """Block until all parties have arrived. Gives the number of those who came before.

        Raises `threading.BrokenBarrierError` when the time is up, or the barrier is broken or reset meanwhile.
        """
        if timeout is None:
            timeout = self._timeout
        me = caller(self._session)
        index = self._enter(me)
        if index + 1 != self._parties:
            self._await_others(me, timeout)
        elif self._action is not None:
            self._act(me, self._action)
        return index

    def _enter(self, me: str) -> int:
        while True:
            index: int = self._script(_ENTER, me, self._parties, int(self._action is not None))
            if index == -1:
                raise BrokenBarrierError
            if index >= 0:
                return index
            self._block(me, None)

    def _act(self, me: str, action: Callable[[], object]) -> None:
        try:
            action()
        except BaseException:
            self._script(_FINISH, me, 0)
            raise
        if not self._script(_FINISH, me, 1):
            raise BrokenBarrierError

    def _await_others(self, me: str, timeout: float | None) -> None:
        told = self._block(me, timeout) or self._script(_TIME_OUT, me) or self._block(me, None)
        if told != b"go":
            raise BrokenBarrierError

    def _block(self, me: str, timeout: float | None) -> bytes | None:
        """What this thread is told, or None when the time is up."""
        try:
            return self._session.wait(f"{self._key}:wake:{me}", timeout, lambda: self._look(me))
        except BaseException:
            self._script(_LEAVE, me)
            raise

    def _look(self, me: str) -> None:
        """Break it when a party is gone."""
        self._suspects.note(self._script(_LOOK, me, *self._suspects.gone()))

    def reset(self) -> None:
        """Open it again, and wake those who wait with `threading.BrokenBarrierError`."""
        self._script(_RESET, caller(self._session))

    def abort(self) -> None:
        """Break it: who waits, and who comes, gets `threading.BrokenBarrierError` until it is reset."""
        self._script(_ABORT, caller(self._session))

    # What the standard library's class asks its objects for.

    @property
    def _state(self) -> int:
        return -2 if self._session.run("GET", self._key) == b"broken" else 0

    @property
    def _count(self) -> int:
        state, number = self._session.run_all(("GET", self._key), ("LLEN", self.keys[1]))
        return int(number) + (state not in (None, b"broken"))

    def _script(self, lua: str, me: str, *arguments: Any) -> Any:
        session = self._session
        return session.script(
            lua, self.keys, me, session.presence(""), session.grave(""), session.expiry_ms, *arguments
        )

"""Who has which end of a pipe: a hash in the server, with a count for each process that has handles of it, and a token
for each handle that is on its way in a pickle.

An end without handles is gone: then a mark goes into the list that the other end reads, after all that was sent.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from lithops.shared.session import Session, new_name

# Whoever waits for several lists at once has left the name of its wake list beside each.
TELL = """
local function tell(lane, expiry)
  local wake = redis.call('LPOP', lane .. ':watch')
  while wake do
    redis.call('RPUSH', wake, '1')
    redis.call('PEXPIRE', wake, expiry)
    wake = redis.call('LPOP', lane .. ':watch')
  end
end
"""
_SETTLE = (
    TELL
    + """
local function mark(state, gone, expiry)
  local lane = state .. ':' .. (1 - gone)
  redis.call('RPUSH', lane, 'E')
  redis.call('PEXPIRE', lane, expiry)
  tell(lane, expiry)
end
local function settle(state, e, expiry)
  if redis.call('HEXISTS', state, 'gone:' .. e) == 1 then return end
  for _, field in ipairs(redis.call('HKEYS', state)) do
    if string.sub(field, 1, 2) == e .. ':' then return end
  end
  if redis.call('HEXISTS', state, 'gone:' .. (1 - e)) == 0 then
    redis.call('HSET', state, 'gone:' .. e, 1)
    return mark(state, e, expiry)
  end
  for _, key in ipairs(redis.call('SMEMBERS', state .. ':large')) do redis.call('UNLINK', key) end
  for _, part in ipairs({'', ':0', ':1', ':0:watch', ':1:watch', ':large'}) do redis.call('UNLINK', state .. part) end
end
"""
)
# Who takes a handle is there, though a process appears by its name only when all that it was given is unpickled.
# state, index of the process, its presence, its grave | expiry, process, token or "", ends
_ADOPT = """
if redis.call('EXISTS', KEYS[4]) == 0 then redis.call('SET', KEYS[3], '1', 'PX', ARGV[1], 'NX') end
for i = 4, #ARGV do
  local e = ARGV[i]
  redis.call('HDEL', KEYS[1], e .. ':~' .. ARGV[3])
  redis.call('HINCRBY', KEYS[1], e .. ':' .. ARGV[2], 1)
  if redis.call('HDEL', KEYS[1], 'gone:' .. e) == 1 then redis.call('LREM', KEYS[1] .. ':' .. (1 - e), 0, 'E') end
end
redis.call('SADD', KEYS[2], KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[1])
"""
# A token is its future owner's, or it has a time. | state, index of the owner or "" | expiry, end, token, owner or ""
_RESERVE = """
local owner = '@' .. ARGV[4]
if ARGV[4] == '' then
  local now = redis.call('TIME')
  owner = now[1] + ARGV[1] / 1000
else
  redis.call('SADD', KEYS[2], KEYS[1])
  redis.call('PEXPIRE', KEYS[2], ARGV[1])
end
redis.call('HSET', KEYS[1], ARGV[2] .. ':~' .. ARGV[3], owner)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
"""
# state, index of the process | expiry, process, end
_RELEASE = (
    _SETTLE
    + """
if redis.call('EXISTS', KEYS[1]) == 0 then return end
local field = ARGV[3] .. ':' .. ARGV[2]
if redis.call('HINCRBY', KEYS[1], field, -1) < 1 then redis.call('HDEL', KEYS[1], field) end
if redis.call('HEXISTS', KEYS[1], '0:' .. ARGV[2]) + redis.call('HEXISTS', KEYS[1], '1:' .. ARGV[2]) == 0 then
  redis.call('SREM', KEYS[2], KEYS[1])
end
settle(KEYS[1], tonumber(ARGV[3]), ARGV[1])
"""
)
# Handles of an end whose processes are gone, and tokens whose time is over. | state | expiry, end, presence prefix
_LOOK = (
    _SETTLE
    + """
local now = tonumber(redis.call('TIME')[1])
local fields = redis.call('HGETALL', KEYS[1])
local e = tonumber(ARGV[2])
for i = 1, #fields, 2 do
  local name, value = string.match(fields[i], '^' .. e .. ':(.*)$'), fields[i + 1]
  if name and string.sub(name, 1, 1) == '~' then
    if string.sub(value, 1, 1) ~= '@' and tonumber(value) < now then redis.call('HDEL', KEYS[1], fields[i]) end
  elseif name and redis.call('GET', ARGV[3] .. name) ~= '1' then
    redis.call('HDEL', KEYS[1], fields[i])
  end
end
settle(KEYS[1], e, ARGV[1])
local lane = KEYS[1] .. ':' .. (1 - e)
if redis.call('HEXISTS', KEYS[1], 'gone:' .. e) == 1 and redis.call('EXISTS', lane) == 0 then
  mark(KEYS[1], e, ARGV[1])
end
"""
)
# index of the process | expiry, process
_BURY = (
    _SETTLE
    + """
for _, state in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local fields = redis.call('HGETALL', state)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 3) == ARGV[2] or fields[i + 1] == '@' .. ARGV[2] then
      redis.call('HDEL', state, fields[i])
    end
  end
  if #fields > 0 then
    settle(state, 0, ARGV[1])
    settle(state, 1, ARGV[1])
  end
end
redis.call('DEL', KEYS[1])
"""
)


class Handles:
    """The handles of one pipe, as this process sees and changes them."""

    def __init__(self, session: Session, state: str) -> None:
        self._session = session
        self._state = state

    def adopt(self, *ends: int, token: str = "", owner: str = "") -> str:
        """This process has one handle more of each of these ends. Gives the name it has them by.

        A process takes what was handed to it before it appears by its name.
        """
        session = self._session
        me = owner or session.me
        keys = [self._state, index(session, me), session.presence(me), session.grave(me)]
        session.script(_ADOPT, keys, session.expiry_ms, me, token, *ends)
        return me

    def reserve(self, end: int) -> tuple[str, str]:
        """A handle goes on its way: it counts at once. Gives its token, and the process that it is for, if known."""
        token, owner = new_name(), getattr(_handed, "owner", "")
        keys = [self._state, index(self._session, owner) if owner else self._state]
        self._session.script(_RESERVE, keys, self._session.expiry_ms, end, token, owner)
        return token, owner

    def release(self, end: int, name: str) -> None:
        """The process of that name has one handle less."""
        keys = [self._state, index(self._session, name)]
        self._session.script(_RELEASE, keys, self._session.expiry_ms, name, end)

    def look(self, end: int) -> None:
        """Close the handles of an end whose processes are gone."""
        session = self._session
        session.script(_LOOK, [self._state], session.expiry_ms, end, session.presence(""))


_handed = threading.local()


@contextlib.contextmanager
def handed_to(name: str) -> Iterator[None]:
    """What this thread pickles meanwhile belongs to the process of that name, which is about to start.

    Handles that it never comes to take are closed by `close_handles`, as those that it has taken.
    """
    before, _handed.owner = getattr(_handed, "owner", ""), name
    try:
        yield
    finally:
        _handed.owner = before


def close_handles(session: Session, name: str) -> None:
    """Close all ends of pipes that the process of that name has, or was to get: it has ended."""
    session.script(_BURY, [index(session, name)], session.expiry_ms, name)


def index(session: Session, name: str) -> str:
    """The key of the set of pipes whose ends a process has."""
    return session.key("handles", name)

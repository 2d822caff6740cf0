"""Under which names Redis holds what, and the two scripts that change it.

::

    lithops:storage:buckets                  set      the names of the buckets
    lithops:storage:index:<bucket>           sorted set of equal scores, in the order of its members' bytes:
                                                      key NUL size " " version " " seconds of the Unix epoch
    lithops:storage:data:<bucket>/<key>      string   the object's bytes
                                             or list  the names of its parts, each after its size and a space
    lithops:storage:part:<version>:<number>  string   bytes of one part; has an expiry until its object is complete

A key has no NUL, so that the members of the index are in the order of the keys, and a key's member is found by what
it starts with. Parts are never changed, and their names never used again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lithops.storage.base import ObjectInfo
from lithops.wire.messages import ByteRange

PART_BYTES = 8 << 20
"""The longest value of one Redis string: larger objects have parts of this size."""
BUCKETS = "lithops:storage:buckets"


def index_name(bucket: str) -> str:
    return f"lithops:storage:index:{bucket}"


def data_name(bucket: str, key: str) -> str:
    return f"lithops:storage:data:{bucket}/{key}"


def part_name(version: str, number: int) -> str:
    return f"lithops:storage:part:{version}:{number}"


def member_bounds(key: str) -> tuple[bytes, bytes]:
    """Between which members of the index that of the key lies."""
    return b"[" + key.encode() + b"\0", b"(" + key.encode() + b"\1"


def listing_bounds(prefix: str, start_after: str) -> tuple[bytes, bytes]:
    """Between which members of the index lie those of all keys with the prefix, after `start_after`."""
    # No UTF-8 has the byte 255, so it is behind all that starts with the prefix. Text that is no Unicode is no key's.
    start, after = prefix.encode(errors="surrogatepass"), start_after.encode(errors="surrogatepass")
    behind = after.partition(b"\0")[0] + b"\1" if after else b""
    return b"[" + max(start, behind), b"(" + start + b"\xff"


def parse_member(member: bytes) -> ObjectInfo:
    key, _, about = member.partition(b"\0")
    size, version, modified = about.decode().split()
    return ObjectInfo(key.decode(), int(size), version, float(modified))


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of the part `name`, from `start` up to, but without, `stop`."""

    name: bytes
    start: int
    stop: int


def pieces_within(parts: Iterable[bytes], byte_range: ByteRange | None) -> list[Piece]:
    """What to read of an object's parts, as its list has them, for a range of it."""
    pieces = []
    offset = 0
    for part in parts:
        size, _, name = part.partition(b" ")
        start, stop = 0, int(size)
        if byte_range is not None:
            start, stop = max(start, byte_range.start - offset), min(stop, byte_range.stop - offset)
        if start < stop:
            pieces.append(Piece(name, start, stop))
        offset += int(size)
    return pieces


_REMOVE = """
local function unlink(names, first)
  for i = first, #names do redis.call('UNLINK', names[i]) end
end
local function find(index, key)
  return redis.call('ZRANGEBYLEX', index, '[' .. key .. '\\0', '(' .. key .. '\\1', 'LIMIT', 0, 1)[1]
end
local function remove(index, data, member)
  if not member then return end
  redis.call('ZREM', index, member)
  if redis.call('TYPE', data).ok == 'list' then
    for _, part in ipairs(redis.call('LRANGE', data, 0, -1)) do
      redis.call('UNLINK', string.match(part, ' (.*)'))
    end
  end
  redis.call('UNLINK', data)
end
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  if FIRST_PART then unlink(KEYS, FIRST_PART) end
  return 'no bucket'
end
"""

PUT = f"""
local FIRST_PART = 4
{_REMOVE}
local function persist(names, first)
  for i = first, #names do redis.call('PERSIST', names[i]) end
end
local index, data, key, version, size = KEYS[2], KEYS[3], ARGV[2], ARGV[3], tonumber(ARGV[4])
local member = find(index, key)
if member and string.find(member, ' ' .. version .. ' ', #key + 2, true) then
  -- The answer to this same put was lost, and it is asked for again: its last part was sent again too.
  if #KEYS == FIRST_PART then unlink(KEYS, FIRST_PART) else persist(KEYS, FIRST_PART) end
  return 'stored'
end
if member and ARGV[5] == 'if absent' then
  unlink(KEYS, FIRST_PART)
  return 'exists'
end
for i = FIRST_PART, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then
    unlink(KEYS, FIRST_PART)
    return 'lost'
  end
end
local now = redis.call('TIME')
local modified = now[1] .. '.' .. string.format('%06d', now[2])
redis.call('ZADD', index, 0, key .. '\\0' .. ARGV[4] .. ' ' .. version .. ' ' .. modified)
remove(index, data, member)
persist(KEYS, FIRST_PART)
if #KEYS == FIRST_PART then
  redis.call('RENAME', KEYS[FIRST_PART], data)
else
  for i = FIRST_PART, #KEYS do
    local length = math.min({PART_BYTES}, size - (i - FIRST_PART) * {PART_BYTES})
    redis.call('RPUSH', data, string.format('%d %s', length, KEYS[i]))
  end
end
return 'stored'
"""
"""KEYS: the buckets, the index, the data, the parts. ARGV: bucket, key, version, size, 'if absent' or ''."""

DELETE = f"""
local FIRST_PART = nil
{_REMOVE}
for i = 2, #ARGV do
  remove(KEYS[2], KEYS[i + 1], find(KEYS[2], ARGV[i]))
end
return 'deleted'
"""
"""KEYS: the buckets, the index, the data of each object. ARGV: bucket, keys."""

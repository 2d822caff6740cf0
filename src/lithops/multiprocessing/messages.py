"""What queues and pipes carry: pickles, and how they lie in the server.

A message is one element of a list. Small ones are in the element itself. A large one is a list of pieces under a key
of its own, put there before the element that names it: nobody ever sees half of a message, and a process that dies on
the way leaves nothing but pieces that expire.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import socket
import threading
from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from multiprocessing import connection as standard
from multiprocessing.reduction import ForkingPickler
from typing import Any, ClassVar, NoReturn

from lithops.exceptions import SharedStateError
from lithops.shared.session import Session
from lithops.wire import pickles
from lithops.wire.pickles import Buffer

INLINE, LARGE, END = b"I", b"L", b"E"
"""The first byte of an element; at `END`, there is nothing more to come."""

_INLINE_BYTES = 256 * 1024
_PIECE_BYTES = 1024 * 1024
_PIECES_AHEAD = 4
"""Pieces that are asked for before the first of them has arrived."""
_ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})
_PLAIN_ITEMS = 50

# What every script that puts an element does, after a head if there is one. Large messages are noted: their pieces
# live as long as the list.
PUSH = """
local function push(list, element, large, expiry, head)
  redis.call('RPUSH', list, (head or '') .. element)
  redis.call('PEXPIRE', list, expiry)
  if string.byte(element) == 76 then
    redis.call('SADD', large, string.match(element, ' (.*)$'))
    redis.call('PEXPIRE', large, expiry)
  end
end
"""


# ---------------------------------------------------------------- pickles


def dump(value: Any) -> list[Buffer]:
    """The pickle of `value` in segments, which share memory with it.

    What `__main__` defines goes by value: processes elsewhere have another `__main__`. Reductions that were registered
    with `multiprocessing.reduction.register` count.
    """
    if _is_plain(value, levels=2):
        return [pickle.dumps(value, 5)]
    pieces: list[Buffer] = []
    segments = pickles.dump(value, _Dumps(pieces))
    return pieces if len(segments) == 1 else segments


class _Dumps:
    """Pickles into pieces. Large bytes are pieces as they are, unless buffers go beside the pickle."""

    def __init__(self, pieces: list[Buffer]) -> None:
        self._pieces = pieces
        self.write = pieces.append

    def __call__(
        self, value: Any, *, protocol: int, buffer_callback: Callable[[pickle.PickleBuffer], bool]
    ) -> bytes:
        beside = False

        def offer(buffer: pickle.PickleBuffer) -> bool:
            nonlocal beside
            keeps = buffer_callback(buffer)
            beside = beside or not keeps
            return keeps

        pickler = pickle.Pickler if type(value) in _ATOMS else _pickler()
        pickler(self, protocol, buffer_callback=offer).dump(value)
        if beside:
            self._pieces[:] = [b"".join(self._pieces)]
        return self._pieces[0]  # type: ignore[return-value] # the first is the head of a pickle


@lru_cache(maxsize=1)
def _pickler() -> Any:
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc] # cloudpickle has no types
        dispatch_table: ClassVar = ChainMap(
            {socket.socket: _refuse, standard.Connection: _refuse},
            ForkingPickler._extra_reducers,  # type: ignore[attr-defined] # where `register` puts them
            cloudpickle.Pickler.dispatch_table,
        )

    return Pickler


def _refuse(value: Any) -> NoReturn:
    raise NotImplementedError(
        f"{value!r} is a descriptor of this machine, which a process elsewhere cannot use: open it there, or pass "
        "an end of a lithops.multiprocessing.Pipe"
    )


def _is_plain(value: Any, levels: int) -> bool:
    """Whether plain pickle will do, as far as it is worth finding out. Large bytes have a way without a copy."""
    kind = type(value)
    if kind in _ATOMS:
        return kind is not bytes or len(value) < _INLINE_BYTES
    if not levels or kind not in (tuple, list, dict) or len(value) > _PLAIN_ITEMS:
        return False
    if kind is dict and not all(type(key) in _ATOMS for key in value):
        return False
    return all(_is_plain(part, levels - 1) for part in (value.values() if kind is dict else value))


# ---------------------------------------------------------------- elements


class Store:
    """Where the large messages of one queue or pipe are."""

    def __init__(self, session: Session, key: str) -> None:
        self._session = session
        self.large = f"{key}:large"
        """The set of the keys of large messages that wait in the lists."""
        self._key = key
        self._moving: set[str] = set()
        self._lock = threading.Lock()

    @property
    def keys(self) -> list[str]:
        """The keys that large messages have at the moment. Asks the server."""
        with self._lock:
            moving = list(self._moving)
        waiting = self._session.run("SMEMBERS", self.large)
        return [self.large, *moving, *(key.decode() for key in waiting)]

    def wrap(self, segments: Sequence[Buffer]) -> bytes:
        """The element for a message; a large one is brought to the server on the spot."""
        size = pickles.size(segments)
        if size <= _INLINE_BYTES:
            return INLINE + pickles.join(segments)
        key = self._session.key("large")
        with self._protected(key):
            try:
                _upload(self._session, key, segments)
            except BaseException:
                with contextlib.suppress(SharedStateError):
                    self._session.run("UNLINK", key)
                raise
        return b"%s%d %s" % (LARGE, size, key.encode())

    def load(self, element: bytes) -> Any:
        """The value of an element that was taken from a list."""
        if element[:1] == INLINE:
            return pickles.load(memoryview(element)[1:])
        with self._arrival(element) as arrival:
            reader = io.BufferedReader(arrival)
            if reader.peek(4)[:4] != pickles.MAGIC:
                # Large bytes come straight to where they stay.
                return pickle.Unpickler(reader).load()
            body = bytearray(arrival.size)
            reader.readinto(body)
            return pickles.load(body)

    def read(self, element: bytes) -> io.BytesIO:
        """The bytes of an element that was taken from a list, with the position at their end."""
        body = io.BytesIO()
        if element[:1] == INLINE:
            body.write(memoryview(element)[1:])
            return body
        with self._arrival(element) as arrival:
            while piece := arrival.take():
                body.write(piece)
        return body

    @contextlib.contextmanager
    def _arrival(self, element: bytes) -> Iterator[_Arrival]:
        size, _, name = element[1:].partition(b" ")
        key = name.decode()
        with self._protected(key):
            self._session.run_all(("SREM", self.large, key), ("PEXPIRE", key, self._session.expiry_ms))
            try:
                with self._session.connection() as connection:
                    yield _Arrival(self._session, connection, key, int(size))
            except BaseException:
                with contextlib.suppress(SharedStateError):
                    self._session.run("UNLINK", key)
                raise

    @contextlib.contextmanager
    def kept(self, element: bytes) -> Iterator[None]:
        """Meanwhile, the message of an element that is in no list does not expire."""
        if element[:1] != LARGE:
            yield
            return
        with self._protected(element.partition(b" ")[2].decode()):
            yield

    def drop(self, element: bytes) -> None:
        """An element is not put after all."""
        if element[:1] == LARGE:
            self._session.run("UNLINK", element.partition(b" ")[2])

    @contextlib.contextmanager
    def _protected(self, key: str) -> Iterator[None]:
        """As long as its pieces are on their way, they do not expire."""
        with self._lock:
            self._moving.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._moving.discard(key)


def _upload(session: Session, key: str, segments: Sequence[Buffer]) -> None:
    # The first element gives the list its expiry before there is anything in it.
    session.run_all(("RPUSH", key, b""), ("PEXPIRE", key, session.expiry_ms))
    name = key.encode()
    count = 0
    with session.connection() as connection:
        for piece in _cut(segments):
            length = sum(view.nbytes for view in piece)
            head = b"*3\r\n$6\r\nRPUSHX\r\n$%d\r\n%s\r\n$%d\r\n" % (len(name), name, length)
            # Straight from the value's memory: packing a command would copy it.
            connection.send_packed_command([head, *piece, b"\r\n"])
            count += 1
        for _ in range(count):
            if not connection.read_response():
                raise _vanished(session, key)


def _cut(segments: Sequence[Buffer]) -> Iterator[list[memoryview]]:
    """The segments in pieces of one size, but for the last one, each made of views."""
    piece: list[memoryview] = []
    room = _PIECE_BYTES
    for segment in segments:
        view = memoryview(segment).cast("B")
        while view.nbytes:
            piece.append(view[:room])
            view = view[room:]
            room -= piece[-1].nbytes
            if not room:
                yield piece
                piece, room = [], _PIECE_BYTES
    if piece:
        yield piece


class _Arrival(io.RawIOBase):
    """The pieces of a large message, as a file that is read once. The server frees each of them as it goes."""

    def __init__(self, session: Session, connection: Any, key: str, size: int) -> None:
        self.size = size
        self._session, self._connection, self._key = session, connection, key
        self._left = 1 + -(-size // _PIECE_BYTES)
        self._asked = 0
        self._piece = memoryview(b"")
        self._ask(min(_PIECES_AHEAD, self._left))
        self.take()  # the first one is empty

    def take(self) -> memoryview:
        """The next piece, or what is left of this one; empty at the end."""
        piece, self._piece = self._piece, memoryview(b"")
        if piece.nbytes or not self._left:
            return piece
        found = self._connection.read_response()
        if found is None:
            raise _vanished(self._session, self._key)
        self._left -= 1
        self._asked -= 1
        if self._asked < self._left:
            self._ask(1)
        return memoryview(found)

    def _ask(self, count: int) -> None:
        self._asked += count
        for _ in range(count):
            self._connection.send_command("LPOP", self._key)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.take()
        count = min(piece.nbytes, len(buffer))
        buffer[:count] = piece[:count]
        self._piece = piece[count:]
        return count


def _vanished(session: Session, key: str) -> SharedStateError:
    return SharedStateError(
        f"{session.server} has lost a part of a large message ({key}): it may have run out of memory; its setting "
        "maxmemory-policy has to be noeviction"
    )

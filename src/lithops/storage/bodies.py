"""Bodies of any kind in pieces, and pieces on their way: of none more is in memory than is being sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, cast

from lithops.storage.base import Body
from lithops.wire.pickles import Buffer

_READ_BYTES = 1 << 20
_AT_ONCE = 4
"""Pieces of one body that travel at the same time."""

T = TypeVar("T")


def views(body: Body) -> Iterator[memoryview]:
    """The body's bytes as they come, without copies; a file is read as it is asked for."""
    if isinstance(body, bytes | bytearray | memoryview):
        yield as_bytes(body)
    elif isinstance(body, Sequence):
        for segment in cast("Sequence[Buffer]", body):
            yield as_bytes(segment)
    else:
        while chunk := body.read(_READ_BYTES):
            yield as_bytes(chunk)


def pieces(body: Body, sizes: Iterable[int]) -> Iterator[bytes]:
    """The body in pieces of these sizes, of which the last may be shorter. An empty body is one empty piece.

    `sizes` must not end before the body does. A piece that is a `bytes` object of its own already is not copied.
    """
    rest = filter(len, views(body))
    view: memoryview | None = None
    is_empty = True
    for size in sizes:
        held: list[memoryview] = []
        missing = size
        while missing and (view := view or next(rest, None)):
            held.append(view[:missing])
            view = view[missing:]
            missing -= len(held[-1])
        if not held:
            break
        is_empty = False
        yield _joined(held)
    if is_empty:
        yield b""


def send_pieces(send: Callable[[int, bytes], T], those: Iterable[bytes]) -> list[T]:
    """What `send` gives for each piece and its number, from 0 on. Some travel at once; the first error is raised."""
    sent: list[T] = []
    on_their_way: deque[Future[T]] = deque()
    with ThreadPoolExecutor(_AT_ONCE, "lithops-upload") as pool:
        for number, piece in enumerate(those):
            if len(on_their_way) == _AT_ONCE:
                sent.append(on_their_way.popleft().result())
            on_their_way.append(pool.submit(send, number, piece))
        sent.extend(each.result() for each in on_their_way)
    return sent


def as_bytes(buffer: Buffer) -> memoryview:
    """The buffer as one row of bytes, whatever its items and strides are."""
    view = memoryview(buffer)
    if view.nbytes == 0:
        return memoryview(b"")
    return (view if view.c_contiguous else memoryview(view.tobytes())).cast("B")


def _joined(parts: Sequence[memoryview]) -> bytes:
    if len(parts) == 1 and isinstance(parts[0].obj, bytes) and len(parts[0].obj) == len(parts[0]):
        return parts[0].obj
    return b"".join(parts)

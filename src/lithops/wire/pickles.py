"""Pickles whose large buffers stay out of band: a body is a list of segments, joined only where it must be.

A body without buffers is a plain pickle. One with buffers (numpy arrays, Arrow tables, anything with protocol 5)
starts with `MAGIC`, the number and lengths of its segments, and holds each buffer at a multiple of 64 bytes, so that
an array read from a mapped file is aligned and needs no copy.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Sequence
from typing import Any

Buffer = bytes | bytearray | memoryview

MAGIC = b"LB01"
_ALIGNMENT = 64
_OUT_OF_BAND_FROM = 4096
"""Buffers smaller than this are cheaper inside the pickle than beside it."""

Dumps = Callable[..., bytes]


def dump(value: Any, dumps: Dumps = pickle.dumps) -> list[Buffer]:
    """Pickle `value` with `dumps` (pickle's or cloudpickle's) into segments that share memory with it."""
    buffers: list[memoryview] = []

    def keep_out_of_band(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _OUT_OF_BAND_FROM:
            return True
        buffers.append(raw)
        return False

    body = dumps(value, protocol=5, buffer_callback=keep_out_of_band)
    if not buffers:
        return [body]
    lengths = [len(body), *(buffer.nbytes for buffer in buffers)]
    head = MAGIC + struct.pack(f"<I{len(lengths)}Q", len(lengths), *lengths)
    segments: list[Buffer] = [head + body]
    segments.append(bytes(_padding(len(head) + len(body))))
    for buffer in buffers:
        segments.append(buffer)
        segments.append(bytes(_padding(buffer.nbytes)))
    return segments


def load(body: Buffer) -> Any:
    """What `dump` made, once its segments are joined. Large buffers are views of `body`, and always writable."""
    view = memoryview(body)
    if view[:4] != MAGIC:
        return pickle.loads(view)
    if view.readonly:
        view = memoryview(bytearray(view))
    (count,) = struct.unpack_from("<I", view, 4)
    lengths = struct.unpack_from(f"<{count}Q", view, 8)
    start = 8 + 8 * count
    pickled = view[start : start + lengths[0]]
    position = start + lengths[0]
    buffers = []
    for length in lengths[1:]:
        position += _padding(position)
        buffers.append(view[position : position + length])
        position += length
    return pickle.loads(pickled, buffers=buffers)


def size(segments: Sequence[Buffer]) -> int:
    """How many bytes the segments are together."""
    if len(segments) == 1 and isinstance(segments[0], bytes):
        return len(segments[0])  # by far the most frequent, by the hundred thousand
    return sum(memoryview(segment).nbytes for segment in segments)


def join(segments: Sequence[Buffer]) -> bytes:
    """The segments as one body: a copy, so what they share memory with may change afterwards."""
    return segments[0] if len(segments) == 1 and isinstance(segments[0], bytes) else b"".join(segments)


def _padding(length: int) -> int:
    return -length % _ALIGNMENT

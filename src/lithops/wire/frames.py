"""Messages on a pipe: ``header length, body length, header, body``. The header is JSON, the body lies beside it."""

from __future__ import annotations

import json
import struct
from typing import Any

from lithops.exceptions import WireError
from lithops.wire.messages import WIRE_VERSION
from lithops.wire.pickles import Buffer

_FRAME_HEAD = struct.Struct("<II")
_VIEW_FROM = 4096
_JOIN_BELOW = 1 << 16
_from_json = json.JSONDecoder().decode

# Only ASCII: names of files bring lone surrogates along, of which UTF-8 has none.
to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


class Frame:
    """One message read from a pipe: its JSON, and the bytes beside it in the order of their use."""

    __slots__ = ("_body", "_position", "header")

    def __init__(self, header: dict[str, Any], body: bytes | bytearray) -> None:
        self.header = header
        self._body = body
        self._position = 0

    def take(self, length: int) -> bytes | memoryview:
        """The next bytes: their own if they are few, else a view of the body, which is writable and not copied."""
        start = self._position
        self._position = stop = start + length
        if not start <= stop <= len(self._body):
            raise WireError(
                f"a message names {length} bytes more than the {len(self._body)} that came with it"
            )
        if length < _VIEW_FROM:
            return bytes(self._body[start:stop])
        return memoryview(self._body)[start:stop]


class FrameReader:
    """Cuts a stream of bytes into frames; what is not yet whole is kept.

    A large body is gathered where it will stay: `missing` is the memory that the next bytes may be read into, without
    a copy. Whoever does so tells how many by `fill`.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._header = b""
        self._body: bytearray | None = None
        """The large body that is being gathered, if any, and how much of it is there."""
        self._filled = 0

    @property
    def missing(self) -> memoryview | None:
        """What is missing of a large body; None while there is none."""
        return None if self._body is None else memoryview(self._body)[self._filled :]

    def fill(self, count: int) -> list[Frame]:
        """So many bytes have been read into `missing`. Gives the frame if it is whole now."""
        body = self._body
        assert body is not None
        self._filled += count
        if self._filled < len(body):
            return []
        self._body = None
        return _frames([self._header], [body])

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole now. Their headers are parsed together: that is several times as fast."""
        frames: list[Frame] = []
        missing = self.missing
        if missing is not None:
            count = min(len(data), len(missing))
            missing[:count] = data[:count]
            frames = self.fill(count)
            data = data[count:]
        self._buffer += data
        return frames + self._cut()

    def _cut(self) -> list[Frame]:
        buffer = self._buffer
        position, available = 0, len(buffer)
        headers: list[bytes] = []
        bodies: list[bytes | bytearray] = []
        while available - position >= _FRAME_HEAD.size:
            header_length, body_length = _FRAME_HEAD.unpack_from(buffer, position)
            body_start = position + _FRAME_HEAD.size + header_length
            end = body_start + body_length
            if end > available:
                if body_length >= _JOIN_BELOW and body_start <= available:
                    self._header = bytes(buffer[position + _FRAME_HEAD.size : body_start])
                    self._filled = available - body_start
                    self._body = bytearray(body_length)
                    self._body[: self._filled] = buffer[body_start:]
                    position = available
                break
            headers.append(bytes(buffer[position + _FRAME_HEAD.size : body_start]))
            body = buffer[body_start:end]
            bodies.append(bytes(body) if body_length < _VIEW_FROM else body)
            position = end
        if position:
            del buffer[:position]
        return _frames(headers, bodies)


def _frames(headers: list[bytes], bodies: list[bytes | bytearray]) -> list[Frame]:
    parsed = parse(b"[" + b",".join(headers) + b"]") if headers else []
    if len(parsed) != len(bodies):
        raise WireError(
            f"{len(bodies)} messages have {len(parsed)} headers: what came is no message of this library"
        )
    return [Frame(checked(header), body) for header, body in zip(parsed, bodies, strict=True)]


def to_frame(header: dict[str, Any], attachments: list[Buffer]) -> list[Buffer]:
    """The segments to write: one if the frame is small, else the attachments as they are, not copied."""
    text = to_json(header).encode()
    length = sum(map(len, attachments))
    head = _FRAME_HEAD.pack(len(text), length) + text
    return [b"".join([head, *attachments])] if length < _JOIN_BELOW else [head, *attachments]


def parse(data: bytes) -> Any:
    """JSON that came from elsewhere. Raises `WireError`."""
    try:
        return _from_json(data.decode())
    except (ValueError, RecursionError) as error:
        raise WireError(f"a message of {len(data)} bytes cannot be read: {error}") from error


def checked(message: Any) -> dict[str, Any]:
    """A message of this side's version. Raises `WireError` for all others."""
    version = message.get("v") if isinstance(message, dict) else None
    if version != WIRE_VERSION:
        raise WireError(
            f"a message has version {version}, this side speaks version {WIRE_VERSION}: "
            "client and runtime are of different releases; deploy the runtime again"
        )
    known: dict[str, Any] = message
    return known

"""What a call is told about its part of the input data: it travels in the call's arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from lithops.wire.messages import ByteRange


class DataKind(str, Enum):
    """Where input data lies. One job reads one kind."""

    OBJECT = "object"
    URL = "url"
    PATH = "path"


@dataclass(frozen=True, slots=True)
class DataPart:
    """One part of one object, URL or file; the whole of it where it was not cut."""

    kind: DataKind
    size: int | None
    """Bytes of the whole, not of the part; None for a URL whose server does not tell."""
    etag: str
    """Changes when the data does: the storage's ETag, the server's validator, the file's time stamp."""
    byte_range: ByteRange | None
    """The part's bytes. With a `newline`, they own the lines that start in them. None if `size` is."""
    part: int = 1
    """Counted from 1."""
    total_parts: int = 1
    newline: bytes | None = None
    """What ends a line, where lines are kept whole; None where the part is exactly its bytes."""
    backend: str = ""
    bucket: str = ""
    key: str = ""
    # A signed URL is a credential, so it is not shown.
    url: str = field(default="", repr=False)
    has_ranges: bool = True
    """Whether parts of it can be asked for: false for the URL of a server that only sends the whole."""
    path: str = ""
    format: str = ""
    """The name of the data format that reads it; empty for plain text and bytes."""
    selection: Any = None
    """Which part of the data it is, in the format's own terms. Small: it travels with each call."""

    @property
    def chunk_size(self) -> int | None:
        """How many bytes the part was given: its lines may be a little less or more."""
        return None if self.byte_range is None else len(self.byte_range)

    @property
    def name(self) -> str:
        """The data's name as messages show it."""
        if self.kind is DataKind.OBJECT:
            return f"'{self.key}' in bucket '{self.bucket}'"
        return f"'{self.path}'" if self.kind is DataKind.PATH else f"'{show_url(self.url)}'"


def show_url(url: str) -> str:
    """The URL without what may be secret in it: its query and user name."""
    address, question_mark, _ = url.partition("?")
    scheme, slashes, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}{question_mark and '?...'}"

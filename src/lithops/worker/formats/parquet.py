"""Parquet: parts are whole row groups, in their order, and only their bytes are read.

::

    client:  the footer, in one request or two ─► row groups ─► parts
    worker:  the footer, in one request ─► the wanted columns of the part's row groups ─► pyarrow.Table
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pyarrow
from pyarrow import parquet

from lithops.exceptions import InvalidCall, StorageError
from lithops.wire.parts import DataPart
from lithops.worker.formats.base import (
    Access,
    Cut,
    Format,
    StructuredObject,
    check_ranges,
    cut_selections,
    even_edges,
)
from lithops.worker.lines import Read
from lithops.worker.ranged import RangedFile

_TAIL_BYTES = 64 * 1024
"""What is asked for first: most footers are in it."""
_END_BYTES = 8
"""The length of the footer, and the mark."""


class Parquet(Format):
    """Tables in Parquet files."""

    def cut(self, whole: DataPart, cut: Cut, access: Access, /) -> list[DataPart]:
        """`chunk_size` counts bytes of row groups once they are decompressed."""
        size = check_ranges("parquet", whole)
        read = access.read(whole)
        tail = _tail(read, size, _TAIL_BYTES)
        footer_bytes = _footer_bytes(tail, whole)
        if footer_bytes > len(tail):
            tail = _tail(read, size, footer_bytes)
        metadata = _metadata(tail[-footer_bytes:], whole)
        sizes = [metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups)]
        edges = _edges(sizes, cut)
        return cut_selections(whole, [(*edge, footer_bytes) for edge in pairwise(edges)])

    def open(self, part: DataPart, access: Access, /) -> ParquetObject:
        return ParquetObject(part, access)


class ParquetObject(StructuredObject):
    """Some row groups of a Parquet file."""

    read_by = "table()"

    def __init__(self, part: DataPart, access: Access) -> None:
        super().__init__(part)
        self._part = part
        self._access = access
        start, stop, self._footer_bytes = part.selection
        self.row_groups = list(range(start, stop))
        """The numbers of the part's row groups in the file."""

    def table(self, columns: Sequence[str] | None = None) -> pyarrow.Table:
        """The rows of the part; with `columns` (names, of nested ones with dots) only these are read.

        Raises `InvalidCall` for a column that is not there, `StorageError` for a file that is damaged or changed.
        """
        size = self._part.size or 0
        read = self._access.read(self._part)
        metadata = _metadata(_tail(read, size, self._footer_bytes), self._part)
        _check_columns(columns, metadata, self._part)
        wanted = None if columns is None else list(columns)
        try:
            with parquet.ParquetFile(RangedFile(read, size), metadata=metadata, pre_buffer=True) as file:
                return file.read_row_groups(self.row_groups, wanted)
        except (pyarrow.ArrowException, OSError) as error:
            raise _damaged(self._part, error) from error


def _edges(sizes: list[int], cut: Cut) -> list[int]:
    """Which row groups parts start with. A part of several has no more bytes than it should."""
    if cut.chunk_number is not None or cut.chunk_size is None:
        return even_edges(len(sizes), cut.chunk_number or 1)
    edges, held = [0], 0
    for index, size in enumerate(sizes):
        if held and held + size > cut.chunk_size:
            edges.append(index)
            held = 0
        held += size
    return [*edges, len(sizes)]


def _tail(read: Read, size: int, count: int) -> bytes:
    return b"".join(read(max(0, size - count), size))


def _footer_bytes(tail: bytes, whole: DataPart) -> int:
    length = int.from_bytes(tail[-_END_BYTES:-4], "little") + _END_BYTES
    if tail[-4:] != b"PAR1" or length > (whole.size or 0):
        raise StorageError(f"{whole.name} is not Parquet, or not all of it: it does not end in a footer")
    return length


def _metadata(footer: bytes, whole: DataPart) -> parquet.FileMetaData:
    try:
        return parquet.read_metadata(pyarrow.BufferReader(b"PAR1" + footer))
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(whole, error) from error


def _check_columns(columns: Sequence[str] | None, metadata: parquet.FileMetaData, part: DataPart) -> None:
    if isinstance(columns, str):
        raise InvalidCall(f"columns is the text {columns!r}; it has to be a list of names: [{columns!r}]")
    paths = [metadata.schema.column(index).path for index in range(metadata.num_columns)]
    for column in columns or ():
        if not any(path == column or path.startswith(f"{column}.") for path in paths):
            raise InvalidCall(f"{part.name} has no column {column!r}; it has {', '.join(paths)}")


def _damaged(part: DataPart, error: Exception) -> StorageError:
    return StorageError(f"{part.name} cannot be read as Parquet: {error}; write it again")

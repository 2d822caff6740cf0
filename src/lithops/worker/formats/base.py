"""What a format is, and how things are divided."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, NoReturn

from lithops.exceptions import InvalidCall
from lithops.storage.base import StorageBackend
from lithops.wire.messages import ByteRange
from lithops.wire.parts import DataPart
from lithops.worker.data import PartObject, part_blocks, reader
from lithops.worker.reading import Blocks, Read, Sleep

Box = tuple[tuple[int, int], ...]
"""For each axis of a grid, where it starts and where it stops."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How the user wants each object to be cut."""

    chunk_size: int | None = None
    """Bytes of a part, where there is no `chunk_number`."""
    chunk_number: int | None = None
    newline: bytes | None = b"\n"

    def count(self, size: int) -> int:
        """How many parts something of `size` bytes has."""
        if self.chunk_number is not None:
            return self.chunk_number
        return 1 if self.chunk_size is None else max(1, -(-size // self.chunk_size))

    def edges(self, size: int) -> list[int]:
        """Where the parts of something of `size` bytes start, and where the last one stops."""
        if self.chunk_number is not None:
            return even_edges(size, self.chunk_number)
        return [*range(0, max(size, 1), self.chunk_size or max(size, 1)), size]


@dataclass(frozen=True, slots=True)
class Access:
    """How data is reached."""

    storage: StorageBackend
    sleep: Sleep = time.sleep

    def read(self, part: DataPart) -> Read:
        """What reads any range of the whole that the part is of. Data that changed is a `StorageError`."""
        return reader(part, self.storage, sleep=self.sleep)

    def blocks(self, part: DataPart) -> Blocks:
        """The part's bytes, or the lines that start in them."""
        return part_blocks(part, self.storage, sleep=self.sleep)


class Format(ABC):
    """A data format. One instance serves all threads."""

    names_folder = False
    """Whether a name stands for one data set made of the objects below it, not for each of those objects."""

    @abstractmethod
    def cut(self, whole: DataPart, cut: Cut, access: Access, /) -> list[DataPart]:
        """The parts of one object, which together are all of it. Runs on the client.

        Raises `InvalidCall` for what cannot be cut so, `StorageError` for what cannot be read.
        """

    @abstractmethod
    def open(self, part: DataPart, access: Access, /) -> PartObject:
        """What the function gets as `obj`. Runs on the worker, which closes it after the call."""


class StructuredObject(PartObject):
    """A part whose bytes mean nothing without the rest of the data."""

    read_by: ClassVar[str]
    """The method that reads it."""

    @property
    def data_stream(self) -> NoReturn:
        raise AttributeError(
            f"{self!r} is not a stream of bytes: it has no data_stream, but is read by {self.read_by}"
        )


def cut_bytes(whole: DataPart, cut: Cut, *, header: int = 0) -> list[DataPart]:
    """Parts that are ranges of the object's bytes. The first `header` bytes are the first part's, beside its own.

    What cannot be asked for in ranges is one part.
    """
    if whole.size is None or not whole.has_ranges:
        return [replace(whole, newline=cut.newline)]
    starts = [0, *(header + edge for edge in cut.edges(whole.size - header)[1:])]
    return [
        replace(
            whole,
            byte_range=ByteRange(start, stop),
            part=index,
            total_parts=len(starts) - 1,
            newline=cut.newline,
        )
        for index, (start, stop) in enumerate(pairwise(starts), start=1)
    ]


def cut_selections(whole: DataPart, selections: Sequence[object]) -> list[DataPart]:
    """Parts that are what the format says."""
    return [
        replace(whole, byte_range=None, part=index, total_parts=len(selections), selection=selection)
        for index, selection in enumerate(selections, start=1)
    ]


def even_edges(length: int, count: int) -> list[int]:
    """`count` parts of `length` things, no two of which differ by more than one; fewer if there are fewer things."""
    count = max(1, min(count, length))
    return [index * length // count for index in range(count + 1)]


def boxes(grid: Sequence[int], count: int) -> Iterator[Box]:
    """`count` boxes that fill a grid of that shape, as even as may be; fewer if the grid has fewer cells.

    The first axes are divided first, so that a box is long where its cells are next to each other.
    """
    if not grid:
        yield ()
        return
    edges = even_edges(grid[0], count)
    slabs = len(edges) - 1
    for index, slab in enumerate(pairwise(edges)):
        share = (index + 1) * count // slabs - index * count // slabs
        for box in boxes(grid[1:], share):
            yield (slab, *box)


def check_ranges(name: str, whole: DataPart) -> int:
    """The object's size. Raises `InvalidCall` where parts of it cannot be asked for."""
    if whole.size is None or not (whole.has_ranges or whole.size == 0):
        raise InvalidCall(
            f"{whole.name} is read as {name}, which needs a server that sends ranges, and this one does not; "
            "put the data into storage, or into a file"
        )
    return whole.size


def check_newline(name: str, cut: Cut) -> bytes:
    """What ends a line. Raises `InvalidCall` where nothing does."""
    if cut.newline is None:
        raise InvalidCall(
            f"obj_newline is None, but {name} is cut at lines; leave it out, or say what ends one"
        )
    return cut.newline

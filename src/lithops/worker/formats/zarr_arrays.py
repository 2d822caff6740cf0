"""Zarr: parts are boxes of whole chunks (of whole shards, where there are some), and only these are read.

::

    client:  the array's metadata ─► its grid of chunks ─► boxes
    worker:  the array's metadata ─► the chunks of the part's box ─► numpy array

The name is that of the array: the objects below it are no parts of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import zarr

from lithops.exceptions import InvalidCall, LithopsError, StorageError
from lithops.wire.parts import DataPart
from lithops.worker.formats.base import Access, Cut, Format, StructuredObject, boxes, cut_selections
from lithops.worker.formats.zarr_store import PartStore
from lithops.worker.reading import changed


class ZarrArrays(Format):
    """Arrays in chunks."""

    names_folder = True

    def cut(self, whole: DataPart, cut: Cut, access: Access, /) -> list[DataPart]:
        """`chunk_size` counts bytes of elements in memory."""
        with _read_errors(whole):
            node = zarr.open(PartStore(whole, access), mode="r")
        if not isinstance(node, zarr.Array):
            raise InvalidCall(f"{whole.name} is a Zarr group, not an array; name one of the arrays in it")
        steps = node.shards or node.chunks
        grid = [-(-length // step) for length, step in zip(node.shape, steps, strict=True)]
        selections = []
        for box in boxes(grid, cut.count(node.nbytes)):
            slices = tuple(
                (start * step, min(stop * step, length))
                for (start, stop), step, length in zip(box, steps, node.shape, strict=True)
            )
            selections.append((node.metadata.zarr_format, node.shape, slices))
        return cut_selections(whole, selections)

    def open(self, part: DataPart, access: Access, /) -> ZarrObject:
        return ZarrObject(part, access)


class ZarrObject(StructuredObject):
    """A box of a Zarr array."""

    read_by = "array()"

    def __init__(self, part: DataPart, access: Access) -> None:
        super().__init__(part)
        self._part = part
        self._access = access
        self._zarr_format, self._shape, slices = part.selection
        self.selection = tuple(slice(start, stop) for start, stop in slices)
        """The part's place in the array: a slice for each axis."""

    def array(self) -> numpy.ndarray[Any, Any]:
        """The part's elements. Chunks that were never written have the array's fill value.

        Raises `StorageError` for chunks that cannot be read, and where the array has another shape by now.
        """
        with _read_errors(self._part):
            store = PartStore(self._part, self._access)
            array = zarr.open_array(store, mode="r", zarr_format=self._zarr_format)
            if array.shape != self._shape:
                raise changed(self._part)
            return numpy.asarray(array[self.selection])


@contextmanager
def _read_errors(part: DataPart) -> Iterator[None]:
    try:
        yield
    except (LithopsError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise StorageError(f"{part.name} is no Zarr array: it has no metadata; check the name") from error
    except Exception as error:
        # Each codec has errors of its own.
        raise StorageError(f"{part.name} cannot be read as Zarr: {error}; write it again") from error

"""Cloud Optimized GeoTIFF: parts are windows of whole blocks, and only their bytes are read.

::

    client:  the head of the file ─► its grid of blocks ─► windows
    worker:  the head of the file ─► the blocks of the part's window, in one request where they lie together

Any tiled GeoTIFF can be read so; one in strips has windows as wide as itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy
import rasterio
from rasterio.abc import MultiByteRangeResourceContainer
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from lithops.exceptions import StorageError
from lithops.wire.messages import ByteRange
from lithops.wire.parts import DataPart
from lithops.worker.formats.base import (
    Access,
    Cut,
    Format,
    StructuredObject,
    boxes,
    check_ranges,
    cut_selections,
)
from lithops.worker.lines import Read
from lithops.worker.ranged import RangedFile

_AHEAD_BYTES = 64 * 1024
"""What is read at once: the head of most files is in it."""


class CloudOptimizedGeoTiff(Format):
    """Images with a place on the earth."""

    def cut(self, whole: DataPart, cut: Cut, access: Access, /) -> list[DataPart]:
        """`chunk_size` counts bytes of pixels in memory: all bands, not compressed."""
        size = check_ranges("cog", whole)
        with _Image(whole, access.read(whole), size) as image, image.read_errors():
            dataset = image.dataset()
            height, width = dataset.shape
            block_height, block_width = dataset.block_shapes[0]
            pixel_bytes = sum(numpy.dtype(dtype).itemsize for dtype in dataset.dtypes)
        grid = (-(-height // block_height), -(-width // block_width))
        windows = []
        for (top, bottom), (left, right) in boxes(grid, cut.count(height * width * pixel_bytes)):
            row, column = top * block_height, left * block_width
            stop_row, stop_column = min(bottom * block_height, height), min(right * block_width, width)
            windows.append((column, row, stop_column - column, stop_row - row))
        return cut_selections(whole, windows)

    def open(self, part: DataPart, access: Access, /) -> GeoTiffObject:
        return GeoTiffObject(part, access)


class GeoTiffObject(StructuredObject):
    """A window of a GeoTIFF."""

    read_by = "read()"

    def __init__(self, part: DataPart, access: Access) -> None:
        super().__init__(part)
        self.window = Window(*part.selection)
        """The part's place in the image, in pixels."""
        self._image = _Image(part, access.read(part), part.size or 0)

    def open(self) -> DatasetReader:
        """The whole image as rasterio has it: what is read of it is asked for then. It is closed after the call."""
        with self._image.read_errors():
            return self._image.dataset()

    def read(self, bands: int | Sequence[int] | None = None) -> numpy.ndarray[Any, Any]:
        """The window's pixels: an array of bands, rows and columns; of rows and columns for one band's number.

        Bands count from 1. Raises `StorageError` for a file that is damaged or changed.
        """
        with self._image.read_errors():
            pixels: numpy.ndarray[Any, Any] = self._image.dataset().read(bands, window=self.window)
        return pixels

    def profile(self) -> dict[str, Any]:
        """What `rasterio.open` needs to write the window as an image of its own, in its place on the earth."""
        dataset, window = self.open(), self.window
        whole = dataset.transform
        # As `dataset.window_transform`, which warns with some versions of affine.
        x = whole.c + whole.a * window.col_off + whole.b * window.row_off
        y = whole.f + whole.d * window.col_off + whole.e * window.row_off
        transform = rasterio.Affine(whole.a, whole.b, x, whole.d, whole.e, y)
        return {**dataset.profile, "width": window.width, "height": window.height, "transform": transform}

    def close(self) -> None:
        self._image.close()


class _Image:
    """A GeoTIFF that GDAL reads through a `RangedFile`."""

    def __init__(self, part: DataPart, read: Read, size: int) -> None:
        self._part = part
        self._folder = _OneFile(read, size, f"{uuid.uuid4().hex}/{part.key or part.path or 'image'}")
        self._dataset: DatasetReader | None = None

    def dataset(self) -> DatasetReader:
        if self._dataset is None or self._dataset.closed:
            self._dataset = rasterio.open(self._folder.path, opener=self._folder, driver="GTiff")
        return self._dataset

    @contextmanager
    def read_errors(self) -> Iterator[None]:
        """Raises what went wrong below GDAL, which tells no more than that something did."""
        try:
            yield
        except RasterioError as error:
            raise self._folder.failure or StorageError(
                f"{self._part.name} cannot be read as GeoTIFF: {error}; write it again"
            ) from error
        if self._folder.failure:
            raise self._folder.failure

    def close(self) -> None:
        if self._dataset is not None:
            self._dataset.close()

    def __enter__(self) -> _Image:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _OneFile(MultiByteRangeResourceContainer):  # type: ignore[misc] # rasterio has no types of its own
    """A file system with one file, as GDAL wants it."""

    def __init__(self, read: Read, size: int, path: str) -> None:
        self.path = path
        self.failure: Exception | None = None
        self._read = read
        self._size = size

    def open(self, path: str, *_: Any, **__: Any) -> _ImageFile:
        if path != self.path:
            raise FileNotFoundError(path)
        return _ImageFile(self, self._read, self._size)

    def isfile(self, path: str) -> bool:
        return path == self.path

    def isdir(self, _: str) -> bool:
        return False

    def ls(self, _: str) -> list[str]:
        return []

    def mtime(self, _: str) -> int:
        return 0

    def size(self, _: str) -> int:
        return self._size

    def rm(self, path: str) -> None:
        raise PermissionError(path)


class _ImageFile(RangedFile):
    """Keeps an error for later: none can be raised through GDAL."""

    def __init__(self, folder: _OneFile, read: Read, size: int) -> None:
        super().__init__(read, size, ahead=_AHEAD_BYTES)
        self._folder = folder

    def read(self, size: int = -1, /) -> bytes:
        try:
            return super().read(size)
        except Exception as failure:  # noqa: BLE001 - it is raised when GDAL has returned
            self._folder.failure = failure
            return b""

    def get_byte_ranges(self, offsets: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        ranges = [ByteRange(offset, offset + size) for offset, size in zip(offsets, sizes, strict=True)]
        try:
            return self.read_ranges(ranges)
        except Exception as failure:  # noqa: BLE001 - it is raised when GDAL has returned
            self._folder.failure = failure
            return [b""] * len(ranges)

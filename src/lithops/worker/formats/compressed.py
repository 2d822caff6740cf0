"""Compressed text: one part for each object, whatever its size, since nothing but the start of it can be found.

::

    blocks of the object ─► slices of 4 KiB ─► one decoder a member ─► data_stream
"""

from __future__ import annotations

import zlib
from abc import abstractmethod
from contextlib import closing
from dataclasses import replace
from typing import Protocol

from lithops.exceptions import StorageError
from lithops.wire.parts import DataPart
from lithops.worker.data import DataObject
from lithops.worker.formats.base import Access, Cut, Format
from lithops.worker.reading import Blocks

_SLICE_BYTES = 4 * 1024
"""What is decompressed at once: so little that it cannot become too much."""


class Decoder(Protocol):
    """What reads one member of a compressed file."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class CompressedText(Format):
    """Text that a codec has compressed, in one member or several."""

    name: str
    errors: type[Exception]
    """What the codec raises for data that is none of its own."""

    @abstractmethod
    def decoder(self) -> Decoder: ...

    def cut(self, whole: DataPart, cut: Cut, _: Access, /) -> list[DataPart]:
        return [replace(whole, newline=cut.newline)]

    def open(self, part: DataPart, access: Access, /) -> DataObject:
        return DataObject(part, self._decompress(part, access.blocks(part)))

    def _decompress(self, part: DataPart, blocks: Blocks) -> Blocks:
        decoder = self.decoder()
        with closing(blocks):
            for block in blocks:
                for start in range(0, len(block), _SLICE_BYTES):
                    rest = block[start : start + _SLICE_BYTES]
                    while rest:
                        if decoder.eof:
                            # Files of tapes and blocks are filled up with zeros.
                            rest = rest.lstrip(b"\0")
                            if not rest:
                                break
                            decoder = self.decoder()
                        try:
                            yield decoder.decompress(rest)
                        except self.errors as error:
                            raise StorageError(
                                f"{part.name} is damaged, or not {self.name}: {error}; write it again"
                            ) from error
                        rest = decoder.unused_data
        if not decoder.eof:
            raise StorageError(
                f"{part.name} ends in the middle of its {self.name} data: it is not whole; write it again"
            )


class Gzip(CompressedText):
    """Text in gzip files."""

    name = "gzip"
    errors = zlib.error

    def decoder(self) -> Decoder:
        return zlib.decompressobj(16 + zlib.MAX_WBITS)

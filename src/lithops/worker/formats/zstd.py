"""Text in Zstandard files."""

from __future__ import annotations

import zstandard

from lithops.worker.formats.compressed import CompressedText, Decoder

_LARGEST_WINDOW = 1 << 31
"""What ``zstd --long=31`` writes."""


class Zstd(CompressedText):
    """Text in Zstandard files."""

    name = "zstd"
    errors = zstandard.ZstdError

    def decoder(self) -> Decoder:
        return zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW).decompressobj()

"""Objects on their way to Azure: in one request, or in blocks that become an object when their list is committed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

from azure.core import MatchConditions
from azure.storage.blob import BlobBlock, BlobClient

from lithops.exceptions import AlreadyExists
from lithops.storage.backends.azure_storage.errors import Target, translate_errors
from lithops.storage.base import Body
from lithops.storage.bodies import pieces, send_pieces

_PIECE_BYTES = 8 << 20
"""Azure takes 50,000 blocks for one object."""
_WRITER = "lithops_writer"
"""The metadata by which the writer of a conditional put knows its object."""


def upload(blob: BlobClient, body: Body, target: Target, *, if_absent: bool) -> None:
    """Store the body whole or not at all. What goes wrong while it is read is the caller's, and passes through."""
    condition = _Condition() if if_absent else None
    rest = pieces(body, repeat(_PIECE_BYTES))
    first, second = next(rest), next(rest, None)
    options: dict[str, Any] = {} if condition is None else condition.options()
    try:
        if second is None:
            with translate_errors(target):
                blob.upload_blob(first, length=len(first), overwrite=condition is None, **options)
        else:
            blocks = _stage(blob, chain((first, second), rest), target)
            if condition is not None:
                options["match_condition"] = MatchConditions.IfMissing
            with translate_errors(target):
                blob.commit_block_list(blocks, **options)
    except AlreadyExists:
        # The first attempt may have been done, and its answer lost.
        if condition is None or not condition.is_met_by(blob, target):
            raise


@dataclass
class _Condition:
    """Of several writers one wins: this one knows its own object when it was asked twice for it."""

    writer: str = field(default_factory=lambda: os.urandom(12).hex())
    retried: bool = False

    def options(self) -> dict[str, Any]:
        return {"metadata": {_WRITER: self.writer}, "retry_hook": self._note}

    def _note(self, **_: Any) -> None:
        self.retried = True

    def is_met_by(self, blob: BlobClient, target: Target) -> bool:
        if not self.retried:
            return False
        with translate_errors(target):
            return blob.get_blob_properties().metadata.get(_WRITER) == self.writer


def _stage(blob: BlobClient, those: Iterable[bytes], target: Target) -> list[BlobBlock]:
    """Send pieces as blocks. Nobody sees them before their list is committed."""
    # Writers that put the same key at the same time must not take each other's blocks for their own.
    upload_id = os.urandom(12).hex()

    def send(number: int, piece: bytes) -> BlobBlock:
        block_id = f"{upload_id}-{number:05d}"
        with translate_errors(target):
            blob.stage_block(block_id, piece, len(piece))
        return BlobBlock(block_id)

    return send_pieces(send, those)

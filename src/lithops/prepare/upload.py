"""Where a job's bytes go: into the message while they are small, else into the storage."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lithops.compute.base import Limits
from lithops.ledger import WHOLE_EXECUTOR, Ledger
from lithops.storage.base import StorageBackend
from lithops.wire.keys import arguments_key, function_key
from lithops.wire.messages import Blob, ByteRange, Call, InlineBlob, StoredBlob
from lithops.wire.pickles import Buffer, join, size

_PACK_BYTES = 64 << 20
_ALIGNMENT = 64
"""Arrays that are mapped into memory begin at multiples of this, as numpy's own do."""


class Uploader:
    """Turns the bytes of one executor into blobs of one bucket."""

    def __init__(
        self, executor_id: str, storage: StorageBackend, bucket: str, *, limits: Limits, ledger: Ledger
    ) -> None:
        self._executor_id = executor_id
        self._storage = storage
        self._bucket = bucket
        self._inline_bytes = limits.inline_bytes
        self._payload_bytes = limits.payload_bytes
        self._ledger = ledger
        self._stored: set[str] = set()

    def arguments(self, bodies: Sequence[Sequence[Buffer]], job_key: str) -> list[Blob]:
        """Each call's arguments. They are copied once, so the caller may change them afterwards.

        Those that are too large for a message share objects, of as many bytes as are worth a request of their own.
        """
        blobs: dict[int, Blob] = {}
        pack: dict[int, Sequence[Buffer]] = {}
        packed, number = 0, 0
        for index, body in enumerate(bodies):
            length = size(body)
            if length <= self._inline_bytes:
                blobs[index] = InlineBlob(join(body))
                continue
            if pack and packed + length > _PACK_BYTES:
                blobs.update(self._store(pack, job_key, number))
                pack, packed, number = {}, 0, number + 1
            pack[index] = body
            packed += length
        if pack:
            blobs.update(self._store(pack, job_key, number))
        return [blobs[index] for index in range(len(bodies))]

    def fit(self, call: Call, job_key: str) -> Call:
        """A call of a job without arguments of its own; its inputs stored where they are too much for one task."""
        if call.inline_bytes <= self._payload_bytes:
            return call
        pack = {at: [blob.data] for at, blob in enumerate(call.inputs) if isinstance(blob, InlineBlob)}
        stored = self._store(pack, job_key, call.index)
        return replace(call, inputs=tuple(stored.get(at, blob) for at, blob in enumerate(call.inputs)))

    def _store(self, pack: Mapping[int, Sequence[Buffer]], job_key: str, number: int) -> dict[int, Blob]:
        key = arguments_key(job_key, number)
        segments: list[Buffer] = []
        blobs: dict[int, Blob] = {}
        start = 0
        for index, body in pack.items():
            stop = start + size(body)
            gap = -stop % _ALIGNMENT
            segments += [*body, bytes(gap)]
            blobs[index] = StoredBlob(key, ByteRange(start, stop))
            start = stop + gap
        self._storage.put(self._bucket, key, segments)
        self._ledger.count(job_key, put=1)
        return blobs

    def content(self, data: bytes) -> Blob:
        """A function, or its modules: stored once under the hash of the content, whatever the job."""
        if len(data) <= self._inline_bytes:
            return InlineBlob(data)
        key = function_key(self._executor_id, hashlib.sha256(data).hexdigest())
        if key not in self._stored:
            self._storage.put(self._bucket, key, data)
            self._ledger.count(WHOLE_EXECUTOR, put=1)
            self._stored.add(key)
        return StoredBlob(key)

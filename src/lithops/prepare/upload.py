"""Where a job's bytes go: into the message while they are small, else into the storage."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence

from lithops.exceptions import AlreadyExists
from lithops.storage.base import StorageBackend
from lithops.wire.keys import arguments_key, function_key
from lithops.wire.messages import Blob, InlineBlob, StoredBlob
from lithops.wire.pickles import Buffer, join, size


class Uploader:
    """Turns bytes into blobs of one bucket."""

    def __init__(self, storage: StorageBackend, bucket: str, inline_bytes: int) -> None:
        self._storage = storage
        self._bucket = bucket
        self._inline_bytes = inline_bytes
        self._stored: set[str] = set()

    def arguments(self, segments: Sequence[Buffer], job_key: str, index: int) -> Blob:
        """A call's arguments. They are copied once, so the caller may change them afterwards."""
        if size(segments) <= self._inline_bytes:
            return InlineBlob(join(segments))
        key = arguments_key(job_key, index)
        self._storage.put(self._bucket, key, segments)
        return StoredBlob(key)

    def content(self, data: bytes) -> Blob:
        """A function, or its modules: stored once under the hash of the content, whatever the job."""
        if len(data) <= self._inline_bytes:
            return InlineBlob(data)
        key = function_key(hashlib.sha256(data).hexdigest())
        if key not in self._stored:
            with contextlib.suppress(AlreadyExists):  # the same content, stored by an earlier program
                self._storage.put(self._bucket, key, data, if_absent=True)
            self._stored.add(key)
        return StoredBlob(key)

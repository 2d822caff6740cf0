"""What the calls of one run share, and what is too large for their messages: in the storage while it is needed.

An array is known by its identity, as in joblib's own backends: for as long as a run takes, its content does not change.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from lithops.exceptions import InvalidCall, StorageError
from lithops.storage.client import Storage
from lithops.wire.keys import arguments_key
from lithops.wire.pickles import Buffer

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

logger = logging.getLogger(__name__)


class RunObjects:
    """The objects of one run. Safe in threads."""

    def __init__(self, storage: Storage, job_key: str) -> None:
        self._storage = storage
        self._job_key = job_key
        self._arrays: dict[int, tuple[weakref.ref[Any], str]] = {}
        """By the identity of the array: the key of its object."""
        self._owners: dict[str, weakref.ref[Any]] = {}
        """The arrays of the objects that are shared."""
        self._users: Counter[str] = Counter()
        """How many calls under way name each object."""
        self._idle: set[str] = set()
        """The objects that none names, and others may: somebody holds the array."""
        self._count = 0
        self._closed = False
        self._lock = threading.Lock()

    def share(self, array: Array) -> str:
        """The key of the object that holds the array, stored now if it was not yet. To be released."""
        with self._lock:
            known, key = self._arrays.get(id(array), (None, ""))
            # Another array may lie where one was that nobody holds any more.
            if known is None or known() is not array:
                key = self._store(_flat(array))
                self._owners[key] = weakref.ref(array)
                self._arrays[id(array)] = self._owners[key], key
            self._users[key] += 1
            return key

    def put(self, body: bytes) -> str:
        """The key of an object with this content, for one call. To be released."""
        with self._lock:
            key = self._store(body)
            self._users[key] += 1
            return key

    def release(self, keys: Sequence[str]) -> None:
        """A call that named these objects has ended. What no call can name any more is deleted."""
        with self._lock:
            self._users.subtract(keys)
            self._idle = {key for key in self._idle.union(keys) if self._users[key] == 0}
            unused = [key for key in self._idle if not self._is_held(key)]
            for key in unused:
                self._forget(key)
        self.delete(unused)

    def close(self) -> None:
        """The run has ended: delete all that is left."""
        with self._lock:
            self._closed = True
            left = list(self._users)
            self._users.clear()
            self._idle.clear()
            self._owners.clear()
            self._arrays.clear()
        self.delete(left)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects that nobody needs any more; where that fails, they go when the executor ends."""
        if not keys:
            return
        try:
            self._storage.delete_objects(self._storage.bucket, keys)
        except StorageError as error:
            logger.warning("%d objects stay in the storage until the executor ends: %s", len(keys), error)

    def _store(self, body: Buffer) -> str:
        if self._closed:
            raise InvalidCall("this run of joblib.Parallel has ended: nothing more of it is sent")
        key = arguments_key(self._job_key, self._count)
        self._count += 1
        self._storage.put_object(self._storage.bucket, key, body)
        return key

    def _is_held(self, key: str) -> bool:
        """Whether somebody holds the array, and may pass it to another call."""
        owner = self._owners.get(key)
        return owner is not None and owner() is not None

    def _forget(self, key: str) -> None:
        del self._users[key]
        self._idle.discard(key)
        owner = self._owners.pop(key, None)
        for identity, (known, _) in list(self._arrays.items()):
            if known is owner:
                del self._arrays[identity]


def order_of(array: Array) -> Literal["C", "F"]:
    """In which order an array's elements are stored: as they lie in memory, else in C order."""
    return "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"


def _flat(array: Array) -> Buffer:
    """The array's bytes in the order of `order_of`: no copy where they lie side by side."""
    import numpy

    aligned = numpy.ascontiguousarray(array.T if order_of(array) == "F" else array)
    flat: Any = aligned.reshape(-1).view(numpy.uint8)
    return memoryview(flat)

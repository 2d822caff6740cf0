"""A bucket as a tree: keys are paths, and what lies before a slash is a folder.

A folder is there as long as anything lies below it. An empty one is kept by an empty object whose key ends in a slash,
as the clouds' own consoles do.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Iterable, Iterator
from functools import cached_property
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING

from lithops.exceptions import StorageNoSuchKeyError
from lithops.storage.base import ObjectInfo, StorageBackend
from lithops.wire.keys import CLOUDOBJECTS_PREFIX, JOBS_PREFIX

if TYPE_CHECKING:
    from lithops.storage.client import Storage

StrPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

_OWN = {prefix.rstrip("/") for prefix in (JOBS_PREFIX, CLOUDOBJECTS_PREFIX)}
"""What this library keeps in the bucket is not listed with the user's files."""
_SKIP_AFTER = 1_000
"""So many keys of one subfolder are passed over; those behind them are left out of the listing."""
_HELD_AT_ONCE = 10_000
"""A folder with no more keys below it is listed once to be walked; of a larger one, folder after folder is."""


def key_of(path: StrPath) -> str:
    """The key that a path means: absolute or relative, all paths start at the bucket."""
    return posixpath.normpath("/" + os.fsdecode(path)).lstrip("/")


def parents_of(key: str) -> list[str]:
    """The folders that a key lies in, the innermost first, without the root."""
    segments = key.split("/")
    return ["/".join(segments[:count]) for count in range(len(segments) - 1, 0, -1)]


def prefix_of(folder: str) -> str:
    return f"{folder}/" if folder else ""


class ObjectTree:
    """The default bucket of a storage; without one, of that which is configured, made when it is first needed."""

    def __init__(self, storage: Storage | None) -> None:
        self.given = storage
        self._folders: set[str] = set()
        """What was found to be no file, so that it is not asked again with every file that is written."""

    @cached_property
    def storage(self) -> Storage:
        if self.given is not None:
            return self.given
        storage: Storage = import_module("lithops.storage.client").Storage()
        return storage

    @property
    def backend(self) -> StorageBackend:
        return self.storage.storage_handler

    @property
    def bucket(self) -> str:
        return self.storage.bucket

    @cached_property
    def ready_bucket(self) -> str:
        """The bucket, made if it is not there."""
        self.storage.create_bucket(self.bucket)
        return self.bucket

    def info(self, key: str) -> ObjectInfo | None:
        """What is known of a file; None if there is none."""
        if not key:
            return None
        try:
            return self.backend.head(self.bucket, key)
        except StorageNoSuchKeyError:
            return None

    def is_folder(self, key: str) -> bool:
        return not key or next(self.below(key), None) is not None

    def below(self, folder: str, start_after: str = "") -> Iterator[ObjectInfo]:
        """Every object in the folder and its subfolders, the one that marks it included."""
        return self.backend.list(self.ready_bucket, prefix_of(folder), start_after)

    def absence(self, key: str, name: str) -> OSError:
        """Why there is no file of that name."""
        if self.is_folder(key):
            return os_error(errno.EISDIR, name)
        return os_error(errno.ENOTDIR if self.is_below_a_file(key) else errno.ENOENT, name)

    def check_writable(self, key: str, name: str) -> None:
        """Raises what the system would, unless a file of that name may be written."""
        if self.is_folder(key) and self.info(key) is None:
            raise os_error(errno.EISDIR, name)
        if self.is_below_a_file(key):
            raise os_error(errno.ENOTDIR, name)

    def is_below_a_file(self, key: str) -> bool:
        """Whether what would be a folder that the key lies in is a file."""
        for parent in parents_of(key):
            if parent not in self._folders:
                if self.info(parent) is not None and not self.is_folder(parent):
                    return True
                self._folders.add(parent)
        return False

    def stored(self, key: str) -> None:
        """The key is a file's from now on."""
        self._folders.discard(key)

    def mark(self, folder: str) -> None:
        """Keep the folder, even if nothing lies in it. Raises `AlreadyExists` if it is kept."""
        self.backend.put(self.ready_bucket, prefix_of(folder), b"", if_absent=True)

    def children(self, folder: str) -> list[tuple[str, ObjectInfo | None]] | None:
        """The files in the folder, and None for each subfolder, by name; None if there is no such folder.

        A name may be both a file's and a subfolder's.
        """
        found = list(self._names(folder))
        if folder and not found:
            return None
        return [(name, info) for name, info in found if _is_shown(folder, name)]

    def _names(self, folder: str) -> Iterator[tuple[str, ObjectInfo | None]]:
        """The next segment of each key, once for each folder that it is."""
        prefix = prefix_of(folder)
        start_after = skipped_to = ""
        current: str | None = None
        while True:
            passed_over = 0
            for info in self.below(folder, start_after):
                name, slash, _ = info.key[len(prefix) :].partition("/")
                if not slash:
                    yield name, info
                elif name != current:
                    current, passed_over = name, 0
                    yield name, None
                else:
                    passed_over += 1
                    skipped_to = f"{prefix}{name}/\U0010ffff"
                    if passed_over >= _SKIP_AFTER and start_after != skipped_to:
                        break
            else:
                return
            start_after = skipped_to

    def all_below(self, folder: str) -> list[ObjectInfo] | None:
        """Every object in the folder and its subfolders; None if these are too many."""
        infos = list(islice(self.below(folder), _HELD_AT_ONCE + 1))
        return infos if len(infos) <= _HELD_AT_ONCE else None


def group(folder: str, infos: Iterable[ObjectInfo]) -> tuple[dict[str, list[ObjectInfo]], list[str]]:
    """The subfolders with the objects below each, and the names of the files."""
    folders: dict[str, list[ObjectInfo]] = {}
    files = []
    for info in infos:
        name, slash, _ = info.key[len(prefix_of(folder)) :].partition("/")
        if not _is_shown(folder, name):
            continue
        if slash:
            folders.setdefault(name, []).append(info)
        else:
            files.append(name)
    return folders, files


def _is_shown(folder: str, name: str) -> bool:
    # No path leads to keys with empty segments and single dots: a folder's own mark is one of them.
    return name not in ("", ".") and not (folder == "" and name in _OWN)


def os_error(number: int, name: str, text: str | None = None) -> OSError:
    """The error of that number, of the class that Python has for it."""
    return OSError(number, text or os.strerror(number), name)

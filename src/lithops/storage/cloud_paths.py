"""What `os.path` and the results of `os.stat` and `os.scandir` are over object storage."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable, Iterator

from lithops.storage.base import ObjectInfo
from lithops.storage.cloud_files import os_errors
from lithops.storage.cloud_tree import ObjectTree, StrPath, key_of


class CloudPath:
    """What `os.path` is. What a storage refuses is an error: only what is not there does not exist."""

    sep, curdir, pardir, extsep, altsep = "/", ".", "..", ".", None
    join = staticmethod(posixpath.join)
    split = staticmethod(posixpath.split)
    splitext = staticmethod(posixpath.splitext)
    splitdrive = staticmethod(posixpath.splitdrive)
    basename = staticmethod(posixpath.basename)
    dirname = staticmethod(posixpath.dirname)
    normpath = staticmethod(posixpath.normpath)
    normcase = staticmethod(posixpath.normcase)
    isabs = staticmethod(posixpath.isabs)
    commonprefix = staticmethod(posixpath.commonprefix)
    commonpath = staticmethod(posixpath.commonpath)

    def __init__(self, tree: ObjectTree) -> None:
        self._tree = tree

    def exists(self, path: StrPath) -> bool:
        """Whether there is a file or a folder."""
        return self.isfile(path) or self.isdir(path)

    lexists = exists

    def isfile(self, path: StrPath) -> bool:
        """Whether there is an object of that key."""
        return _holds(lambda: self._tree.info(key_of(path)) is not None, path)

    def isdir(self, path: StrPath) -> bool:
        """Whether anything lies below, or the folder was made."""
        return _holds(lambda: self._tree.is_folder(key_of(path)), path)

    def islink(self, path: StrPath) -> bool:  # noqa: ARG002 - as in `os.path`
        """False: there are no links."""
        return False

    def ismount(self, path: StrPath) -> bool:
        """Whether it is the bucket itself."""
        return not key_of(path)

    def getsize(self, filename: StrPath) -> int:
        """Bytes."""
        return stat_of(self._tree, filename).st_size

    def getmtime(self, filename: StrPath) -> float:
        """Seconds of the Unix epoch."""
        return stat_of(self._tree, filename).st_mtime

    getatime = getctime = getmtime

    def samefile(self, f1: StrPath, f2: StrPath) -> bool:
        """Whether both are there, and have the same key."""
        for path in (f1, f2):
            stat_of(self._tree, path)
        return key_of(f1) == key_of(f2)

    def abspath(self, path: StrPath) -> str:
        """The path from the bucket on: a slash and the key."""
        return "/" + key_of(path)

    realpath = abspath

    def relpath(self, path: StrPath, start: StrPath = ".") -> str:
        """The path as seen from the folder `start`."""
        return posixpath.relpath(self.abspath(path), self.abspath(start))


class CloudDirEntry:
    """What `scandir` gives for each file and folder: what it tells of a file costs no request."""

    def __init__(self, folder: str, name: str, info: ObjectInfo | None) -> None:
        self.name = name
        self.path = posixpath.join(folder, name)
        self._info = info

    def is_file(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - as in `os.DirEntry`
        return self._info is not None

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - as above
        return self._info is None

    def is_symlink(self) -> bool:
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:  # noqa: ARG002 - as above
        return _status(self._info)

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"<CloudDirEntry {self.name!r}>"


class CloudScan:
    """The entries of a folder: an iterator, and a context manager as that of `os.scandir` is."""

    def __init__(self, entries: Iterator[CloudDirEntry]) -> None:
        self._entries = entries

    def __iter__(self) -> Iterator[CloudDirEntry]:
        return self._entries

    def __next__(self) -> CloudDirEntry:
        return next(self._entries)

    def __enter__(self) -> CloudScan:
        return self

    def __exit__(self, *about: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries = iter(())


def _holds(condition: Callable[[], bool], path: StrPath) -> bool:
    try:
        with os_errors(os.fsdecode(path)):
            return condition()
    except (FileNotFoundError, ValueError):  # no bucket, or no key's name
        return False


def stat_of(tree: ObjectTree, path: StrPath) -> os.stat_result:
    name, key = os.fsdecode(path), key_of(path)
    with os_errors(name):
        info = tree.info(key)
        if info is None and not tree.is_folder(key):
            raise tree.absence(key, name)
        return _status(info)


def _status(info: ObjectInfo | None) -> os.stat_result:
    """What `os.stat` says of a file; without one, of a folder, which has no time of its own."""
    mode = stat.S_IFDIR | 0o755 if info is None else stat.S_IFREG | 0o644
    size, modified = (0, 0.0) if info is None else (info.size, info.last_modified)
    whole = int(modified)
    exact = {f"st_{which}time": modified for which in "amc"}
    nanoseconds = {f"st_{which}time_ns": int(modified * 1e9) for which in "amc"}
    return os.stat_result((mode, 0, 0, 1, 0, 0, size, whole, whole, whole), {**exact, **nanoseconds})

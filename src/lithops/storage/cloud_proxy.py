"""Object storage as files: `os` and `open` like the standard library's, over the default bucket of a storage.

::

    from lithops.storage.cloud_proxy import os, open

    with open("data/2024/numbers.csv", "w") as file:
        file.write("1,2,3")
    os.listdir("data")

Paths are keys; absolute and relative ones all start at the bucket. What differs from a disk:

- A file is there, whole, when it is closed. Where a ``with`` block ends by an exception, nothing is stored and what was
  there before stays.
- Folders need not be made before files are written into them. One that was not made with `mkdir` or `makedirs` is gone
  with its last file.
- There are no links, owners, permissions or working folders; `rename` copies, and takes files only.
- Text is UTF-8 unless another encoding is named, whatever machine it is read and written on.
"""

from __future__ import annotations

import errno
import os as system
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import IO, Any

from lithops.exceptions import AlreadyExists
from lithops.storage.base import ObjectInfo
from lithops.storage.client import Storage
from lithops.storage.cloud_files import ObjectReader, ObjectWriter, dress, os_errors, parse_mode
from lithops.storage.cloud_paths import CloudDirEntry, CloudPath, CloudScan, stat_of
from lithops.storage.cloud_tree import ObjectTree, StrPath, group, key_of, os_error, parents_of, prefix_of

__all__ = ["os", "open", "CloudStorage", "CloudFileProxy"]

_OF_THE_SYSTEM = {
    *("PathLike", "SEEK_CUR", "SEEK_END", "SEEK_SET", "error", "fsdecode", "fsencode", "fspath", "strerror"),
    *("altsep", "curdir", "devnull", "extsep", "linesep", "name", "pardir", "pathsep", "sep"),
    *("environ", "getenv", "putenv", "unsetenv", "get_terminal_size", "getlogin"),
    *("cpu_count", "getgid", "getpid", "getppid", "getuid", "times", "uname", "urandom"),
}
"""What `os` has beside files: programs that take ours for it find these."""


class CloudStorage(Storage):
    """The storage of a configuration: a dict of sections, the path of a file with them, or the one that is found."""

    def __init__(self, config: Mapping[str, Any] | StrPath | None = None) -> None:
        if config is None or isinstance(config, Mapping):
            super().__init__(config)
        else:
            # Configuration is a higher layer than storage.
            loader = import_module("lithops.config.loader")
            super().__init__(loader.load_config(system.fsdecode(config)))


class CloudFileProxy:
    """What `os` is, over the default bucket of a storage. Without one, the configuration's is made at first use.

    Names, arguments and errors are those of the standard library, but `open` is the built-in function. It may be
    pickled: the copy works on the same bucket.
    """

    def __init__(self, cloud_storage: Storage | None = None) -> None:
        self._tree = ObjectTree(cloud_storage)
        self.path = CloudPath(self._tree)

    def __reduce__(self) -> tuple[type[CloudFileProxy], tuple[Storage | None]]:
        return type(self), (self._tree.given,)

    def __getattr__(self, name: str) -> Any:
        if name in _OF_THE_SYSTEM:
            return getattr(system, name)
        raise AttributeError(
            f"object storage has no os.{name}; import os for files of this machine", name=name
        )

    # ---------------------------------------------------------------- files

    def open(
        self,
        file: StrPath,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """Open a file, as the built-in function does: every mode, text and binary.

        Reading is lazy, and asks for ranges where the program seeks. What is written is stored by `close`, whole; not
        at all where a ``with`` block ends by an exception. Of several that create a file with mode ``x``, one
        succeeds: the others may learn of it no sooner than when they close theirs.
        """
        text_options = any(option is not None for option in (encoding, errors, newline))
        letter = parse_mode(mode, buffering, text_options=text_options)
        name, key = system.fsdecode(file), key_of(file)
        if not key:
            raise os_error(errno.EISDIR, name)
        raw: Any = self._read(key, name) if letter == "r" and "+" not in mode else None
        raw = raw or self._write(key, name, letter, mode)
        return dress(raw, mode, buffering=buffering, encoding=encoding, errors=errors, newline=newline)

    def _read(self, key: str, name: str) -> ObjectReader:
        try:
            return ObjectReader(self._tree.backend, self._tree.bucket, key, name)
        except FileNotFoundError:
            with os_errors(name):
                raise self._tree.absence(key, name) from None

    def _write(self, key: str, name: str, letter: str, mode: str) -> ObjectWriter:
        with os_errors(name):
            if letter == "x" and self.path.exists(name):
                raise os_error(errno.EEXIST, name)
            if letter != "r":
                self._tree.check_writable(key, name)

        def store(content: Any) -> None:
            self._tree.backend.put(self._tree.ready_bucket, key, content, if_absent=letter == "x")
            self._tree.stored(key)

        writer = ObjectWriter(name, letter, mode, store)
        if letter in "ra":
            self._load(writer, key, must_exist=letter == "r")
        return writer

    def _load(self, writer: ObjectWriter, key: str, *, must_exist: bool) -> None:
        """Give the writer what the object holds."""
        try:
            with self._read(key, writer.name) as content:
                writer.load(content)
        except FileNotFoundError:
            if not must_exist:
                return
            writer.abandon()
            raise
        except BaseException:
            writer.abandon()
            raise

    def remove(self, path: StrPath) -> None:
        """Remove a file."""
        name, key = system.fsdecode(path), key_of(path)
        with os_errors(name):
            if self._tree.info(key) is None:
                raise self._tree.absence(key, name)
            self._tree.backend.delete(self._tree.bucket, [key])

    unlink = remove

    def rename(self, src: StrPath, dst: StrPath) -> None:
        """Copy a file under another name, replacing what has it, and remove the first one: two steps, not one."""
        source, source_key, target, target_key = (
            system.fsdecode(src),
            key_of(src),
            system.fsdecode(dst),
            key_of(dst),
        )
        with os_errors(source):
            if self._tree.info(source_key) is None:
                raise self._tree.absence(source_key, source)
            if source_key == target_key:
                return
            self._tree.check_writable(target_key, target)
            with self._tree.backend.open(self._tree.bucket, source_key) as content:
                self._tree.backend.put(self._tree.bucket, target_key, content)
            self._tree.stored(target_key)
            self._tree.backend.delete(self._tree.bucket, [source_key])

    replace = rename

    def stat(self, path: StrPath, *, follow_symlinks: bool = True) -> system.stat_result:  # noqa: ARG002 - as in `os`
        """Size and time of a file; of a folder, that it is one."""
        return stat_of(self._tree, path)

    def lstat(self, path: StrPath) -> system.stat_result:
        """As `stat`: there are no links."""
        return stat_of(self._tree, path)

    # ---------------------------------------------------------------- folders

    def getcwd(self) -> str:
        """The bucket itself: where relative paths start."""
        return "/"

    def mkdir(self, path: StrPath, mode: int = 0o777) -> None:  # noqa: ARG002 - there are no permissions
        """Make a folder. The one that it lies in has to be there."""
        name, key = system.fsdecode(path), key_of(path)
        parent = posixpath.dirname(key)
        with os_errors(name):
            if self.path.exists(path):
                raise os_error(errno.EEXIST, name)
            if not self._tree.is_folder(parent):
                is_below_a_file = self._tree.is_below_a_file(key)
                raise os_error(errno.ENOTDIR if is_below_a_file else errno.ENOENT, name)
            self._tree.mark(key)

    def makedirs(self, name: StrPath, mode: int = 0o777, exist_ok: bool = False) -> None:  # noqa: ARG002 - as above
        """Make a folder and those that it lies in."""
        path, key = system.fsdecode(name), key_of(name)
        with os_errors(path):
            if self._tree.is_folder(key):
                if exist_ok:
                    return
                raise os_error(errno.EEXIST, path)
            missing = [key]
            for parent in parents_of(key):
                if self._tree.is_folder(parent):
                    break
                missing.append(parent)
            for folder in reversed(missing):
                if self._tree.info(folder) is not None:
                    raise os_error(errno.EEXIST if folder == key else errno.ENOTDIR, path)
            for folder in reversed(missing):
                self._mark(folder)

    def _mark(self, folder: str) -> None:
        try:
            self._tree.mark(folder)
        except AlreadyExists:
            return  # somebody else has made it meanwhile

    def rmdir(self, path: StrPath) -> None:
        """Remove an empty folder."""
        name, key = system.fsdecode(path), key_of(path)
        with os_errors(name):
            children = self._children(key, name)
            if not key or children:
                raise os_error(errno.EBUSY if not key else errno.ENOTEMPTY, name)
            self._tree.backend.delete(self._tree.bucket, [prefix_of(key)])

    def listdir(self, path: StrPath = ".", suffix_dirs: bool = False) -> list[str]:
        """The names of what lies in a folder, in the order of their keys; with `suffix_dirs`, folders' end in a slash.

        The objects of this library's own in the bucket are left out.
        """
        name, key = system.fsdecode(path), key_of(path)
        with os_errors(name):
            children = self._children(key, name)
        names = (f"{child}/" if suffix_dirs and info is None else child for child, info in children)
        return list(dict.fromkeys(names))

    def scandir(self, path: StrPath = ".") -> CloudScan:
        """What lies in a folder, with sizes and times."""
        name, key = system.fsdecode(path), key_of(path)
        with os_errors(name):
            children = self._children(key, name)
        return CloudScan(CloudDirEntry(name, child, info) for child, info in children)

    def _children(self, key: str, name: str) -> list[tuple[str, ObjectInfo | None]]:
        children = self._tree.children(key)
        if children is None:
            if self._tree.info(key) is not None:
                raise os_error(errno.ENOTDIR, name)
            raise self._tree.absence(key, name)
        return children

    def walk(
        self,
        top: StrPath,
        topdown: bool = True,
        onerror: Callable[[OSError], object] | None = None,
        followlinks: bool = False,  # noqa: ARG002 - there are no links
    ) -> Iterator[tuple[str, list[str], list[str]]]:
        """Each folder with the names of its subfolders and its files, as `os.walk` gives them.

        A tree of up to 10,000 objects is listed once, a larger one folder by folder.
        """
        return self._walk(system.fsdecode(top), None, topdown, onerror)

    def _walk(
        self,
        top: str,
        infos: Sequence[ObjectInfo] | None,
        topdown: bool,
        onerror: Callable[[OSError], object] | None,
    ) -> Iterator[tuple[str, list[str], list[str]]]:
        key = key_of(top)
        try:
            with os_errors(top):
                below, files = self._level(key, top, infos)
        except OSError as error:
            if onerror is not None:
                onerror(error)
            return
        folders = list(below)
        if topdown:
            yield top, folders, files
        for name in folders:
            yield from self._walk(posixpath.join(top, name), below.get(name), topdown, onerror)
        if not topdown:
            yield top, folders, files

    def _level(
        self, key: str, name: str, infos: Sequence[ObjectInfo] | None
    ) -> tuple[Mapping[str, Sequence[ObjectInfo] | None], list[str]]:
        """The subfolders, with what lies below each if that is known, and the files."""
        infos = self._tree.all_below(key) if infos is None else infos
        if infos:
            return group(key, infos)
        children = self._children(key, name)
        folders = {child: None for child, info in children if info is None}
        return folders, [child for child, info in children if info is not None]


os = CloudFileProxy()
open = os.open  # noqa: A001 - it takes the place of the built-in one

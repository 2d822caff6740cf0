"""The files of a bucket in the order of their keys."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from lithops.storage.backends.localhost.paths import read_file_name, read_folder_name


class Entry(NamedTuple):
    """A file with its key, or a folder with the prefix of all keys in it, which ends in a slash."""

    key: str
    path: str
    is_folder: bool


def walk(folder: str, base: str, prefix: str, start_after: str) -> Iterator[Entry]:
    """The files below `folder`, whose keys start with `base`, that `prefix` and `start_after` let through.

    Folders in which no such key can be are not opened. What is deleted meanwhile may be given or not.
    """
    # A stack, since keys may be deeper than calls may be nested.
    levels = [_ordered(folder, base)]
    while levels:
        entry = next(levels[-1], None)
        if entry is None:
            levels.pop()
        elif entry.is_folder:
            after = entry.key > start_after or start_after.startswith(entry.key)
            if after and (entry.key.startswith(prefix) or prefix.startswith(entry.key)):
                levels.append(_ordered(entry.path, entry.key))
        elif entry.key > start_after and entry.key.startswith(prefix):
            yield entry


def _ordered(folder: str, base: str) -> Iterator[Entry]:
    """The next segments below `base`, in the order of their keys."""
    return iter(sorted(_next_segments(folder, base)))


def _next_segments(folder: str, base: str) -> Iterator[Entry]:
    """Of a segment that was cut, the pieces' folders are gone through as if they were not there."""
    pending = [(folder, base)]
    while pending:
        path, start = pending.pop()
        try:
            scan = os.scandir(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        with scan:
            for found in scan:
                if not found.is_dir(follow_symlinks=False):
                    name = read_file_name(found.name) if found.is_file() else None
                    if name:
                        yield Entry(start + name.text, found.path, False)
                elif name := read_folder_name(found.name):
                    if name.continued:
                        pending.append((found.path, start + name.text))
                    else:
                        yield Entry(f"{start}{name.text}/", found.path, True)

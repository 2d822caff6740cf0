"""The files of folders and globs, hidden ones included, in the order of their paths.

Links are followed. Each folder is read once, however many links lead to it: links in a circle do no harm.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from lithops.storage.globs import compile_glob, literal_prefix


class File(NamedTuple):
    """A regular file and what the system says of it."""

    path: str
    status: os.stat_result


def files_below(folder: str) -> list[File]:
    """All files in `folder` and the folders in it. Raises `OSError` for what cannot be read."""
    return sorted(_files(folder, lambda _: True, lambda _: True))


def files_matching(pattern: str) -> list[File]:
    """The files whose absolute paths match the glob; folders that match are none of them."""
    folder = literal_prefix(pattern).rpartition("/")[0]
    segments = pattern[len(folder) + 1 :].split("/")
    matches = compile_glob(pattern).fullmatch
    matchers = [None if "**" in segment else compile_glob(segment).fullmatch for segment in segments]

    def may_hold_matches(path: str) -> bool:
        names = path[len(folder) + 1 :].split("/")
        for name, matcher in zip(names, matchers, strict=False):
            if matcher is None:
                return True
            if not matcher(name):
                return False
        return len(names) < len(matchers)

    return sorted(_files(folder or "/", may_hold_matches, lambda path: matches(path) is not None))


def _files(top: str, enters: Callable[[str], bool], selects: Callable[[str], bool]) -> Iterator[File]:
    seen = {_identity(os.stat(top))}
    folders: deque[str] = deque([top])
    # Links come last, so that a folder goes by its own path where it has one in here.
    links: deque[os.DirEntry[str]] = deque()
    while folders or links:
        if not folders:
            link = links.popleft()
            identity = _identity(link.stat())
            if identity in seen:
                continue
            seen.add(identity)
            folders.append(link.path)
        with os.scandir(folders.popleft()) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                if not entry.is_dir():
                    if selects(entry.path) and stat.S_ISREG(entry.stat().st_mode):
                        yield File(entry.path, entry.stat())
                elif not enters(entry.path):
                    continue
                elif entry.is_symlink():
                    links.append(entry)
                elif (identity := _identity(entry.stat())) not in seen:
                    seen.add(identity)
                    folders.append(entry.path)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino

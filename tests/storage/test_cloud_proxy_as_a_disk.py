"""Whatever a program does with files: over object storage it gets what it gets on a disk."""

from __future__ import annotations

import builtins
import io
import os
import posixpath
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lithops.storage.client import Storage
from lithops.storage.cloud_proxy import CloudFileProxy
from lithops.testing.memory import MemoryStorage


def large() -> bytes:
    """More than a buffer holds."""
    return b"one\ntwo\r\nthree\rfour" * 10_000


PATHS = st.lists(st.sampled_from(["a", "b", "c.txt"]), min_size=1, max_size=3).map("/".join)
DATA = st.binary(max_size=20) | st.builds(large)
ACTIONS = st.one_of(
    st.tuples(st.just("read"), st.integers(-1, 30)),
    st.tuples(st.just("readline")),
    st.tuples(st.just("write"), DATA),
    st.tuples(st.just("seek"), st.integers(-5, 300_000), st.sampled_from([0, 1, 2])),
    st.tuples(st.just("truncate"), st.integers(0, 40)),
    st.tuples(st.just("tell")),
    st.tuples(st.just("flush")),
)
MODES = [letter + plus + "b" for letter in "rwxa" for plus in ("", "+")]


class Disk:
    """`os` and `open` of this machine, with paths that start at a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self, path: str, *arguments: Any, **options: Any) -> Any:
        return builtins.open(self.root / path, *arguments, **options)

    def rename(self, source: str, target: str) -> None:
        os.rename(self.root / source, self.root / target)

    def walk(self, top: str, topdown: bool) -> list[tuple[str, list[str], list[str]]]:
        return [
            (posixpath.normpath(os.path.relpath(folder, self.root)), folders, files)
            for folder, folders, files in os.walk(self.root / top, topdown)
        ]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(os.path if hasattr(os.path, name) else os, name)
        return lambda path, **options: function(self.root / path, **options)


class Cloud:
    """`os` and `open` of object storage."""

    def __init__(self) -> None:
        self.proxy = CloudFileProxy(Storage.over(MemoryStorage()))
        self.open = self.proxy.open
        self.rename = self.proxy.rename

    def walk(self, top: str, topdown: bool) -> list[tuple[str, list[str], list[str]]]:
        return [
            (posixpath.normpath(folder), folders, files)
            for folder, folders, files in self.proxy.walk(top, topdown)
        ]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.proxy.path if hasattr(os.path, name) else self.proxy, name)


def outcome(use: Callable[[], Any]) -> Any:
    """What comes of it: a value, or which error."""
    try:
        return use()
    except OSError as error:
        return type(error), error.errno
    except ValueError as error:
        return type(error)


def act(file: Any, action: tuple[Any, ...]) -> Any:
    """Buffered files may write late: what is at the end of a file is asked for when all is written."""
    name, *arguments = action
    return outcome(lambda: getattr(file, name)(*arguments))


def use_file(side: Any, path: str, mode: str, buffering: int, actions: list[tuple[Any, ...]]) -> list[Any]:
    with side.open(path, mode, buffering) as file:
        done = [act(file, action) for action in actions]
        return [*done, file.mode, file.readable(), file.writable(), file.seekable()]


class Files(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.disk, self.cloud = Disk(Path(self.folder.name)), Cloud()

    def teardown(self) -> None:
        self.folder.cleanup()

    def same(self, use: Callable[[Any], Any]) -> Any:
        on_disk, in_cloud = (outcome(partial(use, side)) for side in (self.disk, self.cloud))
        assert in_cloud == on_disk
        return on_disk

    def make_parents(self, path: str) -> bool:
        """A disk needs them before a file is written. False where there can be none."""
        return self.same(lambda side: side.makedirs(posixpath.dirname(path), exist_ok=True)) is None

    @rule(
        path=PATHS,
        mode=st.sampled_from(MODES),
        buffering=st.sampled_from([-1, 0, 7]),
        actions=st.lists(ACTIONS),
    )
    def use_binary_file(self, path: str, mode: str, buffering: int, actions: list[tuple[Any, ...]]) -> None:
        if mode[0] == "r" or self.make_parents(path):
            self.same(lambda side: use_file(side, path, mode, buffering, actions))

    @rule(
        path=PATHS,
        mode=st.sampled_from(["w", "a", "x"]),
        text=st.text(max_size=20),
        encoding=st.sampled_from(["utf-8", "utf-16", "latin-1"]),
        errors=st.sampled_from([None, "replace"]),
        newline=st.sampled_from([None, "", "\n", "\r\n"]),
    )
    def write_text(
        self, path: str, mode: str, text: str, encoding: str, errors: str | None, newline: str | None
    ) -> None:
        def write(side: Any) -> None:
            with side.open(path, mode, -1, encoding, errors, newline) as file:
                file.write(text)

        try:
            text.encode(encoding, errors or "strict")
        except UnicodeError:
            return  # Half a text stays on a disk, and does not here.
        if self.make_parents(path):
            self.same(write)

    @rule(
        path=PATHS, encoding=st.sampled_from(["utf-8", "latin-1"]), newline=st.sampled_from([None, "", "\r"])
    )
    def read_lines(self, path: str, encoding: str, newline: str | None) -> None:
        def read(side: Any) -> list[str]:
            with side.open(path, encoding=encoding, errors="replace", newline=newline) as file:
                return list(file)

        self.same(read)

    @rule(path=PATHS)
    def remove(self, path: str) -> None:
        self.same(lambda side: side.remove(path))

    @rule(source=PATHS, destination=PATHS)
    def rename(self, source: str, destination: str) -> None:
        # Linux has an error of its own for a file that would replace a folder that it lies in.
        if (source + "/").startswith(destination + "/") and source != destination:
            return
        if self.make_parents(destination) and not self.disk.isdir(source):
            self.same(lambda side: side.rename(source, destination))

    @rule(path=PATHS)
    def mkdir(self, path: str) -> None:
        self.same(lambda side: side.mkdir(path))

    @rule(path=PATHS, exist_ok=st.booleans())
    def makedirs(self, path: str, exist_ok: bool) -> None:
        self.same(lambda side: side.makedirs(path, exist_ok=exist_ok))

    @rule(path=PATHS)
    def rmdir(self, path: str) -> None:
        self.same(lambda side: side.rmdir(path))

    @rule(path=PATHS)
    def look(self, path: str) -> None:
        for name in ("exists", "isfile", "isdir", "islink"):
            self.same(partial(call, name, path))
        if not self.disk.isdir(path):  # what a folder's size is, is the disk's own
            self.same(lambda side: side.getsize(path))

    @rule(path=PATHS)
    def list(self, path: str) -> None:
        self.same(lambda side: sorted(side.listdir(path)) if side.isdir(path) else side.listdir(path))
        self.same(
            lambda side: sorted((each.name, each.is_file(), each.is_dir()) for each in side.scandir(path))
        )

    @invariant()
    def trees_are_the_same(self) -> None:
        for topdown in (True, False):
            self.same(partial(walked_tree, topdown))
            assert is_in_order(self.cloud.walk(".", topdown), topdown)


def call(name: str, path: str, side: Any) -> Any:
    return getattr(side, name)(path)


def walked_tree(topdown: bool, side: Any) -> dict[str, tuple[list[str], list[str]]]:
    return {folder: (sorted(folders), sorted(files)) for folder, folders, files in side.walk(".", topdown)}


def is_in_order(walked: list[tuple[str, list[str], list[str]]], topdown: bool) -> bool:
    """Each folder comes before those in it, or behind."""
    places = {folder: place for place, (folder, _, _) in enumerate(walked)}
    return all(
        (places[folder] < places[posixpath.normpath(f"{folder}/{name}")]) == topdown
        for folder, names, _ in walked
        for name in names
    )


TestFiles = Files.TestCase
TestFiles.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_an_error_is_told_apart_from_a_value() -> None:
    def refuse() -> None:
        raise io.UnsupportedOperation("not here")

    assert outcome(lambda: 1) == 1
    assert outcome(refuse) == (io.UnsupportedOperation, None)

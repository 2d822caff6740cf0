"""From data names to parts: what elements name for the parameter `obj` is cut, and each part is one call.

::

    names ── read_name ──> selections ── look_up ──> whole objects ── cut ──> parts ──> pieces
             no I/O, all checked first    each query once, in threads  each object once

Text and bytes are cut without looking at them; a data format may have to read where its data can be cut.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from lithops.exceptions import InvalidCall
from lithops.prepare.names import Selection, read_name, show
from lithops.prepare.sources import in_threads, look_up, named_folders
from lithops.storage.base import StorageBackend
from lithops.storage.globs import compile_glob
from lithops.wire.parts import DataPart
from lithops.worker.formats.base import Access, Cut, cut_bytes
from lithops.worker.formats.registry import find_format
from lithops.worker.reading import Sleep


class Piece(NamedTuple):
    """One call's part of the input data."""

    element: int
    """The index of the element that named it."""
    source: int
    """Numbers the job's objects in order: parts of one object share it, for one reducer each."""
    part: DataPart


def partition(
    names: Sequence[Any],
    *,
    storage: StorageBackend,
    chunk_size: int | None = None,
    chunk_number: int | None = None,
    newline: str | bytes | None = "\n",
    format_name: str | None = None,
    sleep: Sleep = time.sleep,
) -> list[Piece]:
    """The parts of what `names` (the elements' values for `obj`, in order) select, in the order of the names.

    Objects below a prefix and files of a folder are sorted. Each is cut into `chunk_number` parts (fewer if
    it has fewer bytes), else into parts of `chunk_size` bytes, else not at all. What is empty is one part;
    so is a URL whose server sends no ranges. With a `newline`, a part has the lines that start in its bytes;
    without one, its bytes. A data format says itself what its parts are.

    Raises `InvalidCall` for a name that means nothing or selects nothing, for names of different kinds, for sizes
    below 1, and for a format that does not exist or does not fit; `StorageError` for an object or URL that cannot
    be had.
    """
    cut = Cut(
        _checked("obj_chunk_size", chunk_size),
        _checked("obj_chunk_number", chunk_number),
        _separator(newline),
    )
    data_format = None if format_name is None else find_format(format_name)
    selections = [read_name(name, backend=storage.name) for name in names]
    _check_one_kind(names, selections)
    if data_format is not None and data_format.names_folder:
        answers = named_folders(selections, storage)
    else:
        answers = look_up((selection.query for selection in selections), storage, sleep=sleep)
    sources: dict[tuple[str, ...], int] = {}
    wholes: list[DataPart] = []
    wanted: list[tuple[int, int]] = []
    for element, (name, selection) in enumerate(zip(names, selections, strict=True)):
        found = _selected(selection, answers[selection.query])
        if not found:
            raise InvalidCall(
                f"{show(name)}, element {element} of the input data, selects nothing; "
                "check the name (* and ? stay between two slashes, ** crosses them)"
            )
        for whole in found:
            source = sources.setdefault((whole.bucket, whole.key, whole.url, whole.path), len(sources))
            if source == len(wholes):
                wholes.append(whole)
            wanted.append((element, source))

    access = Access(storage, sleep)

    def cut_one(whole: DataPart) -> list[DataPart]:
        if data_format is None:
            return cut_bytes(whole, cut)
        parts = data_format.cut(whole, cut, access)
        return [replace(part, format=str(format_name)) for part in parts]

    parts = [cut_one(whole) for whole in wholes] if data_format is None else in_threads(cut_one, wholes)
    return [Piece(element, source, part) for element, source in wanted for part in parts[source]]


def _selected(selection: Selection, answer: list[DataPart]) -> list[DataPart]:
    if selection.key_glob is None:
        return answer
    matches = compile_glob(selection.key_glob).fullmatch
    return [whole for whole in answer if matches(whole.key)]


def _check_one_kind(names: Sequence[Any], selections: Sequence[Selection]) -> None:
    kinds = [selection.query.kind for selection in selections]
    for element, kind in enumerate(kinds):
        if kind is not kinds[0]:
            raise InvalidCall(
                f"the input data is of different kinds: element 0 is the {kinds[0].value} {show(names[0])}, "
                f"element {element} the {kind.value} {show(names[element])}; map over one kind at a time"
            )


def _checked(name: str, value: Any) -> int | None:
    if value is None:
        return None
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1:
        raise InvalidCall(f"{name} is {value!r}; it has to be a whole number of 1 or more, or None")
    return number


def _separator(newline: Any) -> bytes | None:
    if newline is None:
        return None
    separator = newline.encode() if isinstance(newline, str) else newline
    if not isinstance(separator, bytes) or not separator:
        raise InvalidCall(
            f"obj_newline is {newline!r}; it has to be what ends a line, such as '\\n', or None"
        )
    return separator

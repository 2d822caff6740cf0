"""From data names to parts: what elements name for the parameter `obj` is cut, and each part is one call.

::

    names ── read_name ──> selections ── look_up ──> whole objects ── cut ──> pieces
             no I/O, all checked first    each query once, in threads
"""

from __future__ import annotations

import operator
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

from lithops.exceptions import InvalidCall
from lithops.prepare.names import Selection, read_name, show
from lithops.prepare.sources import look_up
from lithops.storage.base import StorageBackend
from lithops.storage.globs import compile_glob
from lithops.wire.messages import ByteRange
from lithops.wire.parts import DataPart
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
    sleep: Sleep = time.sleep,
) -> list[Piece]:
    """The parts of what `names` (the elements' values for `obj`, in order) select, in the order of the names.

    Objects below a prefix and files of a folder are sorted. Each is cut into `chunk_number` parts (fewer if
    it has fewer bytes), else into parts of `chunk_size` bytes, else not at all. What is empty is one part;
    so is a URL whose server sends no ranges. With a `newline`, a part has the lines that start in its bytes;
    without one, its bytes.

    Raises `InvalidCall` for a name that means nothing or selects nothing, for names of different kinds, and
    for sizes below 1; `StorageError` for an object or URL that cannot be had.
    """
    size = _checked("obj_chunk_size", chunk_size)
    number = _checked("obj_chunk_number", chunk_number)
    separator = _separator(newline)
    selections = [read_name(name, backend=storage.name) for name in names]
    _check_one_kind(names, selections)
    answers = look_up((selection.query for selection in selections), storage, sleep=sleep)
    pieces: list[Piece] = []
    sources: dict[tuple[str, ...], int] = {}
    for element, (name, selection) in enumerate(zip(names, selections, strict=True)):
        found = _selected(selection, answers[selection.query])
        if not found:
            raise InvalidCall(
                f"{show(name)}, element {element} of the input data, selects nothing; "
                "check the name (* and ? stay between two slashes, ** crosses them)"
            )
        for whole in found:
            source = sources.setdefault((whole.bucket, whole.key, whole.url, whole.path), len(sources))
            pieces += [Piece(element, source, part) for part in cut(whole, size, number, separator)]
    return pieces


def cut(
    whole: DataPart, chunk_size: int | None, chunk_number: int | None, newline: bytes | None
) -> list[DataPart]:
    """The parts of one object, which together are all its bytes."""
    if whole.size is None or not whole.has_ranges:
        return [replace(whole, newline=newline)]
    if chunk_number is not None:
        count = max(1, min(chunk_number, whole.size))
        edges = [index * whole.size // count for index in range(count + 1)]
    else:
        edges = [*range(0, max(whole.size, 1), chunk_size or max(whole.size, 1)), whole.size]
    return [
        replace(
            whole, byte_range=ByteRange(start, stop), part=index, total_parts=len(edges) - 1, newline=newline
        )
        for index, (start, stop) in enumerate(pairwise(edges), start=1)
    ]


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

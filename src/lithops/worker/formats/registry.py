"""Formats by name: where their classes are, loaded when one is used. A new one is one row here.

Names that have no row are looked for among the entry points `lithops.formats` of installed packages, on the client
and on the worker. Such an entry point's value is a class derived from `Format`.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lithops.exceptions import BackendNotInstalled, InvalidCall

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from lithops.storage.base import StorageBackend
    from lithops.wire.parts import DataPart
    from lithops.worker.data import PartObject
    from lithops.worker.formats.base import Format

EXTRA = "formats"
"""The extra of this package that installs what the formats need."""
_ROWS = {
    "gzip": "compressed:Gzip",
    "zstd": "zstd:Zstd",
    "jsonl": "jsonl:JsonLines",
    "csv": "csv_rows:CsvRows",
    "parquet": "parquet:Parquet",
    "cog": "cog:CloudOptimizedGeoTiff",
    "zarr": "zarr_arrays:ZarrArrays",
}

_NEEDS_PYTHON = {"zarr": (3, 11)}
"""Where the package that reads a format needs a newer Python than this library."""


def find_format(name: Any) -> Format:
    """Raises `InvalidCall` for an unknown name, `BackendNotInstalled` where a package is missing."""
    if not isinstance(name, str):
        raise InvalidCall(_unknown(name))
    needed = _NEEDS_PYTHON.get(name, (0, 0))
    if sys.version_info[:2] < needed:
        raise BackendNotInstalled(
            f"the format '{name}' needs Python {needed[0]}.{needed[1]} or newer, as its package does; "
            f"this is {sys.version.split()[0]}"
        )
    try:
        return _load(name)
    except ModuleNotFoundError as error:
        if (error.name or "lithops").partition(".")[0] == "lithops":
            raise
        raise BackendNotInstalled(
            f"the format '{name}' needs the package '{error.name}', which is not installed; "
            f"run: pip install 'lithops[{EXTRA}]' (or have it in the runtime, where a worker says this)"
        ) from error


def open_part_as(part: DataPart, storage: StorageBackend) -> PartObject:
    """The part of formatted data as a function sees it."""
    from lithops.worker.formats.base import Access

    return find_format(part.format).open(part, Access(storage))


def format_names() -> list[str]:
    """Every format that can be asked for, in alphabetical order."""
    return sorted({*_ROWS, *_entry_points()})


@cache
def _load(name: str) -> Format:
    made: Format
    row = _ROWS.get(name)
    if row is not None:
        module, _, class_name = row.partition(":")
        made = getattr(import_module(f"lithops.worker.formats.{module}"), class_name)()
        return made
    entry_point = _entry_points().get(name)
    if entry_point is None:
        raise InvalidCall(_unknown(name))
    made = entry_point.load()()
    return made


def _entry_points() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {entry_point.name: entry_point for entry_point in entry_points(group="lithops.formats")}


def _unknown(name: object) -> str:
    import difflib

    names = format_names()
    nearest = difflib.get_close_matches(str(name).lower(), names, n=1)
    hint = f"did you mean '{nearest[0]}'? " if nearest else ""
    return f"obj_format is {name!r}, which is no format; {hint}known: {', '.join(names)}"

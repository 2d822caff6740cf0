"""The local modules that a job needs and a runtime lacks, packed for its workers.

A module is local when it has a file that is neither in the standard library nor in a folder of installed
packages. What the job's pickles refer to (`modules_seen`) is located, and so is, in turn, what these modules
import. A package is sent whole, with its Python and extension files: to send its data files as well, include
its folder by path. A module inside a zip file is not sent; one without any file goes by value in the pickles.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import types
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import PathFinder, SourceFileLoader

from lithops.exceptions import InvalidCall
from lithops.prepare.imports import imported_modules

SIZE_LIMIT = 20 * 2**20
"""Bytes, uncompressed. What is larger belongs into a runtime, not into every job."""

_EVERYWHERE = frozenset(
    # The last two are of the standard library, but this library's own may stand in their place.
    {"__main__", "__mp_main__", "builtins", "lithops", "cloudpickle", "multiprocessing", "concurrent"}
)
_CODE_SUFFIXES = (".py", ".so", ".pyd")
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep


@dataclass(frozen=True, slots=True)
class Captured:
    """The modules to send with a job."""

    names: tuple[str, ...] = ()
    archive: bytes | None = None
    """A zip with the modules at its root; the same modules give the same bytes."""
    content_hash: str = ""


@dataclass(frozen=True, slots=True)
class _Unit:
    """A module's file, or a package's folder: what is sent whole or not at all."""

    name: str
    path: str
    with_data: bool = False


@dataclass(frozen=True, slots=True)
class _File:
    path_in_archive: str
    path: str
    size: int
    mtime_ns: int


def capture(
    modules_seen: Iterable[str], *, include: Sequence[str] | None = (), exclude: Sequence[str] = ()
) -> Captured:
    """Pack the modules that a job needs.

    `modules_seen`: full names, as the serializers gather them. `include`: `None` sends nothing; module names,
    and paths of files or folders, send only those. `exclude`: names of modules, or packages with all they
    hold, that are left out. Raises `InvalidCall` for what cannot be found or is too large.
    """
    if include is None:
        return Captured()
    excluded = tuple(_excluded_name(each) for each in _as_list(exclude))
    if include:
        units = dict.fromkeys(unit for each in _as_list(include) for unit in _included(each))
        files = {unit: _files(unit, excluded) for unit in units}
    else:
        files = _needed(modules_seen, excluded)
    packed = {file.path_in_archive: file for each in reversed(files.values()) for file in each}
    if not packed:
        return Captured()
    _check_size(files)
    archive, content_hash = _pack(tuple(packed[path] for path in sorted(packed)))
    return Captured(tuple(sorted({unit.name for unit, held in files.items() if held})), archive, content_hash)


def _needed(modules_seen: Iterable[str], excluded: tuple[str, ...]) -> dict[_Unit, list[_File]]:
    """The local modules among those seen, and the local modules that these import."""
    needed: dict[_Unit, list[_File]] = {}
    known = set(modules_seen)
    waiting = sorted(known)
    origins: dict[str, _Origin | None] = {}
    while waiting:
        for unit in _locate(waiting.pop(), origins):
            if unit in needed or not _is_local(unit.path) or _is_excluded(unit.name, excluded):
                continue
            needed[unit] = _files(unit, excluded)
            found = _imports_of(unit, needed[unit]) - known
            known |= found
            waiting += sorted(found)
    return needed


_Origin = tuple[str | None, list[str] | None]
"""A module's file and, if it is a package, its folders; a namespace package has no file."""


def _locate(name: str, origins: dict[str, _Origin | None]) -> Iterator[_Unit]:
    """The file or folder to send for a module; a package is sent whole, a namespace package is not.

    `origins` keeps what was looked up before.
    """
    parts = name.split(".")
    if parts[0] in _EVERYWHERE:
        return
    folders: list[str] | None = None
    for count in range(1, len(parts) + 1):
        prefix = ".".join(parts[:count])
        if prefix not in origins:
            origins[prefix] = _origin(prefix, folders)
        origin = origins[prefix]
        if origin is None:
            return
        file, folders = origin
        if file is not None:
            yield _Unit(prefix, file if folders is None else os.path.dirname(file))
            return
    yield from (_Unit(name, folder) for folder in folders or ())


def _origin(name: str, parent_folders: list[str] | None) -> _Origin | None:
    """Where a module lies, `None` if it has no file that can be read. Nothing is imported to find out."""
    if name in sys.modules:
        module = sys.modules[name]
        file, folders = getattr(module, "__file__", None), getattr(module, "__path__", None)
    else:
        spec = (
            PathFinder.find_spec(name, parent_folders) if parent_folders else importlib.util.find_spec(name)
        )
        if spec is None:
            return None
        file, folders = spec.origin if spec.has_location else None, spec.submodule_search_locations
    if file is None and folders is not None:
        return None, [os.path.abspath(folder) for folder in folders]
    if isinstance(file, str) and os.path.isfile(file):
        return os.path.abspath(file), None if folders is None else list(folders)
    return None


@lru_cache(maxsize=4096)
def _is_local(path: str) -> bool:
    return not path.startswith(_STANDARD_LIBRARY) and _INSTALLED.isdisjoint(path.split(os.sep))


def _imports_of(unit: _Unit, files: Iterable[_File]) -> set[str]:
    """What a unit's modules import, and whatever else those that are loaded hold at their top level."""
    found: set[str] = set()
    for file in files:
        if file.path.endswith(".py"):
            package = file.path_in_archive.rpartition("/")[0].replace("/", ".")
            found |= _imports_in(file.path, package, file.mtime_ns, file.size)
    inside = f"{unit.name}."
    for name, module in sys.modules.copy().items():
        if (name == unit.name or name.startswith(inside)) and isinstance(module, types.ModuleType):
            found.update(_modules_held(module))
    return found


@lru_cache(maxsize=8192)
def _imports_in(path: str, package: str, mtime_ns: int, size: int) -> frozenset[str]:  # noqa: ARG001 - cache keys
    with warnings.catch_warnings():
        # The module's own warnings are for whoever imports it.
        warnings.simplefilter("ignore")
        try:
            code = SourceFileLoader("scanned", path).get_code("scanned")
        except (SyntaxError, ValueError):
            # Packages hold files that are not meant to be imported, such as templates.
            return frozenset()
    return frozenset(imported_modules(code, package)) if code else frozenset()


def _modules_held(module: types.ModuleType) -> Iterator[str]:
    for value in list(vars(module).values()):
        # By type(): a lazy object may pose as anything, and fail when it is asked what it is.
        if issubclass(type(value), types.ModuleType):
            yield value.__name__
        elif issubclass(type(value), (type, types.FunctionType)) and isinstance(value.__module__, str):
            yield value.__module__


def _included(entry: str) -> Iterator[_Unit]:
    """What one entry of `include` names: a path, or a module with the packages that it is in."""
    if entry.endswith(_CODE_SUFFIXES) or os.sep in entry:
        path = os.path.abspath(os.path.expanduser(entry))
        if not os.path.exists(path):
            raise InvalidCall(f"include_modules names '{entry}', but there is no such file or folder")
        yield _Unit(os.path.basename(path).partition(".")[0], path, with_data=True)
        return
    parts = entry.split(".")
    if parts[0] in _EVERYWHERE:
        return
    folders: list[str] | None = None
    for count in range(1, len(parts) + 1):
        prefix = ".".join(parts[:count])
        origin = _origin(prefix, folders)
        if (
            count == 1
            and prefix in sys.stdlib_module_names
            and (origin is None or not _is_local(origin[0] or ""))
        ):
            return
        if origin is None:
            raise InvalidCall(
                f"include_modules names '{entry}', but no module '{prefix}' was found: "
                "check the name, or give the path of its file or folder"
            )
        file, folders = origin
        whole = count == len(parts)
        if file is None:
            yield from (_Unit(prefix, folder) for folder in folders or () if whole)
        else:
            yield _Unit(prefix, os.path.dirname(file) if whole and folders is not None else file)


def _files(unit: _Unit, excluded: tuple[str, ...]) -> list[_File]:
    """The unit's files, without those of excluded modules."""
    return [
        _File(path_in_archive, path, stat.st_size, stat.st_mtime_ns)
        for path_in_archive, path in _paths(unit)
        if not _is_excluded(_module_name(path_in_archive), excluded)
        for stat in (os.stat(path),)
    ]


def _paths(unit: _Unit) -> Iterator[tuple[str, str]]:
    root = unit.name.replace(".", "/")
    if not os.path.isdir(unit.path):
        base = os.path.basename(unit.path)
        stem = unit.name.rpartition(".")[2]
        if base.startswith("__init__."):
            yield f"{root}/{base}", unit.path
        else:
            # A module need not be called what its file is called.
            suffix = base[len(stem) :] if base.startswith(f"{stem}.") else os.path.splitext(base)[1]
            yield root + suffix, unit.path
        return
    for folder, inner, names in os.walk(unit.path):
        # Neither caches, nor hidden folders, nor virtual environments.
        inner[:] = sorted(
            each
            for each in inner
            if each != "__pycache__"
            and not each.startswith(".")
            and not os.path.exists(os.path.join(folder, each, "pyvenv.cfg"))
        )
        below = os.path.relpath(folder, unit.path).replace(os.sep, "/")
        prefix = root if below == "." else f"{root}/{below}"
        for name in sorted(names):
            if unit.with_data or name.endswith(_CODE_SUFFIXES):
                yield f"{prefix}/{name}", os.path.join(folder, name)


def _module_name(path_in_archive: str) -> str:
    folder, _, base = path_in_archive.rpartition("/")
    stem = base.partition(".")[0]
    return f"{folder.replace('/', '.')}.{stem}" if folder else stem


def _is_excluded(name: str, excluded: tuple[str, ...]) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in excluded)


def _excluded_name(entry: str) -> str:
    return os.path.basename(entry).partition(".")[0] if entry.endswith(_CODE_SUFFIXES) else entry


def _as_list(entries: Sequence[str]) -> list[str]:
    return [entries] if isinstance(entries, str) else [os.fspath(each) for each in entries]


def _check_size(files: dict[_Unit, list[_File]]) -> None:
    sizes = {unit.name: sum(file.size for file in held) for unit, held in files.items()}
    total = sum(sizes.values())
    if total > SIZE_LIMIT:
        largest = max(sizes, key=sizes.__getitem__)
        raise InvalidCall(
            f"the local modules that this call needs are {total / 2**20:.1f} MiB, and at most "
            f"{SIZE_LIMIT / 2**20:.0f} MiB are sent with a job; '{largest}' alone is "
            f"{sizes[largest] / 2**20:.1f} MiB. Install it in the runtime and name it in exclude_modules, "
            "or name in include_modules only what is needed"
        )


@lru_cache(maxsize=4)
def _pack(files: tuple[_File, ...]) -> tuple[bytes, str]:
    """A zip of the files and its hash. Kept, for most jobs of a program need the same modules."""
    import io
    import zipfile

    with io.BytesIO() as body:
        with zipfile.ZipFile(body, "w") as archive:
            for file in files:
                # Fixed times and modes: the same modules must give the same hash.
                entry = zipfile.ZipInfo(file.path_in_archive)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                with open(file.path, "rb") as source:
                    archive.writestr(entry, source.read(), compresslevel=1)
        packed = body.getvalue()
    return packed, hashlib.sha256(packed).hexdigest()

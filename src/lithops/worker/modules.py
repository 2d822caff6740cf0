"""The client's local modules, made importable on the worker.

A worker process outlives a job, and the next job may bring other modules under the same names: a user has
edited one and runs again, or two programs share the worker. So the modules of one archive at a time are
importable. Those of the others that were loaded are set aside until their turn comes again, with the classes
that their calls know. Not safe to use from several threads at once.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import sys
import types

from lithops.exceptions import WireError
from lithops.worker.definitions import define

_KEPT = 16
"""How many archives' loaded modules are set aside, the oldest going first."""

_PROTECTED = frozenset({"__main__", "lithops", "cloudpickle"})

_active = ""
"""The hash of the archive whose modules are importable now, if any."""
_folders: dict[str, str] = {}
"""Where each archive of this process was unpacked, by hash."""
_set_aside: dict[str, dict[str, types.ModuleType]] = {}
"""By hash: the modules that were loaded from an archive, by name."""


def install(archive: bytes, content_hash: str, *, parent_folder: str) -> None:
    """Make the modules in `archive` importable, before all others of their names.

    They are unpacked once into a folder of `parent_folder` that is named by `content_hash`; other processes
    may do the same at the same time. Raises `WireError` for an archive that cannot be unpacked, or that would
    write outside its folder.
    """
    if content_hash == _active:
        return
    if content_hash in ("", ".", "..") or os.path.basename(content_hash) != content_hash:
        raise WireError(
            f"'{content_hash}' cannot name a folder of modules: it must be a hash of their content"
        )
    folder = os.path.join(os.path.abspath(parent_folder), content_hash)
    if not os.path.isdir(folder):
        _unpack(archive, folder)
    _folders[content_hash] = folder
    activate(content_hash)


def activate(content_hash: str) -> None:
    """Make importable again what this process installed under `content_hash`; with an empty one, nothing.

    For a call whose function is loaded already: its arguments may refer to its modules.
    """
    global _active
    if content_hash == _active:
        return
    if _active:
        _set_aside[_active] = _leave(_folders[_active])
        while len(_set_aside) > _KEPT:
            del _set_aside[next(iter(_set_aside))]
    # A definition refers to modules by name: from now on the same one means others.
    define.cache_clear()
    _active = content_hash
    if content_hash:
        folder = _folders[content_hash]
        _displace(folder)
        sys.path.insert(0, folder)
        for name, module in _set_aside.pop(content_hash, {}).items():
            _restore(name, module)
    importlib.invalidate_caches()


def _unpack(archive: bytes, folder: str) -> None:
    """Unpack beside `folder` and rename: whoever sees the folder sees it complete."""
    import io
    import tempfile
    import zipfile
    import zlib

    parent = os.path.dirname(folder)
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=parent, ignore_cleanup_errors=True) as scratch:
        unpacked = os.path.join(scratch, "modules")
        os.mkdir(unpacked)
        try:
            with zipfile.ZipFile(io.BytesIO(archive)) as entries:
                for name in entries.namelist():
                    _check_inside(name)
                entries.extractall(unpacked)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
            raise WireError(f"the archive of the job's modules cannot be unpacked: {error}") from error
        try:
            os.rename(unpacked, folder)
        except OSError:
            # Another process was first, with the same content.
            if not os.path.isdir(folder):
                raise


def _check_inside(name: str) -> None:
    if name.startswith("/") or ".." in name.split("/") or "\\" in name or ":" in name:
        raise WireError(
            f"the archive of the job's modules is refused: its entry '{name}' leads out of its folder"
        )


def _leave(folder: str) -> dict[str, types.ModuleType]:
    """Take a folder off the path, and the modules that were loaded from it out of the loaded ones."""
    loaded = {name: module for name, module in sys.modules.copy().items() if _is_from(module, folder)}
    for name in loaded:
        _forget(name)
    sys.path[:] = [each for each in sys.path if each != folder]
    sys.path_importer_cache.pop(folder, None)
    return loaded


def _displace(folder: str) -> None:
    """Forget the loaded modules that the folder has its own of."""
    provided = {name.partition(".")[0] for name in os.listdir(folder)} - _PROTECTED
    for name in list(sys.modules):
        if name.partition(".")[0] in provided and _provides(folder, name):
            _forget(name)


def _provides(folder: str, name: str) -> bool:
    """Whether the folder holds the module, or a package that it is in.

    A folder without `__init__` is but a part of a namespace: the modules of its other parts stay.
    """
    path = folder
    for part in name.split("."):
        path = os.path.join(path, part)
        if _is_module(path) or _is_module(os.path.join(path, "__init__")):
            return True
    return False


def _is_module(path: str) -> bool:
    return any(os.path.isfile(path + suffix) for suffix in importlib.machinery.all_suffixes())


def _is_from(module: types.ModuleType, folder: str) -> bool:
    inside = folder + os.sep
    file = getattr(module, "__file__", None)
    if file is None:
        # A namespace package, of which other folders may hold a part as well.
        parts = list(getattr(module, "__path__", ()))
        return bool(parts) and all(str(part).startswith(inside) for part in parts)
    return isinstance(file, str) and file.startswith(inside)


def _forget(name: str) -> None:
    """Drop a module from where imports look: the loaded modules, and its package."""
    module = sys.modules.pop(name, None)
    package, _, last = name.rpartition(".")
    parent = sys.modules.get(package)
    if parent is not None and getattr(parent, last, None) is module:
        delattr(parent, last)


def _restore(name: str, module: types.ModuleType) -> None:
    sys.modules[name] = module
    package, _, last = name.rpartition(".")
    parent = sys.modules.get(package)
    if parent is not None:
        setattr(parent, last, module)

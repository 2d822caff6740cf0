"""What a data name means, before anything is looked up.

- ``bucket``, ``bucket/`` and ``bucket/prefix/`` mean all objects below; ``bucket/key`` is that one object.
  What comes before the first slash is always a bucket: a name without a slash is never a key.
- ``scheme://bucket/...`` means the same, and says which storage it has to be.
- ``http://...`` and ``https://...`` are URLs.
- ``/path`` and ``file:///path`` are files of this machine, or folders with all files in them.
- ``*`` and ``?`` in keys and paths stand for what lies between two slashes, ``**`` crosses slashes.
  What has one of them in its own name is named by a `CloudObject` or a `CloudObjectLocal`.
"""

from __future__ import annotations

import os
import re
import reprlib
from pathlib import Path
from typing import Any, NamedTuple

from lithops.exceptions import InvalidCall
from lithops.storage.cloudobject import CloudObject, CloudObjectLocal, CloudObjectUrl
from lithops.storage.globs import literal_prefix
from lithops.storage.urls import SCHEMES
from lithops.wire.parts import DataKind, show_url

_SCHEME = re.compile(r"([A-Za-z][\w+.-]*)://(.*)", re.DOTALL)


_short = reprlib.Repr()
_short.maxstring = _short.maxother = 200


class Query(NamedTuple):
    """One look-up. Elements that need the same one share it."""

    kind: DataKind
    bucket: str
    name: str
    """A key, URL or path; with `many` a prefix of keys, or a glob of paths."""
    many: bool = False


class Selection(NamedTuple):
    """What one name selects: what its query finds, as far as the glob lets the keys through."""

    query: Query
    key_glob: str | None = None


def read_name(value: Any, *, backend: str) -> Selection:
    """What `value` means where `backend` is the storage. Raises `InvalidCall` when it means nothing."""
    if isinstance(value, CloudObject):
        _check_backend(value.backend, backend, value)
        return Selection(Query(DataKind.OBJECT, value.bucket, value.key))
    if isinstance(value, CloudObjectUrl):
        return _url(value.url)
    if isinstance(value, CloudObjectLocal):
        return Selection(Query(DataKind.PATH, "", os.path.join(os.getcwd(), value.path)))
    if isinstance(value, Path):
        return _path(os.path.join(os.getcwd(), value))
    if not isinstance(value, str):
        raise InvalidCall(
            f"{show(value)} does not name data: `obj` takes the text of a bucket, an object, a URL "
            "or an absolute path; or a Path, or a CloudObject"
        )
    match = _SCHEME.match(value)
    if match is None:
        return _path(value) if value.startswith("/") else _objects(value, value)
    scheme, rest = match[1].lower(), match[2]
    if scheme in ("http", "https"):
        return _url(value)
    if scheme == "file":
        return _file_url(value, rest)
    _check_backend(scheme, backend, value)
    return _objects(rest, value)


def show(value: Any) -> str:
    """The name as messages show it: short, and without a signed URL's secret."""
    if isinstance(value, str) and "://" in value:
        return repr(show_url(value))
    if isinstance(value, CloudObjectUrl):
        return repr(show_url(value.url))
    shown = _short.repr(value)
    return shown if isinstance(value, str) else f"{shown} ({type(value).__name__})"


def _objects(name: str, value: str) -> Selection:
    bucket, _, key = name.partition("/")
    if not bucket or bucket[0] in ".~" or _is_glob(bucket):
        raise InvalidCall(
            f"{show(value)} does not begin with a bucket. Write bucket, bucket/key or bucket/prefix/; "
            "a local path has to be absolute"
        )
    if _is_glob(key):
        return Selection(Query(DataKind.OBJECT, bucket, literal_prefix(key), many=True), key_glob=key)
    return Selection(Query(DataKind.OBJECT, bucket, key, many=not key or key.endswith("/")))


def _url(url: str) -> Selection:
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise InvalidCall(
            f"'{show_url(url)}' was given with a user name, which is not supported; use a signed URL"
        )
    return Selection(Query(DataKind.URL, "", url))


def _path(path: str) -> Selection:
    path = re.sub("/{2,}", "/", path)
    return Selection(Query(DataKind.PATH, "", path, many=_is_glob(path)))


def _file_url(value: str, rest: str) -> Selection:
    from urllib.parse import unquote

    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise InvalidCall(
            f"{show(value)} is not a file of this machine: write file:///path, with three slashes"
        )
    return _path("/" + unquote(path))


def _check_backend(named: str, backend: str, value: Any) -> None:
    candidates = [name for name, scheme in SCHEMES.items() if scheme == named] or [named]
    if backend not in candidates:
        raise InvalidCall(
            f"{show(value)} lies in another storage than this executor's, which is '{backend}'. "
            f"Configure `storage: {candidates[0]}` in section `lithops`, or pass storage='{candidates[0]}'"
        )


def _is_glob(name: str) -> bool:
    return literal_prefix(name) != name

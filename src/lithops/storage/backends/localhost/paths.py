"""Keys as paths on disk, and back.

A key's segments become folders and a file of the same names, so that data can be looked at with any program.
An object ``a`` and an object ``a/b`` can both be stored all the same, because no name is ever both a file's
and a folder's. A name with a dot in it is taken for a file's, one without for a folder's; the other use is
marked with a trailing ``%``::

    data/2024/sales.csv     data/2024/sales.csv
    README                  README%
    table.parquet/part.0    table.parquet%/part.0

Few things are spelled differently: ``%`` is ``%25``, an empty segment ``%_``, a segment ``.`` is ``%2E``. A
segment too long for a file name is cut into pieces, nested: all but the last are folders that end in ``%+``.
"""

from __future__ import annotations

from typing import NamedTuple

from lithops.exceptions import InvalidKey

STAGING = ".%staging"
"""The folder of a bucket in which objects are written before they get their names. No key leads there."""

_KEY_BYTES = 1024
"""The longest key that the clouds allow, and so the longest here."""
_NAME_BYTES = 250
"""Longer names are cut; file systems allow 255 bytes."""
_PIECE_CHARACTERS = 60
"""A piece is at most 4 bytes a character, and so shorter than `_NAME_BYTES`."""
_CONTINUED = "%+"


class Name(NamedTuple):
    """What a file's or folder's name says of the key."""

    text: str
    continued: bool
    """The folder holds the rest of the same segment, not the next one."""


def check_bucket(bucket: str) -> None:
    """Raises `InvalidKey` for what cannot be, or should not be, the name of one folder."""
    allowed = bucket.isprintable() and bucket != "." and ".." not in bucket and "/" not in bucket
    if not (allowed and 0 < len(bucket.encode()) <= _NAME_BYTES):
        raise InvalidKey(
            f"{bucket!r} cannot be the name of a bucket: "
            f"take 1 to {_NAME_BYTES} printable characters without '/' or '..'"
        )


def file_path(key: str) -> str:
    """The path of the key's file below the bucket's folder. Raises `InvalidKey`."""
    _check_key(key)
    *folders, last = key.split("/")
    *pieces, name = _pieces(last)
    return "/".join([*map(_folder, folders), *pieces, _file_name(name)])


def folder_path(prefix: str) -> str:
    """The path of the folder of all keys that start with `prefix` and a slash. Raises `InvalidKey`."""
    _check_key(prefix)
    return "/".join(map(_folder, prefix.split("/")))


def read_file_name(name: str) -> Name | None:
    """What a file's name says; None where no key leads to it, and so something else put it there."""
    text = _unescape(name[:-1] if name.endswith("%") else name)
    return Name(text, False) if _file_name(_escape(text)) == name else None


def read_folder_name(name: str) -> Name | None:
    """What a folder's name says; None where no key leads to it."""
    if name.endswith(_CONTINUED):
        return Name(_unescape(name[: -len(_CONTINUED)]), True)
    text = _unescape(name[:-1] if name.endswith("%") else name)
    return Name(text, False) if _folder_name(_escape(text)) == name else None


def _check_key(key: str) -> None:
    try:
        size = len(key) if key.isascii() else len(key.encode())
    except UnicodeEncodeError as error:
        raise InvalidKey(f"the key {key!r} is not valid Unicode text: {error.reason}") from None
    if not 0 < size <= _KEY_BYTES:
        raise InvalidKey(f"a key has 1 to {_KEY_BYTES} bytes of UTF-8; '{key[:80]}' has {size}")
    if key[0] == "/" or "\0" in key or (".." in key and ".." in key.split("/")):
        raise InvalidKey(
            f"the key {key!r} is not allowed: take one without a leading '/', NUL, or '..' segments"
        )


def _folder(segment: str) -> str:
    *pieces, name = _pieces(segment)
    return "/".join([*pieces, _folder_name(name)])


def _pieces(segment: str) -> list[str]:
    """The segment, escaped, in as many names as it takes; all but the last are folders'."""
    escaped = _escape(segment)
    if len(escaped) <= _NAME_BYTES and (escaped.isascii() or len(escaped.encode()) <= _NAME_BYTES):
        return [escaped]
    starts = range(0, len(segment), _PIECE_CHARACTERS)
    pieces = [_escape(segment[start : start + _PIECE_CHARACTERS]) for start in starts]
    return [piece + _CONTINUED for piece in pieces[:-1]] + pieces[-1:]


def _file_name(escaped: str) -> str:
    return escaped if "." in escaped else escaped + "%"


def _folder_name(escaped: str) -> str:
    return escaped + "%" if "." in escaped else escaped


def _escape(text: str) -> str:
    if not text:
        return "%_"
    if text in (".", ".."):
        return text.replace(".", "%2E")
    return text.replace("%", "%25") if "%" in text else text


def _unescape(name: str) -> str:
    if "%" not in name:
        return name
    return "" if name == "%_" else name.replace("%2E", ".").replace("%25", "%")

"""Which names of containers and blobs Azure keeps as they are: others are refused before any request is made."""

from __future__ import annotations

import re

from lithops.exceptions import InvalidKey
from lithops.storage.naming import check_key

_CONTAINER = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_CHANGED = re.compile(r"[\x00-\x1f\x7f\\\ufffe\uffff]|\.(?:/|$)", re.DOTALL)
"""Azure takes ``\\`` for ``/``, drops dots at the end of a segment, and cannot list what XML cannot hold."""
_SEGMENTS = 254


def check_container(bucket: str) -> None:
    """Raises `InvalidKey` unless Azure allows the name for a container."""
    if not (3 <= len(bucket) <= 63 and _CONTAINER.fullmatch(bucket)):
        raise InvalidKey(
            f"{bucket[:80]!r} cannot be the name of a container: take 3 to 63 small letters, digits and single '-', "
            "with a letter or digit at both ends"
        )


def check_blob(key: str) -> None:
    """Raises `InvalidKey` for a key that Azure would refuse, or change."""
    check_key(key)
    if _CHANGED.search(key):
        raise InvalidKey(
            f"the key {key[:80]!r} is not allowed on Azure: take one without '\\', control characters, and "
            "segments that end with '.'"
        )
    if key.count("/") >= _SEGMENTS:
        raise InvalidKey(
            f"the key {key[:80]!r} is not allowed on Azure: take one of at most {_SEGMENTS} segments between slashes"
        )

"""Which names of buckets and keys may be sent at all: a mistake is told before any request is made."""

from __future__ import annotations

import re

from lithops.exceptions import InvalidKey

_KEY_BYTES = 1024
"""The longest key that the clouds allow."""
_DNS_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{1,61}[a-z0-9])")
_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")


def check_key(key: str) -> None:
    """Raises `InvalidKey` for a key that some cloud would refuse, or change."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise InvalidKey(f"the key {key!r} is not valid Unicode text: {error.reason}") from None
    if not 0 < size <= _KEY_BYTES:
        raise InvalidKey(f"a key has 1 to {_KEY_BYTES} bytes of UTF-8; '{key[:80]}' has {size}")
    if key[0] == "/" or "\0" in key or ".." in key.split("/"):
        raise InvalidKey(
            f"the key {key!r} is not allowed: take one without a leading '/', NUL, or '..' segments"
        )


def check_dns_bucket(bucket: str) -> None:
    """Raises `InvalidKey` unless the name is one that S3 and Google allow for a bucket."""
    if not _DNS_NAME.fullmatch(bucket) or ".." in bucket or _ADDRESS.fullmatch(bucket):
        raise InvalidKey(
            f"{bucket[:80]!r} cannot be the name of a bucket: take 3 to 63 small letters, digits, '-' and '.', "
            "with a letter or digit at both ends"
        )

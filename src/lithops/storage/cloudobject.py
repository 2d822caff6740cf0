"""Names of objects that functions hand each other, instead of the objects themselves."""

from __future__ import annotations

import os


class CloudObject:
    """An object in storage. It may be pickled, returned, passed on, and subclassed."""

    def __init__(self, backend: str, bucket: str, key: str) -> None:
        self.backend = backend
        self.bucket = bucket
        self.key = key

    def __str__(self) -> str:
        return f"<CloudObject at {self.backend}://{self.bucket}/{self.key}>"

    __repr__ = __str__


class CloudObjectUrl:
    """Data at an ``http(s)://`` URL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __str__(self) -> str:
        return f"<CloudObject at {self.url}>"

    __repr__ = __str__


class CloudObjectLocal:
    """A file of this machine. Its folder stands for the bucket, its name for the key."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.bucket, self.key = os.path.split(path)

    def __str__(self) -> str:
        return f"<CloudObject at {self.path}>"

    __repr__ = __str__

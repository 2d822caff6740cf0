"""What `lithops doctor` looks at, one thing after the other."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import closing

from lithops.cli.options import open_compute, resolve_settings
from lithops.compute.base import ComputeBackend, Finding, SupportsDiagnosis
from lithops.config import Settings
from lithops.exceptions import AlreadyExists, ConfigError, LithopsError, StorageError
from lithops.storage import registry as storage_registry
from lithops.storage.base import StorageBackend
from lithops.version import __version__
from lithops.wire.ids import new_executor_id
from lithops.wire.keys import executor_prefix

_CALL_S = 60.0
_WAIT_S = 180.0
"""For a call that takes as long as it may, in a worker that has taken as long as it may to start."""
_BODY = b"written by lithops doctor"


class Checks:
    """Findings about the configuration with the options over it. What fails does not keep the rest from being looked
    at, unless that would only say the same again."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self.knows_rights = False
        """Whether the compute backend can tell the least rights; known when all has been looked at."""

    def __iter__(self) -> Iterator[Finding]:
        try:
            settings = resolve_settings(self._arguments)
        except ConfigError as error:
            yield Finding("configuration", False, str(error))
            yield _versions()
            return
        yield Finding("configuration", True, _origin(settings))
        yield _versions()
        what = f"compute on {settings.compute_name}"
        try:
            compute = open_compute(settings)
        except LithopsError as error:
            yield Finding(what, False, str(error))
            yield from _storage(settings)
            return
        with closing(compute):
            self.knows_rights = isinstance(compute, SupportsDiagnosis)
            yield _look(what, lambda: _described(compute))
            yield from _storage(settings)
            yield from _compute(compute, settings)


def _look(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except (LithopsError, OSError) as error:
        return Finding(what, False, str(error))


def _origin(settings: Settings) -> str:
    used = f"compute on {settings.compute_name}, storage on {settings.storage_name}"
    if os.path.isfile(settings.origin):
        return f"{os.path.abspath(settings.origin)}: {used}"
    return f"{settings.origin}: {used}"


def _versions() -> Finding:
    return Finding(
        "versions", True, f"Lithops {__version__}, Python {platform.python_version()} ({sys.executable})"
    )


def _described(compute: ComputeBackend) -> str:
    known = {key: value for key, value in compute.describe().items() if value not in (None, "", [])}
    return ", ".join(f"{key} {value}" for key, value in known.items()) or "is installed"


# ---------------------------------------------------------------- storage


def _storage(settings: Settings) -> Iterator[Finding]:
    name, what = settings.storage_name, f"storage on {settings.storage_name}"
    if name == "localhost" and settings.lithops.mode != "localhost":
        others = ", ".join(other for other in storage_registry.backend_names() if other != name)
        yield Finding(
            what,
            False,
            f"functions of {settings.compute_name} cannot reach the files of this machine; set lithops: storage, or "
            f"give -s, to one of {others}",
        )
        return
    try:
        storage = storage_registry.create(name, settings.storage)
    except LithopsError as error:
        yield Finding(what, False, str(error))
        return
    with closing(storage):
        bucket = _look(what, lambda: _find_bucket(storage))
        yield bucket
        if bucket.ok:
            yield from _objects(storage, storage.default_bucket())


def _find_bucket(storage: StorageBackend) -> str:
    bucket = storage.default_bucket()
    if storage.bucket_exists(bucket):
        return f"bucket '{bucket}' is there"
    storage.ensure_bucket(bucket)
    return f"bucket '{bucket}' was not there, and is now"


def _objects(storage: StorageBackend, bucket: str) -> Iterator[Finding]:
    """One small object, written, read, listed and deleted. It lies where `lithops clean` would find it."""
    key = f"{executor_prefix(new_executor_id())}doctor"

    def write() -> str:
        storage.put(bucket, key, _BODY, if_absent=True)
        return f"'{key}'"

    def write_again() -> str:
        try:
            storage.put(bucket, key, _BODY, if_absent=True)
        except AlreadyExists:
            return "is refused, as it should be"
        raise StorageError(
            f"object '{key}' was replaced, though it was to be written only if there is none (If-None-Match); calls "
            "would be reported twice: use a storage, or a release of its server, that knows conditional writes"
        )

    def read() -> str:
        found = bytes(storage.get(bucket, key))
        if found != _BODY:
            raise StorageError(
                f"object '{key}' of bucket '{bucket}' has other bytes than were written; check what lies between this "
                "machine and the storage"
            )
        return f"{len(found)} bytes, as they were written"

    def find() -> str:
        if key not in [info.key for info in storage.list(bucket, key)]:
            raise StorageError(
                f"object '{key}' was written to bucket '{bucket}' and is not listed; reports of calls would not be "
                "found: use a storage whose lists are complete at once"
            )
        return "it is listed"

    def delete() -> str:
        storage.delete(bucket, [key])
        return "it is deleted"

    written = _look("write an object", write)
    yield written
    if written.ok:
        yield _look("write it again", write_again)
        yield _look("read it", read)
        yield _look("list it", find)
        yield _look("delete it", delete)


# ---------------------------------------------------------------- compute


def _compute(compute: ComputeBackend, settings: Settings) -> Iterator[Finding]:
    """What the backend finds of its cloud; for one that has none, whether a call returns."""
    if not isinstance(compute, SupportsDiagnosis):
        yield _look("a call", lambda: _call(settings))
        return
    try:
        yield from compute.diagnose()
    except (LithopsError, OSError) as error:
        yield Finding(f"diagnosis of {settings.compute_name}", False, str(error))


def _call(settings: Settings) -> str:
    from lithops.executors import FunctionExecutor

    def where() -> str:
        import os
        import platform

        return f"Python {platform.python_version()}, process {os.getpid()} of {platform.node()}"

    with FunctionExecutor(config=settings.raw, log_level=None) as executor:
        future = executor.call_async(where, (), timeout=_CALL_S)
        return f"returns from {executor.get_result(future, timeout=_WAIT_S, show_progressbar=False)}"

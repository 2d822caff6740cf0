"""From blobs to Python objects: functions, loaded once for each content, and a call's arguments."""

from __future__ import annotations

import os
import sys
from typing import Any

from lithops.exceptions import WireError
from lithops.storage.base import StorageBackend, SupportsMapping
from lithops.wire.arguments import Arguments, place, spread
from lithops.wire.messages import Binding, Blob, Call, InlineBlob, JobSpec
from lithops.wire.pickles import Buffer, load

_KEEP_FUNCTIONS = 64
"""How many functions a warm worker keeps; beyond that the oldest goes."""


def read_blob(blob: Blob, storage: StorageBackend, bucket: str) -> Buffer:
    """The bytes of a blob: mapped into memory where the storage can, else read."""
    if isinstance(blob, InlineBlob):
        return blob.data
    if isinstance(storage, SupportsMapping):
        return storage.map(bucket, blob.key, blob.range)
    return storage.get(bucket, blob.key, blob.range)


class FunctionCache:
    """The functions that this worker has loaded, by content."""

    def __init__(self) -> None:
        self._functions: dict[str, tuple[Any, Any]] = {}

    def load(self, job: JobSpec, storage: StorageBackend) -> tuple[Any, Any]:
        """The job's function and its `extra_args`, with its modules installed."""
        loaded = self._functions.get(job.function_hash)
        if loaded is not None:
            _activate_modules(job.modules_hash)
        else:
            bucket = job.storage.bucket
            if job.modules is not None:
                _install_modules(bytes(read_blob(job.modules, storage, bucket)), job.modules_hash)
            else:
                _activate_modules("")
            function = load(read_blob(job.function, storage, bucket))
            extra = None
            if job.extra is not None:
                (extra,), _ = load(read_blob(job.extra, storage, bucket))
            loaded = (function, extra)
            self._functions[job.function_hash] = loaded
            if len(self._functions) > _KEEP_FUNCTIONS:
                del self._functions[next(iter(self._functions))]
        return loaded


def load_arguments(
    call: Call, job: JobSpec, extra: Any, storage: StorageBackend, to_close: list[Any]
) -> Arguments:
    """The call's positional and keyword arguments, reserved parameters included.

    What was opened for the call, and must be closed after it, is added to `to_close`.
    """
    values = [load(read_blob(blob, storage, job.storage.bucket)) for blob in call.inputs]
    arguments: Arguments
    if job.binding is Binding.BOUND:
        arguments = values[0]
    else:
        arguments = spread(values[0] if job.binding is Binding.ELEMENT else (values,), extra)
        if job.placing:
            arguments = place(arguments, job.placing)
    return fill_reserved(arguments, call, job, storage, to_close) if job.reserved else arguments


def fill_reserved(
    arguments: Arguments, call: Call, job: JobSpec, storage: StorageBackend, to_close: list[Any]
) -> Arguments:
    """Add the parameters that the worker provides; one that the user gave stays as it is."""
    args, kwargs = arguments
    for name in job.reserved:
        if name == "obj":
            to_close.append(_open_part(kwargs, storage))
        elif name not in kwargs:
            kwargs[name] = _provide(name, call, job, storage)
            if name == "rabbitmq":
                to_close.append(kwargs[name])
    return args, kwargs


def _open_part(kwargs: dict[str, Any], storage: StorageBackend) -> Any:
    part = kwargs["obj"]
    if part.format:
        from lithops.worker.formats.registry import open_part_as

        kwargs["obj"] = open_part_as(part, storage)
    else:
        from lithops.worker.data import open_part

        kwargs["obj"] = open_part(part, storage)
    return kwargs["obj"]


def _provide(name: str, call: Call, job: JobSpec, storage: StorageBackend) -> Any:
    if name == "id":
        return call.index
    if name == "storage":
        from lithops.storage.client import Storage

        return Storage.over(storage, job.storage.bucket, job_key=job.job_key)
    if name == "rabbitmq":
        import pika

        return pika.BlockingConnection(pika.URLParameters(os.environ["LITHOPS_RABBITMQ_URL"]))
    return storage.client()


def _install_modules(archive: bytes, content_hash: str) -> None:
    import tempfile

    from lithops.worker import modules

    folder = os.path.join(tempfile.gettempdir(), f"lithops-modules-{os.getuid()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if os.stat(folder).st_uid != os.getuid():
        raise WireError(f"the folder {folder} belongs to another user, who could put code there: remove it")
    modules.install(archive, content_hash, parent_folder=folder)


def _activate_modules(content_hash: str) -> None:
    """Switch to the modules that a function was loaded with; nothing to do in a worker that has never had any."""
    modules = sys.modules.get("lithops.worker.modules")
    if modules is not None:
        modules.activate(content_hash)

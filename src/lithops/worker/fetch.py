"""From blobs to Python objects: functions, loaded once for each content, and a call's arguments."""

from __future__ import annotations

import os
from typing import Any

from lithops.storage.base import StorageBackend, SupportsMapping
from lithops.wire.arguments import Arguments, spread
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
        if loaded is None:
            bucket = job.storage.bucket
            if job.modules is not None:
                from lithops.worker import modules

                archive = bytes(read_blob(job.modules, storage, bucket))
                modules.install(archive, job.modules_hash, parent_folder=_modules_folder())
            function = load(read_blob(job.function, storage, bucket))
            extra = None if job.extra is None else load(read_blob(job.extra, storage, bucket))
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
    elif job.binding is Binding.ELEMENT:
        arguments = spread(values[0], extra)
    else:
        arguments = spread((values,), extra)
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
    from lithops.worker.data import open_part

    kwargs["obj"] = open_part(kwargs["obj"], storage)
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


def _modules_folder() -> str:
    """Where shipped modules are unpacked: by user, since another user's folder is not to be trusted."""
    import tempfile

    return os.path.join(tempfile.gettempdir(), f"lithops-modules-{os.getuid()}")

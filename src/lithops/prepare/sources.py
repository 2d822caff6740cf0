"""From queries to the objects, URLs and files that there are. Nothing else of partitioning does any I/O."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from lithops.exceptions import InvalidCall
from lithops.prepare.folders import File, files_below, files_matching
from lithops.prepare.names import Query
from lithops.storage.base import ObjectInfo, StorageBackend
from lithops.wire.keys import FUNCTIONS_PREFIX, JOBS_PREFIX
from lithops.wire.messages import ByteRange
from lithops.wire.parts import DataKind, DataPart
from lithops.worker.reading import Sleep, file_etag

_THREADS = 32


def look_up(
    queries: Iterable[Query], storage: StorageBackend, *, sleep: Sleep
) -> dict[Query, list[DataPart]]:
    """What each query finds, in order, each as one part that is all of it. Each query is asked once.

    Raises `StorageError` or `InvalidCall` for what is not there. A prefix or a glob may find nothing.
    """
    distinct = list(dict.fromkeys(queries))

    def answer(query: Query) -> list[DataPart]:
        if query.kind is DataKind.PATH:
            return _paths(query)
        if query.kind is DataKind.OBJECT:
            return _objects(query, storage)
        from lithops.worker.urls import look_up as look_up_url

        return [look_up_url(query.name, sleep=sleep)]

    remote = [query for query in distinct if query.kind is not DataKind.PATH]
    if len(remote) < 2:
        return {query: answer(query) for query in distinct}
    with ThreadPoolExecutor(min(_THREADS, len(remote)), thread_name_prefix="lithops-look-up") as pool:
        return dict(zip(distinct, pool.map(answer, distinct), strict=True))


def _objects(query: Query, storage: StorageBackend) -> list[DataPart]:
    if not query.many:
        return [_object(query, storage.head(query.bucket, query.name), storage)]
    # What this library stores of its own in the bucket is nobody's data, unless it is asked for.
    own = tuple(prefix for prefix in (JOBS_PREFIX, FUNCTIONS_PREFIX) if not query.name.startswith(prefix))
    return [
        _object(query, info, storage)
        for info in storage.list(query.bucket, query.name)
        if not (info.key.startswith(own) or _is_folder_marker(info))
    ]


def _is_folder_marker(info: ObjectInfo) -> bool:
    """Whether it is one of the empty objects by which consoles show a folder that has nothing in it."""
    return info.size == 0 and info.key.endswith("/")


def _object(query: Query, info: ObjectInfo, storage: StorageBackend) -> DataPart:
    return DataPart(
        DataKind.OBJECT,
        info.size,
        info.etag,
        ByteRange(0, info.size),
        backend=storage.name,
        bucket=query.bucket,
        key=info.key,
    )


def _paths(query: Query) -> list[DataPart]:
    try:
        if query.many:
            return [_file(each) for each in files_matching(query.name)]
        status = os.stat(query.name)
        if stat.S_ISDIR(status.st_mode):
            return [_file(each) for each in files_below(query.name)]
    except (OSError, ValueError) as error:
        path = getattr(error, "filename", None) or query.name
        raise InvalidCall(f"'{path}' cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise InvalidCall(f"'{query.name}' is neither a file nor a folder, so it cannot be cut into parts")
    return [_file(File(query.name, status))]


def _file(file: File) -> DataPart:
    size = file.status.st_size
    return DataPart(DataKind.PATH, size, file_etag(file.status), ByteRange(0, size), path=file.path)

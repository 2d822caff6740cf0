"""From queries to the objects, URLs and files that there are. Nothing else of partitioning does any I/O."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lithops.exceptions import InvalidCall, StorageNoSuchKeyError
from lithops.prepare.folders import File, files_below, files_matching
from lithops.prepare.names import Query, Selection
from lithops.storage.base import ObjectInfo, StorageBackend
from lithops.storage.urls import object_url
from lithops.wire.keys import JOBS_PREFIX
from lithops.wire.messages import ByteRange
from lithops.wire.parts import DataKind, DataPart
from lithops.worker.reading import Sleep, file_etag

_THREADS = 32
_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


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

    if all(query.kind is DataKind.PATH for query in distinct):
        return {query: answer(query) for query in distinct}
    return dict(zip(distinct, in_threads(answer, distinct), strict=True))


def named_folders(selections: Iterable[Selection], storage: StorageBackend) -> dict[Query, list[DataPart]]:
    """What each selection names, taken as one data set in many objects. Nothing is looked up.

    Raises `InvalidCall` for a glob: which objects are data sets cannot be told from their keys.
    """
    answers: dict[Query, list[DataPart]] = {}
    for query, key_glob in selections:
        if key_glob is not None or (query.kind is DataKind.PATH and query.many):
            raise InvalidCall(
                f"'{key_glob or query.name}' has * or ?, but each name stands for one data set of many objects; "
                "name every one"
            )
        name = query.name.rstrip("/")
        if query.kind is DataKind.PATH:
            whole = DataPart(query.kind, None, "", None, path=name)
        elif query.kind is DataKind.URL:
            whole = DataPart(query.kind, None, "", None, url=query.name)
        else:
            whole = DataPart(query.kind, None, "", None, backend=storage.name, bucket=query.bucket, key=name)
        answers[query] = [whole]
    return answers


def in_threads(function: Callable[[_Item], _Answer], items: Sequence[_Item]) -> list[_Answer]:
    """The function's answers, in the order of the items; many are waited for at once."""
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(_THREADS, len(items)), thread_name_prefix="lithops-look-up") as pool:
        return list(pool.map(function, items))


def _objects(query: Query, storage: StorageBackend) -> list[DataPart]:
    if not query.many:
        return [_object(query, _head(query, storage), storage)]
    # What this library stores of its own in the bucket is nobody's data, unless it is asked for.
    hides_own = not query.name.startswith(JOBS_PREFIX)
    return [
        _object(query, info, storage)
        for info in storage.list(query.bucket, query.name)
        if not ((hides_own and info.key.startswith(JOBS_PREFIX)) or _is_folder_marker(info))
    ]


def _head(query: Query, storage: StorageBackend) -> ObjectInfo:
    try:
        return storage.head(query.bucket, query.name)
    except StorageNoSuchKeyError as error:
        url = object_url(storage.name, query.bucket, query.name)
        raise StorageNoSuchKeyError(query.bucket, query.name, url) from error


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

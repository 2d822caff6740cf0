"""`lithops clean`: remove what jobs left in the storage and on this machine."""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from lithops.cli.options import open_storage

if TYPE_CHECKING:
    from lithops.cli.options import Commands
    from lithops.storage.base import ObjectInfo, StorageBackend

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DEFAULT_AGE = "1d"
_BATCH = 1000
"""How many objects are deleted at once: what the clouds allow."""


def add_commands(commands: Commands, common: argparse.ArgumentParser) -> None:
    clean = commands.add_parser(
        "clean",
        parents=[common],
        help="remove what jobs left in the storage",
        description="Remove what programs that were killed, or kept their data, have left: the objects of their jobs "
        "and the logs. Nothing that is not Lithops' own is touched.",
    )
    clean.add_argument(
        "--older-than",
        metavar="DURATION",
        type=duration_s,
        default=_DEFAULT_AGE,
        help="only what is older: 0s, 30m, 12h, 7d (default: 1d, so that jobs that still run keep theirs)",
    )
    clean.add_argument("--all", action="store_true", help="the cloud objects of users too")
    clean.set_defaults(run=run_clean)


def duration_s(text: str) -> float:
    """``90s``, ``30m``, ``12h``, ``7d`` or ``2w`` in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not a duration; write 90s, 30m, 12h, 7d or 2w")
    return float(match[1]) * _UNITS_S[match[2]]


def run_clean(arguments: argparse.Namespace) -> int:
    from lithops.cli.logs import remove_logs
    from lithops.wire.keys import CLOUDOBJECTS_PREFIX, JOBS_PREFIX

    # Storages round their times to seconds.
    before = time.time() - arguments.older_than if arguments.older_than else math.inf
    storage = open_storage(arguments)
    prefixes = {"jobs": JOBS_PREFIX}
    if arguments.all:
        prefixes["cloud objects"] = CLOUDOBJECTS_PREFIX
    there = storage.storage_handler.bucket_exists(storage.bucket)
    for name, prefix in prefixes.items():
        removed = _remove(storage.storage_handler, storage.bucket, prefix, before) if there else _Removed()
        print(
            f"{name}: {removed.objects} objects removed ({removed.size / 1e6:.1f} MB) "
            f"from bucket '{storage.bucket}'{_advice(removed.younger)}"
        )
    print(f"logs: {remove_logs(before=before)} files removed")
    return 0


class _Removed(NamedTuple):
    """What was done to the objects of one kind."""

    objects: int = 0
    size: int = 0
    """Bytes."""
    younger: int = 0
    """Objects that stay."""


def _remove(backend: StorageBackend, bucket: str, prefix: str, before: float) -> _Removed:
    """Delete what was last written before this time."""
    objects = size = younger = 0
    for batch in _batches(backend.list(bucket, prefix)):
        old = [info for info in batch if info.last_modified <= before]
        if old:
            backend.delete(bucket, [info.key for info in old])
        objects += len(old)
        size += sum(info.size for info in old)
        younger += len(batch) - len(old)
    return _Removed(objects, size, younger)


def _advice(younger: int) -> str:
    return f"; {younger} younger ones stay (--older-than 0s removes them)" if younger else ""


def _batches(objects: Iterable[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    iterator = iter(objects)
    while batch := list(islice(iterator, _BATCH)):
        yield batch

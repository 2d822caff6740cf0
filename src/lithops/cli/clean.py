"""`lithops clean`: remove what jobs left in the storage and on this machine."""

from __future__ import annotations

import argparse
import math
import re
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from lithops.cli.options import open_storage

if TYPE_CHECKING:
    from lithops.cli.options import Commands
    from lithops.storage.base import ObjectInfo, StorageBackend

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BATCH = 1000
"""How many objects are deleted at once: what the clouds allow."""


def add_commands(commands: Commands, common: argparse.ArgumentParser) -> None:
    clean = commands.add_parser(
        "clean",
        parents=[common],
        help="remove what jobs left in the storage",
        description="Remove the objects of jobs, the stored functions and the logs. Jobs that still run lose "
        "theirs too, unless --older-than spares them.",
    )
    clean.add_argument(
        "--older-than",
        metavar="DURATION",
        type=duration_s,
        help="only what is older: 90s, 30m, 12h, 7d",
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
    from lithops.wire.keys import CLOUDOBJECTS_PREFIX, FUNCTIONS_PREFIX, JOBS_PREFIX

    before = math.inf if arguments.older_than is None else time.time() - arguments.older_than
    storage = open_storage(arguments)
    prefixes = {"jobs": JOBS_PREFIX, "functions": FUNCTIONS_PREFIX}
    if arguments.all:
        prefixes["cloud objects"] = CLOUDOBJECTS_PREFIX
    there = storage.storage_handler.bucket_exists(storage.bucket)
    for name, prefix in prefixes.items():
        count, size = _remove(storage.storage_handler, storage.bucket, prefix, before) if there else (0, 0)
        print(f"{name}: {count} objects removed ({size / 1e6:.1f} MB) from bucket '{storage.bucket}'")
    print(f"logs: {remove_logs(before=before)} files removed")
    return 0


def _remove(backend: StorageBackend, bucket: str, prefix: str, before: float) -> tuple[int, int]:
    """Delete what was last written before this time, and give how many objects and bytes that was."""
    old = (info for info in backend.list(bucket, prefix) if info.last_modified <= before)
    count = size = 0
    for batch in _batches(old):
        backend.delete(bucket, [info.key for info in batch])
        count += len(batch)
        size += sum(info.size for info in batch)
    return count, size


def _batches(objects: Iterable[ObjectInfo]) -> Iterator[list[ObjectInfo]]:
    iterator = iter(objects)
    while batch := list(islice(iterator, _BATCH)):
        yield batch

"""`lithops storage`: objects from the command line."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, BinaryIO

from lithops.cli.options import open_storage
from lithops.exceptions import LithopsError

if TYPE_CHECKING:
    from lithops.cli.options import Commands


def add_commands(commands: Commands, common: argparse.ArgumentParser) -> None:
    group = commands.add_parser("storage", help="put, get, delete and list objects")
    verbs = group.add_subparsers(metavar="COMMAND", required=True)

    put = verbs.add_parser("put", parents=[common], help="store a file")
    put.add_argument("file", metavar="FILE")
    put.add_argument("bucket", metavar="BUCKET")
    put.add_argument("--key", help="the object's key; by default the file's name")
    put.set_defaults(run=run_put)

    get = verbs.add_parser("get", parents=[common], help="write an object to a file")
    get.add_argument("bucket", metavar="BUCKET")
    get.add_argument("key", metavar="KEY")
    get.add_argument(
        "--out", metavar="FILE", help="by default the last part of the key; - is standard output"
    )
    get.set_defaults(run=run_get)

    delete = verbs.add_parser("delete", parents=[common], help="delete an object, or all of a prefix")
    delete.add_argument("bucket", metavar="BUCKET")
    which = delete.add_mutually_exclusive_group(required=True)
    which.add_argument("key", metavar="KEY", nargs="?")
    which.add_argument("--prefix", help="delete every object whose key starts like this")
    delete.set_defaults(run=run_delete)

    listing = verbs.add_parser("list", parents=[common], help="list the objects of a bucket")
    listing.add_argument("bucket", metavar="BUCKET")
    listing.add_argument("--prefix", default="", help="only keys that start like this")
    listing.set_defaults(run=run_list)


def run_put(arguments: argparse.Namespace) -> int:
    key = arguments.key or os.path.basename(arguments.file)
    storage = open_storage(arguments)
    with open(arguments.file, "rb") as file:
        storage.put_object(arguments.bucket, key, file)
    print(f"{arguments.file} is stored as '{key}' in bucket '{arguments.bucket}'")
    return 0


def run_get(arguments: argparse.Namespace) -> int:
    storage = open_storage(arguments)
    target = arguments.out or arguments.key.rpartition("/")[2]
    if not target:
        raise LithopsError(f"the key '{arguments.key}' ends in a slash; name the file with --out")
    with storage.get_object(arguments.bucket, arguments.key, stream=True) as stream:
        if target == "-":
            shutil.copyfileobj(stream, sys.stdout.buffer)
        else:
            _write(stream, target)
            print(f"'{arguments.key}' of bucket '{arguments.bucket}' is in {target}")
    return 0


def run_delete(arguments: argparse.Namespace) -> int:
    storage = open_storage(arguments)
    keys = storage.list_keys(arguments.bucket, arguments.prefix) if arguments.key is None else [arguments.key]
    storage.delete_objects(arguments.bucket, keys)
    print(f"{len(keys)} deleted from bucket '{arguments.bucket}'")
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    """A line for each object: bytes, time and key."""
    storage = open_storage(arguments)
    for info in storage.storage_handler.list(arguments.bucket, arguments.prefix):
        modified = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(info.last_modified))
        print(f"{info.size:>14}  {modified}  {info.key}")
    return 0


def _write(stream: BinaryIO, target: str) -> None:
    """The file is there whole, or as it was before."""
    partial = f"{target}.{os.getpid()}.part"
    try:
        with open(partial, "wb") as file:
            shutil.copyfileobj(stream, file)
        os.replace(partial, target)
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise

"""Objects as files of this machine: a bucket is a folder, a key a path below it (see `paths`).

An object is written beside its bucket's data and then given its name in one step. A reader sees the old
object or the new one, never a mixture, and goes on reading what it opened when that is replaced or deleted.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from lithops.exceptions import (
    AccessDenied,
    AlreadyExists,
    InvalidKey,
    NoSuchBucket,
    StorageError,
    StorageNoSuchKeyError,
    StorageUnavailable,
)
from lithops.storage.backends.localhost.config import LocalhostStorageConfig
from lithops.storage.backends.localhost.files import batches, existing, open_window, write_all
from lithops.storage.backends.localhost.listing import walk
from lithops.storage.backends.localhost.paths import STAGING, check_bucket, file_path, folder_path
from lithops.storage.base import Body, ObjectInfo
from lithops.wire.messages import ByteRange, StorageRef
from lithops.wire.pickles import Buffer

_ATTEMPTS = 1000
"""How often a put makes its folder again, while deletions beside it keep removing it as empty."""
_ABANDONED_AFTER_S = 86_400
"""What has lain in the staging folder for so long was left there by a writer that died."""


class LocalhostStorage:
    """Implements `StorageBackend` and `SupportsMapping`. Safe in threads, processes and after a fork."""

    name = "localhost"

    def __init__(self, config: LocalhostStorageConfig) -> None:
        self._bucket = config.storage_bucket
        self._root = os.path.abspath(os.path.expanduser(config.root)) if config.root else _default_root()
        self._root_is_default = not config.root

    def put(self, bucket: str, key: str, body: Body, *, if_absent: bool = False) -> None:
        folder, target = self._locate(bucket, key)
        with translate_errors(folder, bucket, key):
            staged, descriptor = _stage(folder)
        try:
            try:
                # What goes wrong while the body is read is the caller's, and is not translated.
                for views in batches(body):
                    with translate_errors(folder, bucket, key):
                        write_all(descriptor, views)
            finally:
                os.close(descriptor)
            with translate_errors(folder, bucket, key):
                _give_name(os.link if if_absent else os.rename, staged, target)
        finally:
            _unlink(staged)

    def get(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> bytes:
        folder, path = self._locate(bucket, key)
        with translate_errors(folder, bucket, key):
            if byte_range is None:
                with open(path, "rb", buffering=0) as file:
                    return file.readall()
            with open(path, "rb") as stream:
                start, stop = existing(byte_range, stream.fileno())
                stream.seek(start)
                return stream.read(stop - start)

    def open(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> BinaryIO:
        folder, path = self._locate(bucket, key)
        with translate_errors(folder, bucket, key):
            if byte_range is None:
                return open(path, "rb")
            file = open(path, "rb", buffering=0)  # noqa: SIM115 - the window closes it
            return open_window(file, *existing(byte_range, file.fileno()))

    def map(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> Buffer:
        # Needed for large objects alone.
        import mmap

        folder, path = self._locate(bucket, key)
        with translate_errors(folder, bucket, key), open(path, "rb", buffering=0) as file:
            start, stop = existing(byte_range, file.fileno())
            if start == stop:
                return bytearray()
            # A mapping starts where a page does.
            surplus = start % mmap.ALLOCATIONGRANULARITY
            first = start - surplus
            mapped = mmap.mmap(file.fileno(), stop - first, access=mmap.ACCESS_COPY, offset=first)
            return memoryview(mapped)[surplus:]

    def head(self, bucket: str, key: str) -> ObjectInfo:
        folder, path = self._locate(bucket, key)
        with translate_errors(folder, bucket, key):
            status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise StorageNoSuchKeyError(bucket, key)
        return _info(key, status)

    def list(self, bucket: str, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
        folder = self._folder(bucket)
        if not os.path.isdir(folder):
            raise NoSuchBucket(_no_bucket(bucket))
        base, slash, _ = prefix.rpartition("/")
        try:
            start = f"{folder}/{folder_path(base)}" if slash else folder
        except InvalidKey:
            return  # No key starts like this.
        with translate_errors(folder, bucket, prefix):
            for entry in walk(start, base + slash, prefix, start_after):
                status = _status(entry.path)
                if status is not None:
                    yield _info(entry.key, status)

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        folder = self._folder(bucket)
        paths = [self._locate(bucket, key)[1] for key in keys]
        if not os.path.isdir(folder):
            raise NoSuchBucket(_no_bucket(bucket))
        for key, path in zip(keys, paths, strict=True):
            with translate_errors(folder, bucket, key):
                _unlink(path)
        for parent in {os.path.dirname(path) for path in paths}:
            _prune(parent, folder)

    def ensure_bucket(self, bucket: str) -> None:
        folder = self._folder(bucket)
        with translate_errors(folder, bucket, ""):
            if self._root_is_default:
                _keep_private(os.path.dirname(self._root))
            os.makedirs(f"{folder}/{STAGING}", exist_ok=True)
            _sweep(f"{folder}/{STAGING}")

    def bucket_exists(self, bucket: str) -> bool:
        return os.path.isdir(self._folder(bucket))

    def default_bucket(self) -> str:
        return self._bucket

    def reference(self, bucket: str) -> StorageRef:
        return StorageRef(self.name, bucket, {"root": self._root})

    def client(self) -> Any:
        """There is no SDK: the backend itself."""
        return self

    def close(self) -> None:
        """Nothing is held open."""

    def _folder(self, bucket: str) -> str:
        check_bucket(bucket)
        return f"{self._root}/{bucket}"

    def _locate(self, bucket: str, key: str) -> tuple[str, str]:
        """The bucket's folder, and the object's file in it."""
        folder = self._folder(bucket)
        return folder, f"{folder}/{file_path(key)}"


@contextmanager
def translate_errors(folder: str, bucket: str, key: str) -> Iterator[None]:
    """The one place where the system's errors become `StorageError`s."""
    try:
        yield
    except OSError as error:
        raise _translated(error, folder, bucket, key) from error


def _translated(error: OSError, folder: str, bucket: str, key: str) -> StorageError:
    what = f"object '{key}' of bucket '{bucket}'" if key else f"bucket '{bucket}'"
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR | errno.EISDIR:
            there = os.path.isdir(folder)
            return StorageNoSuchKeyError(bucket, key) if there else NoSuchBucket(_no_bucket(bucket))
        case errno.EEXIST:
            return AlreadyExists(f"there is an {what} already; put without if_absent to replace it")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return AccessDenied(f"{what}: {error}; give this user the right to read and write {folder}")
        case errno.ENAMETOOLONG:
            return InvalidKey(f"{what}: {error}; shorten the key, or the path of the storage's root")
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return StorageUnavailable(f"{what}: {error}; free space there, or move `root` to a larger disk")
        case errno.EMFILE | errno.ENFILE:
            return StorageUnavailable(f"{what}: {error}; close files, or raise the limit with `ulimit -n`")
    return StorageError(f"{what}: {error}; check the disk that holds {folder}")


def _no_bucket(bucket: str) -> str:
    return f"there is no bucket '{bucket}'; check the name, or create it"


def _default_root() -> str:
    from lithops.constants import LITHOPS_TEMP_DIR

    return os.path.join(LITHOPS_TEMP_DIR, "storage")


def _keep_private(folder: str) -> None:
    """Others may write to the system's temporary folder, and what is stored here is unpickled later."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise AccessDenied(f"{folder} is another user's; remove it, or set `root` to a folder of your own")


def _stage(folder: str) -> tuple[str, int]:
    """A new file in the bucket's staging folder: its path, and its descriptor to write to."""
    staging = f"{folder}/{STAGING}"
    path = f"{staging}/{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        return path, os.open(path, flags, 0o666)
    except FileNotFoundError:
        # A bucket that was made by hand has no staging folder yet; without a bucket, this fails again.
        with suppress(FileExistsError):
            os.mkdir(staging)
        return path, os.open(path, flags, 0o666)


def _give_name(name: Callable[[str, str], None], staged: str, target: str) -> None:
    """Rename or link the staged file to `target`. Others may remove its empty folder: it is made again."""
    for _ in range(_ATTEMPTS):
        try:
            return name(staged, target)
        except FileNotFoundError:
            with suppress(FileNotFoundError, FileExistsError):
                os.makedirs(os.path.dirname(target), exist_ok=True)
        except (IsADirectoryError, NotADirectoryError) as error:
            raise InvalidKey(f"{error}; another program put something in the way: remove it") from error
    raise StorageUnavailable(f"the folder of {target} is removed again and again; try again later")


def _status(path: str) -> os.stat_result | None:
    """None where the file was deleted meanwhile."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)


def _prune(folder: str, top: str) -> None:
    """Remove folders that are empty, from `folder` upwards, but not `top`."""
    # Empty folders do no harm: whatever keeps one, most often that it is not empty, ends this.
    with suppress(OSError):
        while folder != top:
            os.rmdir(folder)
            folder = os.path.dirname(folder)


def _sweep(staging: str) -> None:
    """Remove what writers that died have left in the staging folder."""
    oldest = time.time() - _ABANDONED_AFTER_S
    for entry in os.scandir(staging):
        with suppress(FileNotFoundError):
            if entry.stat().st_mtime < oldest:
                os.unlink(entry.path)


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    etag = f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"
    return ObjectInfo(key, status.st_size, etag, status.st_mtime)

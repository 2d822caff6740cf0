"""The storage on this machine's disk keeps every promise of a storage, and some of its own."""

from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithops import exceptions
from lithops.exceptions import AccessDenied, InvalidKey, StorageUnavailable
from lithops.storage.backends.localhost.backend import LocalhostStorage, translate_errors
from lithops.storage.backends.localhost.config import LocalhostStorageConfig
from lithops.storage.backends.localhost.files import open_window
from lithops.storage.base import StorageBackend
from lithops.testing.storage import StorageConformance

SETUP = """
import sys
from lithops.storage.backends.localhost.backend import LocalhostStorage
from lithops.storage.backends.localhost.config import LocalhostStorageConfig
backend = LocalhostStorage(LocalhostStorageConfig(root=sys.argv[1]))
"""
"""What a program in another process starts with; its argument is the root."""


class TestLocalhostStorage(StorageConformance):
    invalid_keys = (
        *StorageConformance.invalid_keys,
        "..",
        "../x",
        "a/../b",
        "a/..",
        "/absolute",
        "a/../../etc",
    )

    def make_backend(self, tmp_path: Path) -> StorageBackend:
        return LocalhostStorage(LocalhostStorageConfig(root=str(tmp_path)))


@pytest.fixture
def backend(tmp_path: Path) -> LocalhostStorage:
    backend = LocalhostStorage(LocalhostStorageConfig(root=str(tmp_path)))
    backend.ensure_bucket("b")
    return backend


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------- processes


def test_of_many_processes_that_put_conditionally_one_wins(backend: LocalhostStorage, tmp_path: Path) -> None:
    program = f"""{SETUP}
from lithops.exceptions import AlreadyExists
sys.stdin.read()
for race in range(50):
    try:
        backend.put("b", f"race/{{race}}", sys.argv[2].encode(), if_absent=True)
    except AlreadyExists:
        continue
    print(race)
"""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(16)
    ]
    for writer in writers:  # They all wait for the end of their input.
        assert writer.stdin is not None
        writer.stdin.close()
        writer.stdin = None
    winners: dict[str, list[int]] = {str(race): [] for race in range(50)}
    for number, writer in enumerate(writers):
        output, _ = writer.communicate(timeout=60)
        assert writer.returncode == 0
        for race in output.split():
            winners[race].append(number)
    for race, won in winners.items():
        assert len(won) == 1
        assert backend.get("b", f"race/{race}") == b"%d" % won[0]


def test_a_full_disk(backend: LocalhostStorage, tmp_path: Path) -> None:
    program = f"""{SETUP}
import resource
from lithops.exceptions import StorageUnavailable
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
for body in (bytes(3_000_000), [bytes(600_000)] * 5):
    try:
        backend.put("b", "folder/large", body)
    except StorageUnavailable as error:
        print(error)
backend.put("b", "folder/small", b"fits")
"""
    run = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.count("free space") == 2
    assert files_below(tmp_path) == {"b/folder/small%"}


# ---------------------------------------------------------------- threads


def test_puts_succeed_while_deletions_remove_their_folder(backend: LocalhostStorage, tmp_path: Path) -> None:
    def put_and_delete(thread: int) -> None:
        for turn in range(200):
            key = f"a/deep/folder/{thread}-{turn}"
            backend.put("b", key, b"x", if_absent=turn % 2 == 0)
            assert backend.get("b", key) == b"x"
            backend.delete("b", [key])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put_and_delete, range(8), timeout=60))
    assert [path.name for path in (tmp_path / "b").iterdir()] == [".%staging"]


def test_objects_may_be_deleted_while_they_are_listed(backend: LocalhostStorage) -> None:
    keys = ["a", "b", "c/d", "e/f/g"]
    for key in keys:
        backend.put("b", key, b"")
    listing = backend.list("b")
    assert next(listing).key == "a"
    backend.delete("b", keys)
    assert list(listing) == []


def test_a_put_does_not_try_for_ever(backend: LocalhostStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(staged: str, target: str) -> None:
        raise FileNotFoundError(errno.ENOENT, "removed again", target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(StorageUnavailable, match="again and again"):
        backend.put("b", "k", b"")
    assert list(backend.list("b")) == []


def test_what_is_open_stays_readable(backend: LocalhostStorage) -> None:
    backend.put("b", "k", b"old" * 100_000)
    mapped = backend.map("b", "k")
    with backend.open("b", "k") as stream:
        assert stream.read(3) == b"old"
        backend.put("b", "k", b"new")
        backend.delete("b", ["k"])
        assert stream.read() == b"old" * 99_999
    assert bytes(mapped) == b"old" * 100_000


# ---------------------------------------------------------------- files on disk


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("data/2024/sales.csv", "data/2024/sales.csv"),
        ("README", "README%"),
        ("table.parquet/part.0", "table.parquet%/part.0"),
        ("100%.txt", "100%25.txt"),
        ("a//b.txt", "a/%_/b.txt"),
        ("with space/ünïcödé.txt", "with space/ünïcödé.txt"),
        ("lithops.jobs/3f9a1c-0-M000/status/00042", "lithops.jobs%/3f9a1c-0-M000/status/00042%"),
    ],
)
def test_keys_can_be_read_on_disk(backend: LocalhostStorage, tmp_path: Path, key: str, path: str) -> None:
    backend.put("b", key, b"content")
    assert (tmp_path / "b" / path).read_bytes() == b"content"


def test_a_file_put_there_by_hand_is_an_object(backend: LocalhostStorage, tmp_path: Path) -> None:
    (tmp_path / "b" / "data").mkdir()
    (tmp_path / "b" / "data" / "by-hand.csv").write_bytes(b"1,2")
    assert [info.key for info in backend.list("b")] == ["data/by-hand.csv"]
    assert backend.get("b", "data/by-hand.csv") == b"1,2"


def test_what_no_key_leads_to_is_not_listed(backend: LocalhostStorage, tmp_path: Path) -> None:
    bucket = tmp_path / "b"
    (bucket / "dotted.folder").mkdir()
    for name in ("no-extension", "dotted.folder/x.txt", "half%zz%", "%2X.txt"):
        (bucket / name).write_bytes(b"")
    (bucket / "dangling.txt").symlink_to("nowhere")
    assert list(backend.list("b")) == []


def test_a_foreign_folder_in_the_way_is_named(backend: LocalhostStorage, tmp_path: Path) -> None:
    (tmp_path / "b" / "x.txt").mkdir()
    (tmp_path / "b" / "file").write_bytes(b"")
    for key in ("x.txt", "file/below"):
        with pytest.raises(InvalidKey, match="in the way"):
            backend.put("b", key, b"")
    assert files_below(tmp_path) == {"b/file"}
    with pytest.raises(exceptions.StorageNoSuchKeyError):
        backend.head("b", "x.txt")


def test_a_bucket_made_by_hand_is_a_bucket(backend: LocalhostStorage, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert backend.bucket_exists("mine")
    backend.put("mine", "k.txt", b"x")
    assert files_below(tmp_path) == {"mine/k.txt"}


def test_what_dead_writers_left_is_swept_away(backend: LocalhostStorage, tmp_path: Path) -> None:
    staging = tmp_path / "b" / ".%staging"
    (staging / "abandoned").write_bytes(b"")
    os.utime(staging / "abandoned", (1_000, 1_000))
    (staging / "in-use").write_bytes(b"")
    backend.ensure_bucket("b")
    assert [path.name for path in staging.iterdir()] == ["in-use"]


def test_the_default_root_is_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    backend = LocalhostStorage(LocalhostStorageConfig())
    assert files_below(tmp_path) == set()
    backend.ensure_bucket("b")
    (home,) = tmp_path.iterdir()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert backend.reference("b").options == {"root": str(home / "storage")}
    monkeypatch.setattr(os, "getuid", lambda: home.stat().st_uid + 1)
    with pytest.raises(AccessDenied, match="another user"):
        backend.ensure_bucket("b")


# ---------------------------------------------------------------- the system's errors


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_of_the_system_becomes_one_of_ours(number: int, tmp_path: Path) -> None:
    expected = {
        "ENOENT": exceptions.StorageNoSuchKeyError,
        "ENOTDIR": exceptions.StorageNoSuchKeyError,
        "EISDIR": exceptions.StorageNoSuchKeyError,
        "EEXIST": exceptions.AlreadyExists,
        "EACCES": AccessDenied,
        "EPERM": AccessDenied,
        "EROFS": AccessDenied,
        "ENOSPC": StorageUnavailable,
        "EDQUOT": StorageUnavailable,
        "EFBIG": StorageUnavailable,
        "EMFILE": StorageUnavailable,
        "ENFILE": StorageUnavailable,
        "ENAMETOOLONG": InvalidKey,
    }.get(errno.errorcode[number], exceptions.StorageError)
    with pytest.raises(expected, match="k") as caught, translate_errors(str(tmp_path), "b", "k"):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is expected
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.skipif(os.getuid() == 0, reason="the superuser may read and write everything")
def test_a_folder_without_rights(backend: LocalhostStorage, tmp_path: Path) -> None:
    backend.put("b", "folder/k", b"")
    folder = tmp_path / "b" / "folder"
    folder.chmod(0)
    try:
        with pytest.raises(AccessDenied, match="folder/k"):
            backend.get("b", "folder/k")
        with pytest.raises(AccessDenied):
            list(backend.list("b"))
    finally:
        folder.chmod(0o700)


# ---------------------------------------------------------------- a part of a file as a stream

seeks = st.tuples(st.just("seek"), st.integers(-5, 60), st.sampled_from([0, 1, 2]))
reads = st.tuples(st.just("read"), st.integers(-1, 60), st.just(0))


@given(start=st.integers(0, 50), length=st.integers(0, 50), steps=st.lists(seeks | reads, max_size=10))
def test_a_window_is_a_file_of_its_own(start: int, length: int, steps: list[tuple[str, int, int]]) -> None:
    data = bytes(range(100))
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        model = io.BytesIO(data[start : start + length])
        with open_window(io.FileIO(file.name), start, start + length) as window:
            for action, number, whence in steps:
                if action == "read":
                    assert window.read(number) == model.read(number)
                elif number >= 0 or whence:
                    expected = max(0, {0: 0, 1: model.tell(), 2: length}[whence] + number)
                    assert window.seek(expected) == model.seek(expected)
                assert window.tell() == model.tell()

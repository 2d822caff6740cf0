"""`os` and `open` over object storage: what they promise beyond what a disk does, on real storages."""

from __future__ import annotations

import csv
import errno
import inspect
import io
import os as system
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
from valkey_server import Valkey

from lithops import FunctionExecutor, Storage
from lithops.storage import cloud_proxy
from lithops.storage.cloud_proxy import CloudFileProxy, CloudStorage
from lithops.testing.memory import MemoryStorage


@pytest.fixture(params=["memory", "localhost", "redis"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "memory":
        yield Storage.over(MemoryStorage())
    elif request.param == "localhost":
        section = {"root": str(tmp_path / "root")}
        yield CloudStorage({"lithops": {"storage": "localhost"}, "localhost": section})
    else:
        server: Valkey = request.getfixturevalue("valkey")
        place = {"host": server.host, "port": server.port, "password": server.password, "db": 3}
        storage = CloudStorage({"lithops": {"storage": "redis"}, "redis": place})
        yield storage
        storage.get_client().flushdb()
        storage.storage_handler.close()


@pytest.fixture
def cloud(storage: Storage) -> CloudFileProxy:
    return CloudFileProxy(storage)


def write(cloud: CloudFileProxy, path: str, data: bytes = b"") -> None:
    with cloud.open(path, "wb") as file:
        file.write(data)


def read(cloud: CloudFileProxy, path: str) -> bytes:
    with cloud.open(path, "rb") as file:
        content: bytes = file.read()
        return content


# ---------------------------------------------------------------- files are objects


def test_a_file_is_an_object_and_an_object_a_file(cloud: CloudFileProxy, storage: Storage) -> None:
    with cloud.open("data/2024/text.txt", "w") as file:
        file.write("zwölf\n")
    assert storage.get_object(storage.bucket, "data/2024/text.txt") == "zwölf\n".encode()
    storage.put_object(storage.bucket, "data/other.txt", "from elsewhere")
    with cloud.open("data/other.txt") as file:
        assert file.read() == "from elsewhere"
    assert cloud.listdir("data") == ["2024", "other.txt"]
    assert list(cloud.walk("data")) == [("data", ["2024"], ["other.txt"]), ("data/2024", [], ["text.txt"])]
    assert cloud.listdir("data", suffix_dirs=True) == ["2024/", "other.txt"]


def test_all_paths_start_at_the_bucket(cloud: CloudFileProxy, storage: Storage) -> None:
    write(cloud, "a/b.txt", b"x")
    spellings: list[Any] = [
        "/a/b.txt",
        "./a/b.txt",
        "a//b.txt",
        "a/../a/./b.txt",
        "../../a/b.txt",
        b"a/b.txt",
        Path("a/b.txt"),
    ]
    for path in spellings:
        assert cloud.path.isfile(path)
        assert read(cloud, path) == b"x"
    assert storage.list_keys(storage.bucket) == ["a/b.txt"]
    for root in ("", "/", ".", "./", ".."):
        assert cloud.path.isdir(root)
        assert cloud.listdir(root) == ["a"]
        assert next(cloud.walk(root)) == (root, ["a"], [])
        with pytest.raises(IsADirectoryError):
            cloud.open(root, "w")
    assert cloud.listdir() == ["a"]


def test_a_folder_lives_as_long_as_its_last_file_unless_it_was_made(cloud: CloudFileProxy) -> None:
    cloud.mkdir("made")
    for folder in ("made", "unmade"):
        write(cloud, f"{folder}/file")
        assert cloud.path.isdir(folder)
        assert cloud.listdir(folder) == ["file"]
        cloud.remove(f"{folder}/file")
    assert cloud.path.isdir("made")
    assert not cloud.path.exists("unmade")
    assert list(cloud.walk("")) == [("", ["made"], []), ("made", [], [])]
    cloud.rmdir("made")
    assert cloud.listdir("") == []


def test_a_file_beside_a_folder_of_its_name_is_read(cloud: CloudFileProxy, storage: Storage) -> None:
    for key in ("a", "a/b", "a-b", "./odd", "x//y", "x/./z"):
        storage.put_object(storage.bucket, key, key)
    assert cloud.path.isfile("a")
    assert cloud.path.isdir("a")
    assert read(cloud, "a") == b"a"
    assert sorted(cloud.listdir("")) == ["a", "a-b", "x"]
    assert [(root, sorted(folders), sorted(files)) for root, folders, files in cloud.walk("")] == [
        ("", ["a", "x"], ["a", "a-b"]),
        ("a", [], ["b"]),
        ("x", [], []),
    ]
    write(cloud, "a", b"new")
    assert read(cloud, "a") == b"new"


def test_what_lithops_keeps_in_the_bucket_is_not_listed(cloud: CloudFileProxy, storage: Storage) -> None:
    storage.put_object(storage.bucket, "lithops.jobs/1/status", "")
    kept = storage.put_cloudobject("x")
    write(cloud, "lithops.jobs.txt")
    assert cloud.listdir("/") == ["lithops.jobs.txt"]
    assert list(cloud.walk("/")) == [("/", [], ["lithops.jobs.txt"])]
    assert cloud.listdir("lithops.jobs") == ["1"]
    assert read(cloud, kept.key) == b"x"


def test_a_scan_tells_sizes_and_times(cloud: CloudFileProxy, storage: Storage) -> None:
    write(cloud, "d/file", b"12345")
    write(cloud, "d/sub/file")
    with cloud.scandir("d") as entries:
        file, folder = entries
    info = storage.storage_handler.head(storage.bucket, "d/file")
    assert (file.name, file.path, system.fspath(file), file.is_file(), file.is_dir()) == (
        "file", "d/file", "d/file", True, False,
    )  # fmt: skip
    assert (folder.name, folder.is_file(), folder.is_dir(), folder.is_symlink()) == (
        "sub",
        False,
        True,
        False,
    )
    assert (file.stat().st_size, file.stat().st_mtime) == (5, info.last_modified)
    assert cloud.stat("d/file") == file.stat()
    assert cloud.path.getmtime("d/file") == info.last_modified
    assert cloud.path.getsize("d/file") == 5
    assert system.path.stat.S_ISDIR(cloud.stat("d").st_mode)  # type: ignore[attr-defined]
    with pytest.raises(FileNotFoundError):
        cloud.stat("d/missing")


# ---------------------------------------------------------------- libraries that take files


def test_libraries_work_on_its_files(cloud: CloudFileProxy) -> None:
    array = np.arange(200_000).reshape(1000, 200)
    with cloud.open("array.npy", "wb") as file:
        np.save(file, array)
    with cloud.open("array.npy", "rb") as file:
        assert (np.load(file) == array).all()
    with cloud.open("many.zip", "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(20):
            archive.writestr(f"{number}.bin", np.random.default_rng(number).bytes(50_000))
    with cloud.open("many.zip", "rb") as file, zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.read("13.bin") == np.random.default_rng(13).bytes(50_000)
    with cloud.open("more.zip", "w+b") as file:
        file.write(read(cloud, "many.zip"))
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("one more", "x")
    with cloud.open("more.zip", "rb") as file:
        assert len(zipfile.ZipFile(file).namelist()) == 21
    with cloud.open("table.csv", "w", newline="") as file:
        csv.writer(file).writerows([[1, "a,b"], [2, "c\nd"]])
    with cloud.open("table.csv", newline="") as file:
        assert list(csv.reader(file)) == [["1", "a,b"], ["2", "c\nd"]]
    with cloud.open("pickle", "wb") as file:
        pickle.dump(array, file)
    with cloud.open("pickle", "rb") as file:
        assert (pickle.load(file) == array).all()


@pytest.mark.parametrize("mode", ["r", "rb", "w", "wb", "x", "a", "a+", "r+", "r+b", "w+", "rt"])
def test_files_are_those_of_the_standard_library(cloud: CloudFileProxy, tmp_path: Path, mode: str) -> None:
    if mode[0] != "x":
        write(cloud, "f", b"x")
        (tmp_path / "f").write_bytes(b"x")
    with cloud.open("f", mode) as ours, open(tmp_path / "f", mode) as theirs:
        for layer in ("itself", "buffer", "raw"):
            ours, theirs = getattr(ours, layer, ours), getattr(theirs, layer, theirs)
            assert ours.name == "f"
            assert isinstance(ours, io.RawIOBase if layer == "raw" else type(theirs))
            assert ours.mode == theirs.mode
            assert ours.readable() == theirs.readable()
            assert ours.writable() == theirs.writable()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("f", "q"), "invalid mode"),
        (("f", "rr"), "invalid mode"),
        (("f", "rw"), "exactly one"),
        (("f", "b"), "exactly one"),
        (("f", "rbt"), "text and binary"),
        (("f", "rb", -1, "utf-8"), "binary mode"),
        (("f", "w", 0), "unbuffered text"),
        (("f", "w", -1, "no such encoding"), "encoding"),
        (("f\0", "w"), "not allowed|cannot be"),
    ],
)
def test_wrong_arguments_are_told_and_leave_no_file(
    cloud: CloudFileProxy, arguments: tuple[Any, ...], said: str
) -> None:
    with pytest.raises((ValueError, LookupError), match=said):
        cloud.open(*arguments).close()
    assert cloud.listdir("") == []


def test_names_and_arguments_are_those_of_the_standard_library(cloud: CloudFileProxy) -> None:
    for ours, theirs in ((cloud, system), (cloud.path, system.path)):
        assert [name for name in dir(ours) if name[0] != "_" and not hasattr(theirs, name)] == []
    for name in (name for name in dir(cloud) if inspect.ismethod(getattr(cloud, name)) and name[0] != "_"):
        standard = open if name == "open" else getattr(system, name)
        expected = list(inspect.signature(standard).parameters)
        given = [each for each in inspect.signature(getattr(cloud, name)).parameters if each != "suffix_dirs"]
        assert given == [each for each in expected if each in given], name
    assert (cloud.sep, cloud.curdir, cloud.getpid()) == ("/", ".", system.getpid())
    assert cloud.environ is system.environ
    assert cloud.path.join("a", "b") == "a/b"
    assert cloud.path.relpath("/a/b", "a/c") == "../b"
    assert cloud.path.abspath("x/../a") == cloud.path.realpath("a") == "/a"
    with pytest.raises(AttributeError, match=r"no os\.chmod; import os"):
        cloud.chmod("a", 0o600)


# ---------------------------------------------------------------- when it is stored


def break_off(file: IO[Any], half: str | bytes) -> None:
    with file:
        file.write(half)
        file.flush()
        raise KeyError


def test_a_block_that_ends_by_an_exception_stores_nothing(cloud: CloudFileProxy) -> None:
    write(cloud, "old", b"old")
    for path in ("old", "new"):
        for mode in ("w", "wb", "w+", "a", "ab", "a+b", *(("r+", "r+b") if path == "old" else ("x", "xb"))):
            for buffering in (-1, 0) if "b" in mode else (-1,):
                file = cloud.open(path, mode, buffering)
                with pytest.raises(KeyError):
                    break_off(file, b"half" if "b" in mode else "half")
                assert file.closed
                assert cloud.listdir("") == ["old"]
    assert read(cloud, "old") == b"old"


def test_a_file_is_there_when_it_is_closed(cloud: CloudFileProxy) -> None:
    file = cloud.open("f", "w")
    file.write("text")
    file.flush()
    assert not cloud.path.exists("f")
    file.close()
    file.close()
    assert read(cloud, "f") == b"text"


def test_a_file_that_is_forgotten_is_stored_with_a_warning(cloud: CloudFileProxy) -> None:
    file = cloud.open("f", "w")
    file.write("text")
    forget = [file]
    del file
    with pytest.warns(ResourceWarning, match="unclosed file"):
        forget.clear()
    assert read(cloud, "f") == b"text"


def test_a_file_that_no_longer_fits_on_this_machine_is_not_stored(run_program: Callable[..., Any]) -> None:
    program = """
import errno, resource
from lithops.storage.cloud_proxy import os, open
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for buffering in (0, -1):
    file = open("f", "wb", buffering)
    try:
        file.write(bytes(60_000))
        file.write(bytes(60_000))
        file.write(bytes(60_000))
        file.close()
    except OSError as error:
        assert error.errno == errno.EFBIG, error
    try:
        file.close()
    except OSError as error:
        assert error.errno == errno.EFBIG, error
    assert file.closed
    assert not os.path.exists("f")
"""
    run_program(program)


def test_of_two_that_create_a_file_the_second_is_told(cloud: CloudFileProxy) -> None:
    first, second = cloud.open("f", "x"), cloud.open("f", "x")
    first.write("first")
    second.write("second")
    first.close()
    with pytest.raises(FileExistsError) as caught:
        second.close()
    assert (caught.value.errno, caught.value.filename) == (errno.EEXIST, "f")
    assert read(cloud, "f") == b"first"
    with pytest.raises(FileExistsError):
        cloud.open("f", "x")


def test_a_walk_goes_where_it_is_told(cloud: CloudFileProxy) -> None:
    for path in ("t/a/x/f", "t/b/f", "t/c/f"):
        write(cloud, path)
    seen = []
    errors: list[OSError] = []
    for root, folders, _ in cloud.walk("t", onerror=errors.append):
        seen.append(root)
        if root == "t":
            folders[:] = ["c", "missing", "a"]
    assert seen == ["t", "t/c", "t/a", "t/a/x"]
    assert [(type(error), error.filename) for error in errors] == [(FileNotFoundError, "t/missing")]
    assert list(cloud.walk("nowhere")) == []


# ---------------------------------------------------------------- other processes


def test_functions_use_files_on_workers(tmp_path: Path) -> None:
    config = {
        "lithops": {"storage": "localhost"},
        "localhost": {"root": str(tmp_path), "worker_processes": 1},
    }
    cloud = CloudFileProxy(CloudStorage(config))

    def count(path: str) -> int:
        with cloud.open(path) as file, cloud.open(f"copies/{path}", "w") as copy:
            return int(copy.write(file.read()))

    def size(path: str) -> int:
        return int(cloud_proxy.os.path.getsize(path))  # the configuration is the executor's

    write(cloud, "text", b"12345")
    with FunctionExecutor(config=config, log_level=None) as executor:
        assert executor.call_async(count, "text").result() == 5
        assert executor.call_async(size, "copies/text").result() == 5
    assert read(pickle.loads(pickle.dumps(cloud)), "copies/text") == b"12345"


def test_nothing_is_done_before_it_is_used(
    run_program: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = """
import sys
from lithops.storage.cloud_proxy import os, open, CloudStorage, CloudFileProxy
import pickle
copy = pickle.loads(pickle.dumps(os))
assert "yaml" not in sys.modules and "lithops.config.loader" not in sys.modules
assert os.path.join("a", "b") == "a/b"
assert "lithops.config.loader" not in sys.modules
with open("a/b", "w") as file:
    file.write("x")
assert os.listdir("") == copy.listdir("a/..") == ["a"]
config_file = CloudStorage(sys.argv[1])
assert config_file.bucket == "from-a-file"
assert CloudFileProxy(config_file).listdir("/") == []
"""
    path = tmp_path / "config.yaml"
    path.write_text("localhost:\n  storage_bucket: from-a-file\n")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run_program(program, str(path))

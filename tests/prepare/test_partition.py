"""From names to parts: which data a name selects, and what is refused."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lithops.exceptions import InvalidCall, NoSuchBucket, StorageNoSuchKeyError
from lithops.prepare.partition import partition
from lithops.storage.backends.localhost.backend import LocalhostStorage
from lithops.storage.backends.localhost.config import LocalhostStorageConfig
from lithops.storage.base import ObjectInfo, StorageBackend
from lithops.storage.cloudobject import CloudObject, CloudObjectLocal, CloudObjectUrl
from lithops.testing.memory import MemoryStorage
from lithops.wire.messages import ByteRange
from lithops.wire.parts import DataKind, DataPart

KEYS = ["a.csv", "b.txt", "logs/1.csv", "logs/2.csv", "logs/deep/3.csv", "logs/deep/x.txt", "logs-old/4.csv"]


@pytest.fixture(params=["memory", "localhost"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> StorageBackend:
    backend: StorageBackend = MemoryStorage()
    if request.param == "localhost":
        backend = LocalhostStorage(LocalhostStorageConfig(root=str(tmp_path / "storage")))
    backend.ensure_bucket("data")
    for key in KEYS:
        backend.put("data", key, key.encode())
    return backend


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "files"
    for name in ["b.txt", "a.csv", "sub/c.csv", "sub/deep/d.csv", ".hidden/e.csv", "sub/.f.csv"]:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
    return top


def keys(storage: StorageBackend, *names: Any) -> list[str]:
    return [piece.part.key for piece in partition(names, storage=storage)]


def paths(folder: Path, *names: Any) -> list[str]:
    pieces = partition(names, storage=MemoryStorage())
    return [os.path.relpath(piece.part.path, folder) for piece in pieces]


class TestObjects:
    @pytest.mark.parametrize(
        ("name", "selected"),
        [
            ("data", KEYS),
            ("data/", KEYS),
            ("data/a.csv", ["a.csv"]),
            ("data/logs/", ["logs/1.csv", "logs/2.csv", "logs/deep/3.csv", "logs/deep/x.txt"]),
            ("data/logs/*", ["logs/1.csv", "logs/2.csv"]),
            ("data/*.csv", ["a.csv"]),
            ("data/**.csv", ["a.csv", "logs-old/4.csv", "logs/1.csv", "logs/2.csv", "logs/deep/3.csv"]),
            ("data/logs/**/*.csv", ["logs/1.csv", "logs/2.csv", "logs/deep/3.csv"]),
            ("data/logs/?.csv", ["logs/1.csv", "logs/2.csv"]),
            ("data/logs*/?.csv", ["logs-old/4.csv", "logs/1.csv", "logs/2.csv"]),
        ],
    )
    def test_a_name_selects_these_keys_in_order(
        self, storage: StorageBackend, name: str, selected: list[str]
    ) -> None:
        assert keys(storage, name) == sorted(selected)
        assert keys(storage, f"{storage.name}://{name}") == sorted(selected)

    def test_a_part_says_all_that_a_worker_needs(self, storage: StorageBackend) -> None:
        [piece] = partition(["data/logs/1.csv"], storage=storage)
        info = storage.head("data", "logs/1.csv")
        assert piece.part == DataPart(
            DataKind.OBJECT,
            10,
            info.etag,
            ByteRange(0, 10),
            newline=b"\n",
            backend=storage.name,
            bucket="data",
            key="logs/1.csv",
        )
        assert pickle.loads(pickle.dumps(piece.part)) == piece.part

    def test_a_cloudobject_is_one_object_whatever_its_key(self, storage: StorageBackend) -> None:
        storage.put("data", "what*?.csv", b"")
        assert keys(storage, CloudObject(storage.name, "data", "what*?.csv")) == ["what*?.csv"]

    def test_pieces_tell_their_element_and_their_object(self, storage: StorageBackend) -> None:
        pieces = partition(["data/b.txt", "data/logs/*", "data/b.txt"], storage=storage, chunk_number=2)
        assert [(piece.element, piece.source, piece.part.part) for piece in pieces] == [
            (0, 0, 1),
            (0, 0, 2),
            (1, 1, 1),
            (1, 1, 2),
            (1, 2, 1),
            (1, 2, 2),
            (2, 0, 1),
            (2, 0, 2),
        ]

    def test_no_elements_are_no_parts(self, storage: StorageBackend) -> None:
        assert partition([], storage=storage) == []

    def test_an_empty_object_is_one_part_of_no_bytes(self, storage: StorageBackend) -> None:
        storage.put("data", "empty", b"")
        cuts: list[dict[str, Any]] = [{}, {"chunk_size": 5}, {"chunk_number": 5}]
        for cut in cuts:
            [piece] = partition(["data/empty"], storage=storage, **cut)
            assert (piece.part.byte_range, piece.part.total_parts) == (ByteRange(0, 0), 1)

    def test_what_is_no_data_of_the_users_is_left_out(self) -> None:
        storage = MemoryStorage()
        storage.ensure_bucket("data")
        for key in [
            "folder/",
            "folder/x",
            "lithops.jobs/1/status/0",
            "lithops.objects/o",
        ]:
            storage.put("data", key, b"" if key == "folder/" else b"1")
        assert keys(storage, "data") == ["folder/x", "lithops.objects/o"]
        assert keys(storage, "data/lithops.jobs/") == ["lithops.jobs/1/status/0"]

    def test_each_listing_and_head_is_made_once(self) -> None:
        asked: list[str] = []

        class Counting(MemoryStorage):
            def list(self, bucket: str, prefix: str = "", start_after: str = "") -> Iterator[ObjectInfo]:
                asked.append(f"list {prefix}")
                return super().list(bucket, prefix, start_after)

            def head(self, bucket: str, key: str) -> ObjectInfo:
                asked.append(f"head {key}")
                return super().head(bucket, key)

        storage = Counting()
        storage.ensure_bucket("data")
        for key in KEYS:
            storage.put("data", key, b"1")
        names = [
            "data/logs/",
            "data/logs/*.csv",
            "memory://data/logs/",
            "data/a.csv",
            "data/a.csv",
            "data/logs/**.txt",
        ]
        assert len(partition(names, storage=storage)) == 4 + 2 + 4 + 1 + 1 + 1
        assert sorted(asked) == ["head a.csv", "list logs/"]

    def test_many_objects_are_looked_up_at_the_same_time(self) -> None:
        together = threading.Barrier(8, timeout=30)

        class Waiting(MemoryStorage):
            def head(self, bucket: str, key: str) -> ObjectInfo:
                together.wait()
                return super().head(bucket, key)

        storage = Waiting()
        storage.ensure_bucket("data")
        names = [f"key{number}" for number in range(8)]
        for name in names:
            storage.put("data", name, b"")
        assert keys(storage, *[f"data/{name}" for name in names]) == names


class TestCuts:
    @pytest.mark.parametrize(
        ("cut", "edges"),
        [
            ({}, [0, 10]),
            ({"chunk_size": 4}, [0, 4, 8, 10]),
            ({"chunk_size": 10}, [0, 10]),
            ({"chunk_size": 11}, [0, 10]),
            ({"chunk_size": 1, "chunk_number": 3}, [0, 3, 6, 10]),
            ({"chunk_number": 4}, [0, 2, 5, 7, 10]),
            ({"chunk_number": 99}, list(range(11))),
        ],
    )
    def test_edges(self, storage: StorageBackend, cut: dict[str, Any], edges: list[int]) -> None:
        pieces = partition(["data/logs/1.csv"], storage=storage, **cut)
        ranges = [piece.part.byte_range for piece in pieces]
        assert ranges == [ByteRange(*pair) for pair in pairwise(edges)]
        assert [piece.part.chunk_size for piece in pieces] == [len(each) for each in ranges if each]

    @pytest.mark.parametrize("newline", ["\r\n", b"\r\n", None])
    def test_newline_travels_as_bytes(self, storage: StorageBackend, newline: str | bytes | None) -> None:
        [piece] = partition(["data/a.csv"], storage=storage, newline=newline)
        assert piece.part.newline == (newline and b"\r\n")

    @pytest.mark.parametrize("name", ["chunk_size", "chunk_number"])
    @pytest.mark.parametrize("value", [0, -1, 2.5, "4"])
    def test_sizes_below_one_are_refused(self, storage: StorageBackend, name: str, value: Any) -> None:
        with pytest.raises(InvalidCall, match=f"obj_{name} is {value!r}"):
            partition(["data/a.csv"], storage=storage, **{name: value})

    @pytest.mark.parametrize("newline", ["", b"", 1])
    def test_newline_has_to_be_something(self, storage: StorageBackend, newline: Any) -> None:
        with pytest.raises(InvalidCall, match="obj_newline"):
            partition(["data/a.csv"], storage=storage, newline=newline)


class TestFiles:
    def test_a_folder_is_all_its_files_in_order(self, folder: Path) -> None:
        everything = [".hidden/e.csv", "a.csv", "b.txt", "sub/.f.csv", "sub/c.csv", "sub/deep/d.csv"]
        assert paths(folder, str(folder)) == everything
        assert paths(folder, f"{folder}/") == everything
        assert paths(folder, folder) == everything
        assert paths(folder, f"file://{folder}") == everything

    @pytest.mark.parametrize(
        ("pattern", "selected"),
        [
            ("*", ["a.csv", "b.txt"]),
            ("*.csv", ["a.csv"]),
            ("*/?.csv", [".hidden/e.csv", "sub/c.csv"]),
            ("sub/*", ["sub/.f.csv", "sub/c.csv"]),
            ("sub/**", ["sub/.f.csv", "sub/c.csv", "sub/deep/d.csv"]),
            ("**/d.csv", ["sub/deep/d.csv"]),
            ("**/*.csv", [".hidden/e.csv", "a.csv", "sub/.f.csv", "sub/c.csv", "sub/deep/d.csv"]),
            ("s*/d*/?.csv", ["sub/deep/d.csv"]),
            ("s**d.csv", ["sub/deep/d.csv"]),
        ],
    )
    def test_globs(self, folder: Path, pattern: str, selected: list[str]) -> None:
        assert paths(folder, f"{folder}/{pattern}") == selected
        assert paths(folder, f"file://{folder}//{pattern}") == selected
        assert paths(folder, folder / pattern) == selected

    def test_a_glob_opens_only_folders_that_may_hold_a_match(self, folder: Path) -> None:
        secret = folder / "secret" / "below"
        secret.mkdir(parents=True)
        (secret / "loop").symlink_to("loop")
        assert paths(folder, f"{folder}/s?b/*.csv") == ["sub/.f.csv", "sub/c.csv"]
        assert paths(folder, f"{folder}/*/c.csv") == ["sub/c.csv"]
        assert paths(folder, f"{folder}/s*/*") == ["sub/.f.csv", "sub/c.csv"]

    def test_a_part_says_all_that_a_worker_needs(self, folder: Path) -> None:
        [piece] = partition([folder / "a.csv"], storage=MemoryStorage())
        status = (folder / "a.csv").stat()
        assert piece.part == DataPart(
            DataKind.PATH,
            5,
            str(status.st_mtime_ns),
            ByteRange(0, 5),
            newline=b"\n",
            path=str(folder / "a.csv"),
        )

    def test_relative_names_where_they_can_only_be_paths(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(folder)
        assert paths(folder, Path("sub/c.csv"), CloudObjectLocal("a.csv")) == ["sub/c.csv", "a.csv"]

    def test_a_cloudobject_is_one_file_whatever_its_name(self, folder: Path) -> None:
        (folder / "odd*.csv").write_text("odd")
        assert paths(folder, CloudObjectLocal(str(folder / "odd*.csv"))) == ["odd*.csv"]

    def test_a_file_url_is_unescaped(self, folder: Path) -> None:
        (folder / "with space").write_text("1")
        assert paths(folder, f"file://localhost{folder}/with%20space") == ["with space"]

    def test_links_in_a_circle_do_no_harm(self, folder: Path) -> None:
        (folder / "sub/up").symlink_to(folder)
        (folder / "sub/deep/self").symlink_to(".")
        (folder / "sub/parent").symlink_to(folder.parent)
        (folder / "aside").symlink_to(folder / "sub/deep")
        everything = [".hidden/e.csv", "a.csv", "b.txt", "sub/.f.csv", "sub/c.csv", "sub/deep/d.csv"]
        assert paths(folder, folder) == everything
        assert paths(folder, folder / "**") == everything

    def test_links_to_elsewhere_are_followed(self, folder: Path, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere/x").write_text("1")
        (folder / "link").symlink_to(tmp_path / "elsewhere")
        (folder / "file-link").symlink_to(tmp_path / "elsewhere/x")
        assert {"link/x", "file-link"} < set(paths(folder, folder))
        assert paths(folder, f"{folder}/l?nk/*") == ["link/x"]

    def test_a_link_to_nothing_is_named(self, folder: Path) -> None:
        (folder / "sub/broken").symlink_to("nothing")
        with pytest.raises(InvalidCall, match="sub/broken"):
            paths(folder, folder)

    def test_what_is_no_file_is_passed_over_or_refused(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "file").write_text("1")
        assert paths(tmp_path, tmp_path) == ["file"]
        with pytest.raises(InvalidCall, match="pipe' is neither a file nor a folder"):
            paths(tmp_path, tmp_path / "pipe")

    def test_ten_thousand_files_take_no_time(self, tmp_path: Path) -> None:
        for number in range(100):
            (tmp_path / f"{number:02}").mkdir()
        for number in range(10_000):
            os.close(os.open(f"{tmp_path}/{number % 100:02}/{number}", os.O_CREAT))
        started = time.process_time()
        pieces = partition([str(tmp_path)], storage=MemoryStorage())
        assert time.process_time() - started < 1
        assert len(pieces) == 10_000


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("data/none/", "'data/none/', element 1 .* selects nothing"),
            ("data/none*", "selects nothing"),
            ("data/LOGS/**", "selects nothing"),
            ("*/a.csv", "does not begin with a bucket"),
            ("", "does not begin with a bucket"),
            ("memory://", "does not begin with a bucket"),
            ("./a.csv", "has to be absolute"),
            ("~/a.csv", "has to be absolute"),
            ("s3://data/a.csv", "another storage .* 'memory'.*storage: aws_s3"),
            ("gs://data/a.csv", "storage='gcp_storage'"),
            ("localhost://data/a.csv", "storage='localhost'"),
            (CloudObject("aws_s3", "data", "a.csv"), "another storage .*storage: aws_s3"),
            (b"data/a.csv", r"b'data/a.csv' \(bytes\) does not name data"),
            (7, r"7 \(int\) does not name data"),
            ("file://elsewhere/a.csv", "three slashes"),
            ("http://me:secret@host/a", "'http://host/a' was given with a user name"),
        ],
    )
    def test_names_that_mean_or_select_nothing(self, name: Any, message: str) -> None:
        storage = MemoryStorage()
        storage.ensure_bucket("data")
        storage.put("data", "a.csv", b"")
        with pytest.raises(InvalidCall, match=message) as raised:
            partition(["data/a.csv", name], storage=storage)
        assert "secret" not in str(raised.value)

    def test_missing_objects_and_buckets_are_named(self, storage: StorageBackend) -> None:
        with pytest.raises(StorageNoSuchKeyError, match="'logs' in bucket 'data'"):
            partition(["data/logs"], storage=storage)
        with pytest.raises(StorageNoSuchKeyError, match="'logs/none'"):
            partition(["data/a.csv", "data/logs/none", "data/b.txt"], storage=storage)
        with pytest.raises(NoSuchBucket, match="'none'"):
            partition(["none"], storage=storage)

    def test_missing_files_are_named(self, folder: Path) -> None:
        for name in ["none.csv", "none/*.csv", "a.csv/", "nul\0"]:
            with pytest.raises(InvalidCall, match=name.split("/")[0]):
                paths(folder, f"{folder}/{name}")
        (folder / "empty").mkdir()
        for name in ["empty", "empty/", "*.parquet", "s*b"]:
            with pytest.raises(InvalidCall, match="selects nothing"):
                paths(folder, f"{folder}/{name}")

    @pytest.mark.skipif(os.getuid() == 0, reason="nothing is closed to root")
    def test_a_closed_folder_is_named(self, folder: Path) -> None:
        (folder / "sub").chmod(0)
        try:
            with pytest.raises(InvalidCall, match="files/sub' cannot be read: Permission denied"):
                paths(folder, folder)
        finally:
            (folder / "sub").chmod(0o700)

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (
                ["data/a.csv", "data/", "/etc/hosts"],
                "element 0 is the object 'data/a.csv', element 2 the path",
            ),
            (
                ["/etc/hosts", "https://host/a"],
                "element 0 is the path '/etc/hosts', element 1 the url 'https://host/a'",
            ),
            (
                [CloudObjectUrl("http://host/a?key=1"), "data"],
                r"the url 'http://host/a\?...', element 1 the object",
            ),
        ],
    )
    def test_mixed_kinds_are_refused_before_any_is_looked_up(self, names: list[Any], message: str) -> None:
        with pytest.raises(InvalidCall, match=message):
            partition(names, storage=MemoryStorage())

    def test_nothing_is_asked_of_a_server_that_is_not_there(self) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            port = bound.getsockname()[1]
            slept: list[float] = []
            with pytest.raises(Exception, match=f"http://127.0.0.1:{port}/a.* cannot be read"):
                partition([f"http://127.0.0.1:{port}/a?secret"], storage=MemoryStorage(), sleep=slept.append)
            assert len(slept) == 3


@pytest.mark.parametrize(
    ("backend", "scheme"),
    [("aws_s3", "s3"), ("minio", "s3"), ("gcp_storage", "gs"), ("azure_storage", "az"), ("ibm_cos", "cos")],
)
def test_schemes_of_clouds(backend: str, scheme: str) -> None:
    storage = MemoryStorage()
    storage.name = backend
    storage.ensure_bucket("data")
    storage.put("data", "a", b"1")
    assert keys(storage, f"{scheme}://data/a", f"{backend}://data/a", f"{scheme.upper()}://data") == [
        "a",
        "a",
        "a",
    ]

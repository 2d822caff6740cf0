"""What users do: the same promises again, through `Storage`."""

from __future__ import annotations

import io
import logging
import pickle
import random
import tempfile
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lithops.exceptions import NoSuchBucket, StorageNoSuchKeyError
from lithops.storage.client import Storage
from lithops.testing.samples import unseekable
from lithops.testing.storage_suite import StorageSuite, ordered

_TEXT = "zwölf 日本語 \U0001f389\n" * 1000


def _text_file(text: str) -> Any:
    file = tempfile.TemporaryFile("w+", encoding="utf-16")  # noqa: SIM115 - the test closes it
    file.write(text)
    file.seek(0)
    return file


def _binary_file(text: str) -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the test closes it
    file.write(text.encode())
    file.seek(0)
    return file


_BODIES: dict[str, Callable[[str], Any]] = {
    "str": str,
    "bytes": str.encode,
    "bytearray": lambda text: bytearray(text.encode()),
    "text file": _text_file,
    "text in memory": io.StringIO,
    "binary file": _binary_file,
    "binary in memory": lambda text: io.BytesIO(text.encode()),
    "pipe": lambda text: unseekable(text.encode()),
    "text through a pipe": lambda text: io.TextIOWrapper(unseekable(text.encode()), "utf-8"),
}


class StorageClient(StorageSuite):
    @pytest.mark.parametrize("kind", sorted(_BODIES))
    def test_users_store_text_bytes_and_files(self, storage: Storage, kind: str) -> None:
        for text in (_TEXT, ""):
            body = _BODIES[kind](text)
            storage.put_object(self.bucket, "body", body)
            if hasattr(body, "close"):
                body.close()
            assert storage.get_object(self.bucket, "body") == text.encode()
            with storage.get_object(self.bucket, "body", stream=True) as stream:
                assert stream.read() == text.encode()

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("bytes=0-9", slice(0, 10)),
            ("bytes=0-0", slice(0, 1)),
            ("bytes=90-200", slice(90, 100)),
            ("bytes=40-", slice(40, 100)),
            ("bytes=-30", slice(70, 100)),
            ("bytes=-100", slice(0, 100)),
            ("bytes=-5000", slice(0, 100)),
            ("bytes=-0", slice(0, 0)),
            ("bytes=100-110", slice(0, 0)),
            ("bytes=1000-", slice(0, 0)),
        ],
    )
    def test_users_read_ranges(self, storage: Storage, text: str, expected: slice) -> None:
        for data in (bytes(range(100)), b""):
            storage.put_object(self.bucket, "k", data)
            read = partial(storage.get_object, self.bucket, "k", extra_get_args={"Range": text})
            assert read() == data[expected]
            with read(stream=True) as stream:
                assert stream.read() == data[expected]

    def test_a_stream_is_a_binary_file(self, storage: Storage) -> None:
        storage.put_object(self.bucket, "lines", "one\ntwo\nthree")
        with storage.get_object(self.bucket, "lines", stream=True) as stream:
            assert stream.readline() == b"one\n"
            assert stream.read(2) == b"tw"
            assert list(stream) == [b"o\n", b"three"]
            assert stream.read() == b""
        with io.TextIOWrapper(storage.get_object(self.bucket, "lines", stream=True)) as text:
            assert text.read() == "one\ntwo\nthree"

    # ---------------------------------------------------------------- files

    def test_a_huge_file_goes_up_and_comes_down(self, storage: Storage, tmp_path: Path) -> None:
        source, copy = tmp_path / "source.bin", tmp_path / "folder" / "copy.bin"
        data = random.Random(7).randbytes(self.huge_bytes)
        source.write_bytes(data)
        assert storage.upload_file(str(source), self.bucket) is True
        assert storage.list_objects(self.bucket) == [{"Key": "source.bin", "Size": len(data)}]
        assert storage.download_file(self.bucket, "source.bin", str(copy)) is True
        assert copy.read_bytes() == data

    def test_small_files_go_up_and_come_down(self, storage: Storage, tmp_path: Path) -> None:
        source, copy = tmp_path / "source.bin", tmp_path / "copy.bin"
        for data in (b"", b"small"):
            source.write_bytes(data)
            assert storage.upload_file(str(source), self.bucket, "a key/of its own") is True
            assert storage.download_file(self.bucket, "a key/of its own", str(copy)) is True
            assert copy.read_bytes() == data

    def test_files_that_cannot_be_moved_are_false_and_a_warning(
        self, storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        source, missing = tmp_path / "source", self.bucket + "-missing"
        source.write_bytes(b"data")
        with caplog.at_level(logging.WARNING, "lithops"):
            assert storage.upload_file(str(source), missing) is False
            assert storage.upload_file(str(tmp_path / "none"), self.bucket) is False
            assert storage.download_file(self.bucket, "none", str(tmp_path / "copy")) is False
            assert storage.download_file(missing, "none", str(tmp_path / "copy")) is False
        said = [record.getMessage() for record in caplog.records if record.name.startswith("lithops")]
        assert len(said) == 4
        assert all(missing in message or self.bucket in message for message in said)
        assert sorted(tmp_path.glob("copy*")) == []

    # ---------------------------------------------------------------- what there is

    def test_users_list_with_prefixes_and_globs(self, storage: Storage) -> None:
        keys = ordered(["a.csv", "d/b.csv", "d/e/c.csv", "d/e/c.txt", "d/[x].csv", "ü +/%2B.csv"])
        for key in keys:
            storage.put_object(self.bucket, key, key)
        assert storage.list_objects(self.bucket) == [{"Key": key, "Size": len(key.encode())} for key in keys]
        assert storage.list_keys(self.bucket) == keys
        assert storage.list_keys(self.bucket, "d/e") == ["d/e/c.csv", "d/e/c.txt"]
        found = {
            "*.csv": ["a.csv"],
            "d/*": ["d/[x].csv", "d/b.csv"],
            "d/?.csv": ["d/b.csv"],
            "d/[x].csv": ["d/[x].csv"],
            "**.csv": [key for key in keys if key.endswith(".csv")],
            "d/**/c.*": ["d/e/c.csv", "d/e/c.txt"],
            "ü +/%2B.*": ["ü +/%2B.csv"],
            "none*": [],
        }
        for pattern, expected in found.items():
            listed = [each["Key"] for each in storage.list_objects(self.bucket, match_pattern=pattern)]
            assert listed == expected, pattern
        both = storage.list_objects(self.bucket, "d/e", "**.csv")
        assert both == [{"Key": "d/e/c.csv", "Size": 9}]

    def test_head_object_gives_headers(self, storage: Storage) -> None:
        storage.put_object(self.bucket, "k", b"12345")
        headers = storage.head_object(self.bucket, "k")
        info = storage.storage_handler.head(self.bucket, "k")
        assert headers["content-length"] == "5"
        assert headers["etag"] == info.etag
        modified = parsedate_to_datetime(headers["last-modified"]).timestamp()
        assert modified == pytest.approx(info.last_modified, abs=1.0)

    def test_a_missing_key_is_named_by_its_url(self, storage: Storage) -> None:
        storage.put_object(self.bucket, "there", b"")
        reads: list[Callable[[str], Any]] = [
            lambda key: storage.get_object(self.bucket, key),
            lambda key: storage.get_object(self.bucket, key, stream=True),
            lambda key: storage.get_object(self.bucket, key, extra_get_args={"Range": "bytes=0-1"}),
            lambda key: storage.get_object(self.bucket, key, extra_get_args={"Range": "bytes=-1"}),
            lambda key: storage.head_object(self.bucket, key),
        ]
        for read in reads:
            with pytest.raises(StorageNoSuchKeyError) as caught:
                read("no/such key")
            error = caught.value
            assert (error.bucket, error.key) == (self.bucket, "no/such key")
            assert f"://{self.bucket}/no/such key" in str(error)
            assert str(pickle.loads(pickle.dumps(error))) == str(error)

    def test_a_missing_bucket_through_the_client(self, storage: Storage) -> None:
        missing = self.bucket + "-missing"
        uses: list[Callable[[], Any]] = [
            lambda: storage.head_bucket(missing),
            lambda: storage.put_object(missing, "k", "x"),
            lambda: storage.get_object(missing, "k"),
            lambda: storage.get_object(missing, "k", extra_get_args={"Range": "bytes=-1"}),
            lambda: storage.head_object(missing, "k"),
            lambda: storage.list_objects(missing),
            lambda: storage.list_keys(missing),
            lambda: storage.delete_objects(missing, ["k"]),
        ]
        for use in uses:
            with pytest.raises(NoSuchBucket, match=missing):
                use()
        assert storage.head_bucket(self.bucket)["ResponseMetadata"]["HTTPStatusCode"] == 200

    def test_users_delete(self, storage: Storage) -> None:
        for key in ("a", "b", "c"):
            storage.put_object(self.bucket, key, key)
        storage.delete_object(self.bucket, "a")
        storage.delete_object(self.bucket, "a")
        storage.delete_objects(self.bucket, ["b", "missing"])
        storage.delete_objects(self.bucket, [])
        assert storage.list_keys(self.bucket) == ["c"]

    # ---------------------------------------------------------------- cloud objects

    def test_cloud_objects_are_passed_on(self, storage: Storage) -> None:
        made = [storage.put_cloudobject("one"), storage.put_cloudobject(b"two", key="chosen/key")]
        first, second = pickle.loads(pickle.dumps(made))
        assert (first.backend, first.bucket) == (storage.backend, self.bucket)
        assert second.key == "chosen/key"
        assert storage.get_cloudobject(first) == b"one"
        with storage.get_cloudobject(second, stream=True) as stream:
            assert stream.read() == b"two"
        storage.delete_cloudobject(first)
        with pytest.raises(StorageNoSuchKeyError):
            storage.get_cloudobject(first)
        storage.delete_cloudobjects(made)
        assert storage.list_keys(self.bucket) == []

"""The `obj` that a function is given: a binary file, whatever the part lies in, and not of changed data."""

from __future__ import annotations

import csv
import gzip
import io
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from lithops.exceptions import StorageError, StorageNoSuchKeyError, StorageUnavailable
from lithops.prepare.partition import partition
from lithops.storage.backends.localhost.backend import LocalhostStorage
from lithops.storage.backends.localhost.config import LocalhostStorageConfig
from lithops.storage.base import StorageBackend
from lithops.testing.memory import MemoryStorage
from lithops.wire.messages import ByteRange
from lithops.wire.parts import DataPart
from lithops.worker.data import DataObject, open_part

MIB = 1 << 20
TEXT = b"".join(b"line %d\n" % number for number in range(1000))


class Data:
    """The same content as an object of two storages, and as a file."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._folder = folder
        self._is_path = kind == "path"
        self.storage: StorageBackend = MemoryStorage()
        if kind == "localhost":
            self.storage = LocalhostStorage(LocalhostStorageConfig(root=str(folder / "storage")))
        self.storage.ensure_bucket("data")

    def write(self, name: str, body: bytes) -> None:
        if self._is_path:
            (self._folder / name).write_bytes(body)
        else:
            self.storage.put("data", name, body)

    def delete(self, name: str) -> None:
        if self._is_path:
            (self._folder / name).unlink()
        else:
            self.storage.delete("data", [name])

    def parts(self, name: str, **cut: Any) -> list[DataPart]:
        full = f"{self._folder}/{name}" if self._is_path else f"data/{name}"
        return [piece.part for piece in partition([full], storage=self.storage, **cut)]

    def open(self, part: DataPart) -> DataObject:
        return open_part(part, self.storage)


@pytest.fixture(params=["memory", "localhost", "path"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Data:
    return Data(request.param, tmp_path)


class TestReading:
    def test_parts_hold_whole_lines(self, data: Data) -> None:
        data.write("text", TEXT)
        objs = [data.open(part) for part in data.parts("text", chunk_number=7)]
        texts = [obj.data_stream.read() for obj in objs]
        assert b"".join(texts) == TEXT
        assert all(text.startswith(b"line") and text.endswith(b"\n") for text in texts)

    def test_parts_without_newline_are_exact(self, data: Data) -> None:
        data.write("text", TEXT)
        parts = data.parts("text", chunk_size=1000, newline=None)
        assert [data.open(part).data_stream.read() for part in parts] == [
            TEXT[start : start + 1000] for start in range(0, len(TEXT), 1000)
        ]

    def test_a_line_longer_than_many_parts_is_in_the_first_of_them(self, data: Data) -> None:
        long_line = b"x" * (3 * MIB) + b"\r\n"
        data.write("text", b"first\r\n" + long_line + b"last")
        parts = data.parts("text", chunk_number=9, newline="\r\n")
        lines = [data.open(part).data_stream.readlines() for part in parts]
        assert lines == [[b"first\r\n", long_line], [], [], [], [], [], [], [], [b"last"]]

    def test_an_empty_object_is_an_empty_stream(self, data: Data) -> None:
        data.write("empty", b"")
        [part] = data.parts("empty", chunk_size=5)
        obj = data.open(part)
        assert (obj.data_stream.read(), obj.data_stream.readline(), list(obj.data_stream)) == (b"", b"", [])
        assert (obj.part, obj.total_parts, obj.chunk_size, obj.data_byte_range) == (1, 1, 0, (0, -1))

    def test_a_part_in_which_no_line_starts_is_empty(self, data: Data) -> None:
        data.write("text", b"one line that goes on and on")
        first, second = data.parts("text", chunk_number=2)
        assert data.open(first).data_stream.read() == b"one line that goes on and on"
        assert data.open(second).data_stream.read() == b""

    def test_bytes_of_every_value_survive(self, data: Data) -> None:
        body = bytes(range(256)) * 50
        data.write("binary", body)
        for newline in ("\n", "\u2028", None):
            parts = data.parts("binary", chunk_size=777, newline=newline)
            assert b"".join(data.open(part).data_stream.read() for part in parts) == body


class TestStream:
    """What `data_stream` can do as a file, with lines of one byte's separator and of more."""

    @pytest.fixture(params=["\n", "\r\n", "||", None])
    def newline(self, request: pytest.FixtureRequest) -> str | None:
        newline: str | None = request.param
        return newline

    @pytest.fixture
    def stream(self, newline: str | None) -> Any:
        return self.streamed(b"one", b"two", b"", b"four", newline=newline)

    @staticmethod
    def streamed(*lines: bytes, newline: str | None) -> BinaryIO:
        storage = MemoryStorage()
        storage.ensure_bucket("data")
        storage.put("data", "text", (newline or "\n").encode().join(lines))
        [piece] = partition(["data/text"], storage=storage, newline=newline)
        return open_part(piece.part, storage).data_stream

    def test_lines(self, stream: Any, newline: str | None) -> None:
        end = (newline or "\n").encode()
        assert stream.readline() == b"one" + end
        assert stream.readline(2 + len(end)) == b"two" + end[:-1]
        assert stream.read(1) == end[-1:]
        assert next(stream) == end
        assert stream.readlines() == [b"four"]
        assert stream.readline() == b""

    def test_bytes(self, stream: Any, newline: str | None) -> None:
        end = (newline or "\n").encode()
        body = end.join([b"one", b"two", b"", b"four"])
        buffer = bytearray(5)
        assert stream.read(0) == b""
        assert stream.read(4) == body[:4]
        assert stream.readinto(buffer) == 5
        assert bytes(buffer) == body[4:9]
        assert stream.read1(100) == body[9:]
        assert stream.read() == b""
        assert (stream.readable(), stream.writable(), stream.seekable()) == (True, False, False)

    def test_closed_is_closed(self, stream: Any) -> None:
        with stream:
            pass
        assert stream.closed
        for method in (stream.read, stream.readline):
            with pytest.raises(ValueError, match="closed"):
                method()

    def test_text(self, newline: str | None) -> None:
        stream = self.streamed(
            *("Größe,1 €\n2,3".encode().split(b"\n")), newline="\n" if newline == "||" else newline
        )
        rows = list(csv.reader(io.TextIOWrapper(stream, encoding="utf-8", newline="")))
        assert rows == [["Größe", "1 €"], ["2", "3"]]

    def test_gzip(self, newline: str | None) -> None:
        packed = self.streamed(gzip.compress(TEXT), newline=newline)
        with gzip.open(packed) as unpacked:
            assert unpacked.readline() == b"line 0\n"
            assert unpacked.read() == TEXT[7:]


class TestObject:
    def test_attributes_of_an_object(self) -> None:
        storage = MemoryStorage()
        storage.ensure_bucket("data")
        storage.put("data", "a/b", TEXT[:100])
        pieces = partition(["data/a/b"], storage=storage, chunk_size=40)
        obj = open_part(pieces[2].part, storage)
        assert (obj.part, obj.total_parts, obj.chunk_size, obj.data_byte_range) == (3, 3, 20, (80, 99))
        assert (obj.bucket, obj.key, obj.url, obj.path) == ("data", "a/b", None, None)
        assert repr(obj) == "<part 3 of 3 of 'a/b' in bucket 'data'>"

    def test_attributes_of_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(b"1")
        [piece] = partition([tmp_path / "a.txt"], storage=MemoryStorage())
        obj = open_part(piece.part, MemoryStorage())
        assert (obj.path, obj.bucket, obj.key, obj.url) == (f"{tmp_path}/a.txt", str(tmp_path), "a.txt", None)

    def test_nothing_is_opened_before_it_is_read_and_all_is_closed(self) -> None:
        opened: list[BinaryIO] = []

        class Watched(MemoryStorage):
            def open(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> BinaryIO:
                opened.append(super().open(bucket, key, byte_range))
                return opened[-1]

        storage = Watched()
        storage.ensure_bucket("data")
        storage.put("data", "text", TEXT)
        [piece] = partition(["data/text"], storage=storage)
        with open_part(piece.part, storage) as obj:
            assert opened == []
            assert obj.data_stream.readline() == b"line 0\n"
            assert not opened[0].closed
        assert obj.data_stream.closed
        assert opened[0].closed

    def test_a_part_asks_for_little_more_than_its_range(self) -> None:
        asked: list[ByteRange | None] = []

        class Watched(MemoryStorage):
            def open(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> BinaryIO:
                asked.append(byte_range)
                return super().open(bucket, key, byte_range)

        storage = Watched()
        storage.ensure_bucket("data")
        storage.put("data", "text", TEXT * 1000)
        pieces = partition(["data/text"], storage=storage, chunk_size=MIB)
        assert open_part(pieces[3].part, storage).data_stream.read().startswith(b"line ")
        assert asked == [ByteRange(3 * MIB - 1, 4 * MIB + 65536)]

    def test_memory_stays_the_same_however_large_the_part(self, tmp_path: Path) -> None:
        with open(tmp_path / "large", "wb") as file:
            for _ in range(64):
                file.write(b"0123456789abcde\n" * (MIB // 16))
        [piece] = partition([tmp_path / "large"], storage=MemoryStorage())
        tracemalloc.start()
        try:
            obj = open_part(piece.part, MemoryStorage())
            assert sum(len(block) for block in iter(lambda: obj.data_stream.read(MIB), b"")) == 64 * MIB
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 6 * MIB


class TestChanges:
    @pytest.mark.parametrize("newline", ["\n", None])
    @pytest.mark.parametrize("new", [TEXT[:-1] + b"!", TEXT + b"more", b""])
    def test_data_that_changed_is_refused(self, data: Data, newline: str | None, new: bytes) -> None:
        data.write("text", TEXT)
        parts = data.parts("text", chunk_number=3, newline=newline)
        data.write("text", new)
        for part in parts:
            with pytest.raises(StorageError, match=r"text'.* changed after it was partitioned"):
                data.open(part).data_stream.read()

    def test_an_empty_object_that_grew_is_refused(self, data: Data) -> None:
        data.write("text", b"")
        [part] = data.parts("text")
        data.write("text", TEXT)
        with pytest.raises(StorageError, match="changed after it was partitioned"):
            data.open(part).data_stream.read()

    def test_data_that_was_deleted_is_named(self, data: Data) -> None:
        data.write("text", TEXT)
        [part] = data.parts("text")
        data.delete("text")
        with pytest.raises(StorageError, match="text'"):
            data.open(part).data_stream.read()

    def test_a_deleted_object_keeps_its_own_error(self) -> None:
        data = Data("memory", Path())
        data.write("text", TEXT)
        [part] = data.parts("text")
        data.delete("text")
        with pytest.raises(StorageNoSuchKeyError):
            data.open(part).data_stream.read()

    def test_a_failure_is_not_mistaken_for_the_end(self, data: Data) -> None:
        data.write("text", TEXT)
        for newline in ("\n", "||"):
            [part] = data.parts("text", newline=newline)
            data.write("text", TEXT + b"more")
            obj = data.open(part)
            for _ in range(3):
                with pytest.raises(StorageError, match="changed"):
                    obj.data_stream.read()

    def test_a_file_of_the_same_size_and_another_time_is_another(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(TEXT)
        [piece] = partition([tmp_path / "a"], storage=MemoryStorage())
        status = (tmp_path / "a").stat()
        os.utime(tmp_path / "a", ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        with pytest.raises(StorageError, match="changed"):
            open_part(piece.part, MemoryStorage()).data_stream.read()


class Breaking(MemoryStorage):
    """Streams end after `lasts` bytes without a word, and opening fails the next `failures` times."""

    lasts = 1000
    failures = 0

    def open(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> BinaryIO:
        if self.failures:
            self.failures -= 1
            raise StorageUnavailable("out of reach")
        return io.BytesIO(super().open(bucket, key, byte_range).read(self.lasts))


class TestBreaks:
    @pytest.fixture
    def storage(self) -> Breaking:
        storage = Breaking()
        storage.ensure_bucket("data")
        storage.put("data", "text", TEXT)
        return storage

    @pytest.mark.parametrize("newline", ["\n", None])
    def test_what_breaks_off_is_read_on(self, storage: Breaking, newline: str | None) -> None:
        slept: list[float] = []
        read = b""
        for piece in partition(["data/text"], storage=storage, chunk_number=2, newline=newline):
            read += open_part(piece.part, storage, sleep=slept.append).data_stream.read()
        assert read == TEXT
        assert slept
        assert set(slept) == {0.5}

    def test_three_attempts_more_are_made(self, storage: Breaking) -> None:
        storage.lasts, storage.failures = len(TEXT), 3
        [piece] = partition(["data/text"], storage=storage)
        slept: list[float] = []
        assert open_part(piece.part, storage, sleep=slept.append).data_stream.read() == TEXT
        assert slept == [0.5, 1.0, 2.0]

    def test_and_no_more(self, storage: Breaking) -> None:
        storage.failures = 4
        [piece] = partition(["data/text"], storage=storage)
        with pytest.raises(StorageUnavailable, match="out of reach"):
            open_part(piece.part, storage, sleep=lambda _: None).data_stream.read()

    def test_an_object_that_never_goes_on_is_named(self, storage: Breaking) -> None:
        storage.lasts = 0
        [piece] = partition(["data/text"], storage=storage)
        with pytest.raises(
            StorageUnavailable, match=r"'text' in bucket 'data' ended at byte 0, 8890 bytes too early"
        ):
            open_part(piece.part, storage, sleep=lambda _: None).data_stream.read()


def test_urllib_is_imported_only_for_urls() -> None:
    code = (
        "import sys, lithops.worker.data; sys.exit('urllib.request' in sys.modules or 'ssl' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

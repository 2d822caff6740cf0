"""`Storage` moves files whole or not at all, and never holds one in memory."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from lithops.storage import Storage
from lithops.testing.memory import MemoryStorage
from lithops.wire.messages import ByteRange


@pytest.fixture
def storage() -> Storage:
    return Storage.over(MemoryStorage(), "mine")


def test_files_go_up_and_come_down(storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = bytes(range(256)) * 10_000
    (tmp_path / "in.bin").write_bytes(content)
    assert storage.upload_file(str(tmp_path / "in.bin"), "mine") is True
    assert storage.upload_file("in.bin", "mine", "d/other.bin") is True
    assert storage.list_keys("mine") == ["d/other.bin", "in.bin"]
    assert storage.download_file("mine", "d/other.bin") is True
    assert (tmp_path / "d" / "other.bin").read_bytes() == content
    assert storage.download_file("mine", "in.bin", str(tmp_path / "new" / "out.bin")) is True
    assert (tmp_path / "new" / "out.bin").read_bytes() == content


def test_a_file_that_failed_is_false_and_a_warning(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "lithops"):
        assert storage.upload_file(str(tmp_path / "missing"), "mine") is False
        assert storage.download_file("mine", "missing-key", str(tmp_path / "out")) is False
    assert "missing' was not uploaded to bucket 'mine'" in caplog.messages[0]
    assert "'missing-key' of bucket 'mine' was not downloaded" in caplog.messages[1]
    assert list(tmp_path.iterdir()) == []


class Sips(io.BytesIO):
    """A file that must be read a little at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert 0 < size <= 8 << 20
        return super().read(size)


def test_files_are_never_read_whole(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[Any] = []
    monkeypatch.setattr(storage.storage_handler, "put", lambda *arguments: handed.append(arguments[2]))
    monkeypatch.setattr(storage.storage_handler, "open", lambda *_: Sips(bytes(20_000_000)))
    (tmp_path / "in").write_bytes(b"data")
    assert storage.upload_file(str(tmp_path / "in"), "mine")
    assert [type(body) for body in handed] == [io.BufferedReader]
    assert storage.download_file("mine", "k", str(tmp_path / "out"))
    assert (tmp_path / "out").read_bytes() == bytes(20_000_000)


class BreaksOff(io.BytesIO):
    """A connection that breaks once its first bytes were read."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise ConnectionResetError("broke off")
        return super().read(size)


class Wild(MemoryStorage):
    """A storage that has any key, and streams that may break off."""

    def open(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> BinaryIO:
        return BreaksOff(b"some") if key == "breaks-off" else io.BytesIO(b"some")


def test_a_download_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"kept")
    assert Storage.over(Wild()).download_file("mine", "breaks-off", str(tmp_path / "out")) is False
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"kept"]


def test_a_key_cannot_lead_a_download_out_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for key in ("../escaped", "/escaped", "a/../../escaped"):
        assert Storage.over(Wild()).download_file("mine", key) is True
        assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["here", "here/escaped"]

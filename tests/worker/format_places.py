"""The same data in every place that it can be read from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from test_urls import Page, Site

from lithops.prepare.partition import partition
from lithops.storage.backends.localhost.backend import LocalhostStorage
from lithops.storage.backends.localhost.config import LocalhostStorageConfig
from lithops.storage.base import ObjectInfo, StorageBackend
from lithops.testing.memory import MemoryStorage
from lithops.wire.messages import ByteRange
from lithops.wire.parts import DataPart
from lithops.worker.formats.base import Access
from lithops.worker.formats.registry import find_format

PLACES = ["memory", "localhost", "path", "url"]


class CountingStorage(MemoryStorage):
    """Writes down what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.ranges: list[ByteRange | None] = []

    def get(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> bytes:
        self.asked.append(f"get {key}")
        return super().get(bucket, key, byte_range)

    def open(self, bucket: str, key: str, byte_range: ByteRange | None = None) -> BinaryIO:
        stream = super().open(bucket, key, byte_range)
        self.asked[-1] = f"open {key}"
        self.ranges.append(byte_range)
        return stream

    def head(self, bucket: str, key: str) -> ObjectInfo:
        self.asked.append(f"head {key}")
        return super().head(bucket, key)

    def forget(self) -> None:
        self.asked, self.ranges = [], []


class Place:
    """Where named contents are written, and read in parts."""

    def __init__(self, kind: str, folder: Path, site: Site) -> None:
        self.kind = kind
        self._folder = folder
        self._site = site
        self.storage: StorageBackend = MemoryStorage()
        if kind == "localhost":
            self.storage = LocalhostStorage(LocalhostStorageConfig(root=str(folder / "storage")))
        self.storage.ensure_bucket("data")

    def write(self, name: str, body: bytes) -> None:
        if self.kind == "url":
            self._site.pages[f"/{name}"] = Page(body, headers={"ETag": f'"{hash(body)}"'})
        elif self.kind == "path":
            (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / name).write_bytes(body)
        else:
            self.storage.put("data", name, body)

    def write_folder(self, name: str, folder: Path) -> None:
        for file in folder.rglob("*"):
            if file.is_file():
                self.write(f"{name}/{file.relative_to(folder)}", file.read_bytes())

    def delete(self, name: str) -> None:
        if self.kind == "url":
            del self._site.pages[f"/{name}"]
        elif self.kind == "path":
            (self._folder / name).unlink()
        else:
            self.storage.delete("data", [name])

    def parts(self, name: str, format_name: str, **cut: Any) -> list[DataPart]:
        full = {"url": f"{self._site.address}/{name}", "path": f"{self._folder}/{name}"}.get(
            self.kind, f"data/{name}"
        )
        pieces = partition([full], storage=self.storage, format_name=format_name, sleep=lambda _: None, **cut)
        return [piece.part for piece in pieces]

    def open(self, part: DataPart) -> Any:
        return find_format(part.format).open(part, Access(self.storage, lambda _: None))


@contextmanager
def running_site() -> Iterator[Site]:
    with Site() as site:
        thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            site.shutdown()
            thread.join()

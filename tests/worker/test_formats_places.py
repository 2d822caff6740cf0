"""Text formats from every place: storages, files, URLs, and URLs of servers that only send the whole."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import zstandard
from format_places import PLACES, CountingStorage, Place, running_site
from test_urls import Page

from lithops.exceptions import StorageError
from lithops.prepare.partition import partition
from lithops.testing.memory import MemoryStorage
from lithops.worker.formats.registry import open_part_as

ROWS = b"".join(b"%d,name %d\n" % (number, number) for number in range(2000))
CSV = b"number,name\n" + ROWS
JSON = b"".join(b"%s\n" % json.dumps({"number": number}).encode() for number in range(2000))
CONTENTS = {
    "gzip": gzip.compress(CSV),
    "zstd": zstandard.ZstdCompressor().compress(CSV),
    "csv": CSV,
    "jsonl": JSON,
}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with running_site() as site:
        yield Place(request.param, tmp_path, site)


def whole(format_name: str, texts: list[bytes]) -> bytes:
    """The content again, from what its parts read."""
    if format_name != "csv":
        return b"".join(texts)
    assert all(text.startswith(b"number,name\n") for text in texts)
    return b"number,name\n" + b"".join(text.removeprefix(b"number,name\n") for text in texts)


@pytest.mark.parametrize("name", CONTENTS)
class TestPlaces:
    def test_parts_together_are_the_text(self, place: Place, name: str) -> None:
        place.write("x", CONTENTS[name])
        parts = place.parts("x", name, chunk_number=5)
        assert len(parts) == (5 if name in ("csv", "jsonl") else 1)
        texts = [place.open(part).data_stream.read() for part in parts]
        assert whole(name, texts) == (JSON if name == "jsonl" else CSV)

    @pytest.mark.parametrize("length", [True, False])
    def test_servers_that_only_send_the_whole(self, name: str, length: bool) -> None:
        with running_site() as site:
            site.pages["/x"] = Page(CONTENTS[name], ranges=False, length=length)
            [piece] = partition(
                [f"{site.address}/x"], storage=MemoryStorage(), format_name=name, chunk_number=5
            )
            obj: Any = open_part_as(piece.part, MemoryStorage())
            assert obj.data_stream.read() == (JSON if name == "jsonl" else CSV)

    def test_changed_data_is_refused(self, place: Place, name: str) -> None:
        place.write("x", CONTENTS[name])
        parts = place.parts("x", name, chunk_number=3)
        place.write("x", CONTENTS[name][:-1] + b"x")
        for part in parts:
            with pytest.raises(StorageError, match="changed after it was partitioned"):
                place.open(part).data_stream.read()

    @pytest.mark.parametrize("place", ["memory", "localhost", "path"], indirect=True)
    def test_a_folder_is_its_objects(self, place: Place, name: str) -> None:
        for number in range(4):
            place.write(f"folder/{number}", CONTENTS[name])
        parts = place.parts("folder/", name, chunk_number=2)
        assert len(parts) == (8 if name in ("csv", "jsonl") else 4)


def test_a_broken_line_is_found_in_every_place(place: Place) -> None:
    position = JSON.index(b"\n", 20_000) + 1
    place.write("x", JSON[:position] + b"{broken\n" + JSON[position:])
    objs = [place.open(part) for part in place.parts("x", "jsonl", chunk_size=3000)]
    with pytest.raises(StorageError, match=rf"x'.* in the line at byte {position}: .* '{{broken"):
        list(chain.from_iterable(obj.records() for obj in objs))


class TestRequests:
    """A header is looked for once for each object that is cut, and sent along."""

    @pytest.fixture
    def storage(self) -> CountingStorage:
        storage = CountingStorage()
        storage.ensure_bucket("data")
        return storage

    def test_what_is_not_cut_is_not_read(self, storage: CountingStorage) -> None:
        storage.put("data", "x", CSV)
        partition(["data/x"], storage=storage, format_name="csv", chunk_size=1 << 20)
        assert storage.asked == ["head x"]

    def test_a_header_is_read_once(self, storage: CountingStorage) -> None:
        storage.put("data", "x", CSV)
        pieces = partition(["data/x"], storage=storage, format_name="csv", chunk_number=8)
        assert storage.asked == ["head x", "open x", "head x"]
        storage.forget()
        for piece in pieces:
            with open_part_as(piece.part, storage) as obj:
                obj.data_stream.read()  # type: ignore[attr-defined]
        assert len(storage.ranges) == 8

    def test_a_long_header_is_read_by_each_part(self, storage: CountingStorage) -> None:
        header = ",".join(f"column {number}" for number in range(1000)).encode() + b"\n"
        storage.put("data", "x", header + ROWS)
        pieces = partition(["data/x"], storage=storage, format_name="csv", chunk_number=4)
        storage.forget()
        texts = []
        for piece in pieces:
            with open_part_as(piece.part, storage) as obj:
                texts.append(obj.data_stream.read())  # type: ignore[attr-defined]
        assert len(storage.ranges) == 4 + 3
        assert b"".join(text.removeprefix(header) for text in texts) == ROWS
        assert all(text.startswith(header) for text in texts)

    def test_lines_and_compressed_text_are_not_looked_into(self, storage: CountingStorage) -> None:
        for name in ("jsonl", "gzip", "zstd"):
            storage.put("data", name, CONTENTS[name])
            storage.forget()
            partition([f"data/{name}"], storage=storage, format_name=name, chunk_number=8)
            assert storage.asked == [f"head {name}"]

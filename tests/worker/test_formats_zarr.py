"""Zarr: parts are boxes of chunks, wherever the array lies, and each is read once."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from format_places import PLACES, CountingStorage, Place, running_site
from test_urls import Page

from lithops.exceptions import AccessDenied, InvalidCall, StorageError, StorageUnavailable
from lithops.prepare.partition import partition
from lithops.storage.cloudobject import CloudObject
from lithops.testing.memory import MemoryStorage
from lithops.worker.formats.registry import open_part_as

zarr = pytest.importorskip("zarr", minversion="3", reason="zarr 3 needs Python 3.11")

VALUES = np.random.default_rng(1).random((50, 30, 7), dtype="float32")
LAYOUTS: dict[str, dict[str, Any]] = {
    "2": {"zarr_format": 2},
    "3": {"zarr_format": 3},
    "shards": {"zarr_format": 3, "shards": (20, 20, 7)},
}


def write(folder: Path, values: Any = VALUES, **layout: Any) -> Path:
    layout = {"chunks": (10, 10, 7), "fill_value": 0, **layout}
    array = zarr.create_array(store=str(folder), shape=values.shape, dtype=values.dtype, **layout)
    array[...] = values
    return folder


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with running_site() as site:
        yield Place(request.param, tmp_path / "place", site)


def put_together(objs: list[Any], values: Any) -> Any:
    """The array, from its boxes; each element has to be in one."""
    read, seen = np.zeros_like(values), np.zeros(values.shape, dtype=int)
    for obj in objs:
        read[obj.selection] = obj.array()
        seen[obj.selection] += 1
    assert (seen == 1).all()
    return read


@pytest.mark.parametrize("layout", LAYOUTS)
class TestBoxes:
    @pytest.mark.parametrize("cut", [{}, {"chunk_number": 4}, {"chunk_number": 99}, {"chunk_size": 9_000}])
    def test_together_they_are_the_array(
        self, place: Place, layout: str, cut: dict[str, Any], tmp_path: Path
    ) -> None:
        place.write_folder("some/array.zarr", write(tmp_path / "array", **LAYOUTS[layout]))
        parts = place.parts("some/array.zarr/", "zarr", **cut)
        assert (put_together([place.open(part) for part in parts], VALUES) == VALUES).all()
        chunks = 6 if layout == "shards" else 15
        expected = {"chunk_number": min(cut.get("chunk_number", 1), chunks), "chunk_size": 5}
        assert len(parts) == (expected[next(iter(cut))] if cut else 1)

    def test_boxes_begin_with_a_chunk(self, place: Place, layout: str, tmp_path: Path) -> None:
        place.write_folder("array", write(tmp_path / "array", **LAYOUTS[layout]))
        step = 20 if layout == "shards" else 10
        for part in place.parts("array", "zarr", chunk_number=5):
            assert all(each.start % step == 0 for each in place.open(part).selection)

    def test_chunks_that_were_never_written(self, place: Place, layout: str, tmp_path: Path) -> None:
        values = np.full((50, 30, 7), 7, dtype="int16")
        values[:10, :10] = 1
        place.write_folder("array", write(tmp_path / "array", values, fill_value=7, **LAYOUTS[layout]))
        objs = [place.open(part) for part in place.parts("array", "zarr", chunk_number=15)]
        assert (put_together(objs, values) == values).all()

    def test_every_chunk_is_read_once(self, layout: str, tmp_path: Path) -> None:
        storage = CountingStorage()
        storage.ensure_bucket("data")
        folder = write(tmp_path / "array", **LAYOUTS[layout])
        for file in folder.rglob("*"):
            if file.is_file():
                storage.put("data", f"array/{file.relative_to(folder)}", file.read_bytes())
        pieces = partition(["data/array"], storage=storage, format_name="zarr", chunk_number=3)
        assert sorted(storage.asked) == ["get array/.zarray", "get array/.zattrs", "get array/zarr.json"]
        storage.forget()
        for piece in pieces:
            open_part_as(piece.part, storage).array()  # type: ignore[attr-defined]
        metadata = [".zarray", ".zattrs"] if layout == "2" else ["zarr.json"]
        chunks = [request for request in storage.asked if request.rpartition("/")[2] not in metadata]
        assert len(chunks) == len(set(chunks)) == (6 if layout == "shards" else 15)
        assert len(storage.asked) == len(chunks) + 3 * len(metadata)

    def test_one_number_and_nothing_at_all(self, layout: str, tmp_path: Path) -> None:
        options = {name: value for name, value in LAYOUTS[layout].items() if name != "shards"}
        for name, values in {"number": np.array(7.5), "nothing": np.zeros((0, 4))}.items():
            chunks = tuple(max(length, 1) for length in values.shape)
            folder = write(tmp_path / name, values, chunks=chunks, **options)
            [piece] = partition([folder], storage=MemoryStorage(), format_name="zarr", chunk_number=5)
            obj: Any = open_part_as(piece.part, MemoryStorage())
            assert (obj.array() == values).all()
            assert obj.array().shape == values.shape


class TestNames:
    def test_a_cloudobject_names_an_array_too(self, tmp_path: Path) -> None:
        storage = MemoryStorage()
        storage.ensure_bucket("data")
        for file in write(tmp_path / "array").rglob("*"):
            if file.is_file():
                storage.put("data", f"array/{file.relative_to(tmp_path / 'array')}", file.read_bytes())
        [piece] = partition([CloudObject("memory", "data", "array")], storage=storage, format_name="zarr")
        obj: Any = open_part_as(piece.part, storage)
        assert (obj.array() == VALUES).all()
        assert (obj.bucket, obj.key, obj.part, obj.total_parts) == ("data", "array", 1, 1)
        assert (obj.chunk_size, obj.data_byte_range) == (None, None)

    def test_a_signed_url_signs_every_key(self, tmp_path: Path) -> None:
        with running_site() as site:
            for file in write(tmp_path / "array").rglob("*"):
                if file.is_file():
                    key = file.relative_to(tmp_path / "array")
                    site.pages[f"/array/{key}?secret=1"] = Page(file.read_bytes())
            [piece] = partition(
                [f"{site.address}/array?secret=1"], storage=MemoryStorage(), format_name="zarr"
            )
            obj: Any = open_part_as(piece.part, MemoryStorage())
            assert (obj.array() == VALUES).all()

    @pytest.mark.parametrize("name", ["data/*.zarr", "data/**"])
    def test_globs_are_refused(self, name: str) -> None:
        with pytest.raises(InvalidCall, match="name every one"):
            partition([name], storage=MemoryStorage(), format_name="zarr")

    def test_globs_of_folders_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidCall, match="name every one"):
            partition([f"{tmp_path}/*.zarr"], storage=MemoryStorage(), format_name="zarr")


class TestRefusals:
    def test_no_array(self, place: Place) -> None:
        place.write("text", b"text")
        for name in ("nothing", "text"):
            with pytest.raises(StorageError, match=f"{name}'.* is no Zarr array"):
                place.parts(name, "zarr")

    def test_a_group(self, place: Place, tmp_path: Path) -> None:
        group = zarr.create_group(store=str(tmp_path / "group"))
        group.create_array("array", shape=(4,), dtype="int8")
        place.write_folder("group", tmp_path / "group")
        with pytest.raises(InvalidCall, match=r"group'.* is a Zarr group"):
            place.parts("group", "zarr")
        assert place.open(place.parts("group/array", "zarr")[0]).array().shape == (4,)

    def test_an_array_of_another_shape(self, place: Place, tmp_path: Path) -> None:
        place.write_folder("array", write(tmp_path / "array"))
        part = place.parts("array", "zarr", chunk_number=2)[1]
        place.write_folder("array", write(tmp_path / "other", VALUES[:20]))
        with pytest.raises(StorageError, match="changed after it was partitioned"):
            place.open(part).array()

    def test_an_array_that_is_gone(self, place: Place, tmp_path: Path) -> None:
        place.write_folder("array", write(tmp_path / "array"))
        [part] = place.parts("array", "zarr")
        place.delete("array/zarr.json")
        with pytest.raises(StorageError, match=r"array'.* is no Zarr array"):
            place.open(part).array()

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_a_damaged_chunk(self, place: Place, layout: str, tmp_path: Path) -> None:
        folder = write(tmp_path / "array", **LAYOUTS[layout])
        place.write_folder("array", folder)
        place.write({"2": "array/1.1.0"}.get(layout, "array/c/1/1/0"), b"\xff" * 100)
        [part] = place.parts("array", "zarr")
        with pytest.raises(StorageError, match=r"array'.* cannot be read as Zarr"):
            place.open(part).array()

    def test_what_cannot_be_read_is_no_fill_value(self, tmp_path: Path) -> None:
        class Refusing(MemoryStorage):
            refusal: StorageError | None = None

            def get(self, bucket: str, key: str, *arguments: Any) -> bytes:
                if self.refusal and "/c/" in key:
                    raise self.refusal
                return super().get(bucket, key, *arguments)

        storage = Refusing()
        storage.ensure_bucket("data")
        for file in write(tmp_path / "array").rglob("*"):
            if file.is_file():
                storage.put("data", f"array/{file.relative_to(tmp_path / 'array')}", file.read_bytes())
        [piece] = partition(["data/array"], storage=storage, format_name="zarr")
        obj: Any = open_part_as(piece.part, storage)
        for refusal in (AccessDenied("no"), StorageUnavailable("not now")):
            storage.refusal = refusal
            with pytest.raises(type(refusal), match=str(refusal)):
                obj.array()

    @pytest.mark.parametrize("status", [403, 500])
    def test_what_a_server_refuses_is_no_fill_value(self, tmp_path: Path, status: int) -> None:
        with running_site() as site:
            place = Place("url", tmp_path, site)
            place.write_folder("array", write(tmp_path / "array"))
            [part] = place.parts("array", "zarr")
            site.pages["/array/c/1/1/0"].refusals = [status] * 4
            with pytest.raises(StorageError, match=f"answers {status}"):
                place.open(part).array()

    def test_it_is_no_stream(self, tmp_path: Path) -> None:
        [piece] = partition([write(tmp_path / "array")], storage=MemoryStorage(), format_name="zarr")
        obj: Any = open_part_as(piece.part, MemoryStorage())
        with pytest.raises(AttributeError, match=r"is read by array\(\)"):
            obj.data_stream.read()
        assert prod(obj.array().shape) == VALUES.size

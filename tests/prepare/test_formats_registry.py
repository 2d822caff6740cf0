"""Formats by name: which there are, what is missing, and how things are divided."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from itertools import pairwise, product
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithops.exceptions import BackendNotInstalled, InvalidCall, StorageNoSuchKeyError
from lithops.prepare.partition import partition
from lithops.testing.memory import MemoryStorage
from lithops.wire.messages import ByteRange
from lithops.wire.parts import DataPart
from lithops.worker.data import PartObject
from lithops.worker.formats import registry
from lithops.worker.formats.base import Access, Cut, Format, boxes, cut_selections, even_edges
from lithops.worker.formats.registry import find_format, format_names, open_part_as

NAMES = ["cog", "csv", "gzip", "jsonl", "parquet", "zarr", "zstd"]
PACKAGES = {"parquet": "pyarrow", "cog": "rasterio", "zarr": "zarr", "zstd": "zstandard"}
HERE = [name for name in NAMES if name != "zarr" or sys.version_info >= (3, 11)]
"""Those that this Python can have."""


@pytest.fixture
def storage() -> MemoryStorage:
    storage = MemoryStorage()
    storage.ensure_bucket("data")
    storage.put("data", "x", b"a,b\n1,2\n3,4\n")
    return storage


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    registry._load.cache_clear()
    yield
    registry._load.cache_clear()


class TestNames:
    def test_there_are_these(self) -> None:
        assert format_names() == NAMES
        assert all(isinstance(find_format(name), Format) for name in HERE)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            (
                "parqet",
                "obj_format is 'parqet', which is no format; did you mean 'parquet'[?] known: cog, csv",
            ),
            ("CSV", "which is no format; did you mean 'csv'"),
            ("", "obj_format is '', which is no format; known"),
            (7, "obj_format is 7, which is no format; known"),
            (["csv"], r"obj_format is \['csv'\], which is no format"),
        ],
    )
    def test_an_unknown_name_is_refused_before_anything_is_looked_up(self, name: Any, message: str) -> None:
        with pytest.raises(InvalidCall, match=message):
            partition(["data/not there"], storage=MemoryStorage(), format_name=name)

    def test_data_that_is_not_there_is_said(self, storage: MemoryStorage) -> None:
        with pytest.raises(StorageNoSuchKeyError):
            partition(["data/not there"], storage=storage, format_name="csv")

    @pytest.mark.parametrize("name", HERE)
    def test_no_elements_are_no_parts(self, name: str, storage: MemoryStorage) -> None:
        assert partition([], storage=storage, format_name=name) == []


class TestPackages:
    @pytest.mark.parametrize("name", [name for name in HERE if name in PACKAGES])
    def test_a_missing_package_is_a_command(
        self, name: str, storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = PACKAGES[name]
        for module in [module for module in sys.modules if module.startswith("lithops.worker.formats.")]:
            if module != registry.__name__:
                monkeypatch.delitem(sys.modules, module)
        for module in [module for module in sys.modules if module.partition(".")[0] == package]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setattr(sys, "meta_path", [Without(package), *sys.meta_path])
        message = f"the format '{name}' needs the package '{package}.*pip install 'lithops.formats.'"
        with pytest.raises(BackendNotInstalled, match=message):
            partition(["data/x"], storage=storage, format_name=name)
        with pytest.raises(BackendNotInstalled, match=message):
            open_part_as(DataPart(**{**fields(storage), "format": name}), storage)

    def test_a_python_that_is_too_old_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))
        with pytest.raises(BackendNotInstalled, match=r"the format 'zarr' needs Python 3\.11 or newer"):
            find_format("zarr")
        assert find_format("csv") is not None

    @pytest.mark.parametrize("name", ["gzip", "csv", "jsonl"])
    def test_text_needs_nothing(self, name: str) -> None:
        program = f"""
import sys
from lithops.worker.formats.registry import find_format
find_format({name!r})
heavy = {{"pyarrow", "rasterio", "zarr", "numpy", "zstandard"}}
assert not heavy & {{module.partition(".")[0] for module in sys.modules}}
"""
        subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


class Without:
    """Finds nothing of a package, as if it were not installed."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, *_: Any) -> None:
        if name.partition(".")[0] == self._package:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


def fields(storage: MemoryStorage) -> dict[str, Any]:
    [piece] = partition(["data/x"], storage=storage)
    part = piece.part
    return {"kind": part.kind, "size": part.size, "etag": part.etag, "byte_range": part.byte_range}


class Halves(Format):
    """A third party's format: two parts, each of which is a number."""

    def cut(self, whole: DataPart, cut: Cut, _: Access, /) -> list[DataPart]:
        return cut_selections(whole, [1, 2])

    def open(self, part: DataPart, _: Access, /) -> PartObject:
        return PartObject(part)


class TestThirdParties:
    @pytest.fixture(autouse=True)
    def _installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        points = [
            EntryPoint("halves", f"{__name__}:Halves", "lithops.formats"),
            EntryPoint("broken", "not_there:Broken", "lithops.formats"),
        ]
        monkeypatch.setattr(
            "importlib.metadata.entry_points",
            lambda group: [point for point in points if point.group == group],
        )

    def test_their_formats_are_found(self, storage: MemoryStorage) -> None:
        assert format_names() == sorted([*NAMES, "broken", "halves"])
        pieces = partition(["data/x"], storage=storage, format_name="halves")
        assert [(piece.part.format, piece.part.selection, piece.part.part) for piece in pieces] == [
            ("halves", 1, 1),
            ("halves", 2, 2),
        ]
        assert repr(open_part_as(pieces[1].part, storage)) == "<part 2 of 2 of 'x' in bucket 'data'>"

    def test_what_they_need_is_named(self, storage: MemoryStorage) -> None:
        with pytest.raises(BackendNotInstalled, match="the format 'broken' needs the package 'not_there'"):
            partition(["data/x"], storage=storage, format_name="broken")


class TestParts:
    def test_a_part_of_plain_text_is_no_larger_for_formats(self, storage: MemoryStorage) -> None:
        [piece] = partition(["data/x"], storage=storage)
        assert (piece.part.format, piece.part.selection) == ("", None)
        assert len(pickle.dumps(piece.part, protocol=5)) < 250

    def test_a_part_travels_with_its_format(self, storage: MemoryStorage) -> None:
        pieces = partition(["data/x"], storage=storage, format_name="csv", chunk_number=2)
        sent = [pickle.loads(pickle.dumps(piece.part)) for piece in pieces]
        assert sent == [piece.part for piece in pieces]
        texts = [open_part_as(part, storage).data_stream.read() for part in sent]  # type: ignore[attr-defined]
        assert texts == [b"a,b\n1,2\n", b"a,b\n3,4\n"]

    def test_one_object_is_cut_once_however_often_it_is_named(
        self, storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened: list[str] = []

        def watched(bucket: str, key: str, byte_range: ByteRange | None = None) -> BinaryIO:
            opened.append(key)
            return MemoryStorage.open(storage, bucket, key, byte_range)

        monkeypatch.setattr(storage, "open", watched)
        pieces = partition(["data/x", "data/"] * 2, storage=storage, format_name="csv", chunk_number=2)
        assert [(piece.element, piece.source) for piece in pieces] == [
            (element, 0) for element in (0, 0, 1, 1, 2, 2, 3, 3)
        ]
        assert opened == ["x"]

    def test_plain_jobs_load_no_format_on_workers(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_text("1\n")
        program = f"""
import os, sys
from lithops.wire.messages import ByteRange
from lithops.wire.parts import DataKind, DataPart
from lithops.worker.fetch import _open_part
from lithops.worker.reading import file_etag
path = {str(tmp_path / "x")!r}
part = DataPart(DataKind.PATH, 2, file_etag(os.stat(path)), ByteRange(0, 2), path=path)
with _open_part({{"obj": part}}, None) as obj:
    assert obj.data_stream.read() == b"1\\n"
assert not [name for name in sys.modules if name.startswith("lithops.worker.formats")]
"""
        subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


class TestDividing:
    @given(st.lists(st.integers(1, 6), max_size=4), st.integers(1, 400))
    def test_boxes_fill_a_grid(self, grid: list[int], count: int) -> None:
        found = list(boxes(grid, count))
        cells = [cell for box in found for cell in product(*(range(*edge) for edge in box))]
        every_cell = list(product(*map(range, grid)))
        assert sorted(cells) == every_cell
        assert len(found) == min(count, len(every_cell))

    @given(st.integers(0, 1000), st.integers(1, 1000))
    def test_edges_are_even(self, length: int, count: int) -> None:
        edges = even_edges(length, count)
        sizes = {stop - start for start, stop in pairwise(edges)}
        assert (edges[0], edges[-1], len(edges) - 1) == (0, length, max(1, min(length, count)))
        assert max(sizes) - min(sizes) <= 1

    @pytest.mark.parametrize(
        ("cut", "count"), [(Cut(), 1), (Cut(100), 3), (Cut(100, 7), 7), (Cut(201), 1), (Cut(1), 201)]
    )
    def test_sizes_become_numbers(self, cut: Cut, count: int) -> None:
        assert cut.count(201) == count
        assert Cut(5).count(0) == 1

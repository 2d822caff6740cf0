"""Parquet: parts are row groups, wherever the file lies, and no more is read than they need."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from format_places import PLACES, CountingStorage, Place, running_site
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from test_urls import Page

from lithops.exceptions import InvalidCall, StorageError
from lithops.prepare.partition import partition
from lithops.testing.memory import MemoryStorage
from lithops.worker.formats.base import Cut
from lithops.worker.formats.parquet import _edges
from lithops.worker.formats.registry import open_part_as

KIB = 1024


def table(rows: int, *, columns: int = 1) -> Any:
    numbers = list(range(rows))
    return pa.table(
        {
            "number": numbers,
            "text": [f"text {number}" * 5 for number in numbers],
            "nested": [{"x": number, "y": [number] * (number % 3)} for number in numbers],
            **{f"column {index}": numbers for index in range(columns)},
        }
    )


def written(content: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    parquet.write_table(content, file, **options)
    return file.getvalue()


TABLE = table(1000)
BODY = written(TABLE, row_group_size=100, compression="none")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with running_site() as site:
        yield Place(request.param, tmp_path, site)


class TestParts:
    @pytest.mark.parametrize("cut", [{}, {"chunk_number": 3}, {"chunk_number": 50}, {"chunk_size": 30_000}])
    def test_together_they_are_the_table(self, place: Place, cut: dict[str, Any]) -> None:
        place.write("table", BODY)
        objs = [place.open(part) for part in place.parts("table", "parquet", **cut)]
        assert pa.concat_tables([obj.table() for obj in objs]).equals(TABLE)
        assert [group for obj in objs for group in obj.row_groups] == list(range(10))

    def test_some_columns(self, place: Place) -> None:
        place.write("table", BODY)
        [part] = place.parts("table", "parquet")
        read = place.open(part).table(["text", "nested.x"])
        assert read.column_names == ["text", "nested"]
        assert read.column("text").equals(TABLE.column("text"))
        assert place.open(part).table([]).num_rows == 1000

    def test_a_table_without_rows_is_one_part(self, place: Place) -> None:
        place.write("table", written(TABLE.slice(0, 0)))
        [part] = place.parts("table", "parquet", chunk_number=4)
        read = place.open(part).table()
        assert (read.num_rows, read.schema) == (0, TABLE.schema)

    def test_any_compression(self, place: Place) -> None:
        for compression in ("snappy", "zstd", "gzip"):
            place.write("table", written(TABLE, row_group_size=100, compression=compression))
            parts = place.parts("table", "parquet", chunk_number=5)
            assert pa.concat_tables([place.open(part).table() for part in parts]).equals(TABLE)

    @given(
        st.lists(st.integers(0, 100), max_size=30),
        st.none() | st.integers(1, 200),
        st.none() | st.integers(1, 40),
    )
    def test_groups_are_kept_in_order(
        self, sizes: list[int], chunk_size: int | None, number: int | None
    ) -> None:
        edges = _edges(sizes, Cut(chunk_size, number))
        assert edges == sorted(edges)
        assert (edges[0], edges[-1]) == (0, len(sizes))
        assert len(set(edges)) == len(edges) or not sizes
        if number is not None:
            assert len(edges) - 1 == max(1, min(number, len(sizes)))
        elif chunk_size is not None:
            for start, stop in pairwise(edges):
                assert sum(sizes[start:stop]) <= chunk_size or sum(map(bool, sizes[start:stop])) == 1


class TestRequests:
    @pytest.fixture
    def storage(self) -> CountingStorage:
        storage = CountingStorage()
        storage.ensure_bucket("data")
        return storage

    def test_a_footer_is_one_range_and_a_part_two(self, storage: CountingStorage) -> None:
        storage.put("data", "table", BODY)
        pieces = partition(["data/table"], storage=storage, format_name="parquet", chunk_number=5)
        assert storage.asked == ["head table", "open table", "head table"]
        storage.forget()
        assert open_part_as(pieces[2].part, storage).table().num_rows == 200  # type: ignore[attr-defined]
        assert storage.asked == ["open table", "head table"] * 2
        footer, groups = storage.ranges
        assert footer is not None
        assert groups is not None
        assert footer.stop == len(BODY)
        assert len(groups) < len(BODY) / 4

    def test_a_long_footer_is_two_ranges(self, storage: CountingStorage) -> None:
        body = written(table(40, columns=200), row_group_size=10)
        storage.put("data", "table", body)
        [piece] = partition(["data/table"], storage=storage, format_name="parquet")
        assert len(storage.ranges) == 2
        assert len(storage.ranges[1] or ()) > 64 * KIB
        assert open_part_as(piece.part, storage).table().equals(table(40, columns=200))  # type: ignore[attr-defined]

    def test_only_wanted_columns_are_read(self, storage: CountingStorage) -> None:
        big = pa.table({"small": list(range(100)), "large": [str(number) * 10_000 for number in range(100)]})
        storage.put("data", "table", written(big, compression="none", use_dictionary=False))
        [piece] = partition(["data/table"], storage=storage, format_name="parquet")
        storage.forget()
        open_part_as(piece.part, storage).table(["small"])  # type: ignore[attr-defined]
        assert sum(len(each or ()) for each in storage.ranges) < 20 * KIB


class TestRefusals:
    def test_a_changed_file(self, place: Place) -> None:
        place.write("table", BODY)
        part = place.parts("table", "parquet", chunk_number=2)[1]
        place.write("table", BODY[:-1] + b"x")
        with pytest.raises(StorageError, match="changed after it was partitioned"):
            place.open(part).table()

    @pytest.mark.parametrize(
        "body", [b"", b"PAR1", b"text " * 100, BODY[:-1], BODY[:500], b"\xff" * 9 + b"PAR1"]
    )
    def test_what_is_not_parquet(self, place: Place, body: bytes) -> None:
        place.write("table", body)
        with pytest.raises(StorageError, match=r"table'.* is not Parquet"):
            place.parts("table", "parquet")

    def test_a_damaged_footer(self, place: Place) -> None:
        place.write("table", BODY[:-300] + bytes(200) + BODY[-100:])
        with pytest.raises(StorageError, match=r"table'.* cannot be read as Parquet"):
            place.parts("table", "parquet")

    def test_a_damaged_row_group(self, place: Place) -> None:
        body = written(TABLE, compression="zstd", write_page_checksum=True)
        place.write("table", body[:100] + bytes(2000) + body[2100:])
        [part] = place.parts("table", "parquet")
        with pytest.raises(StorageError, match=r"table'.* cannot be read as Parquet"):
            place.open(part).table()

    def test_an_unknown_column(self, place: Place) -> None:
        place.write("table", BODY)
        [part] = place.parts("table", "parquet")
        with pytest.raises(InvalidCall, match=r"no column 'txt'; it has number, text, nested.x"):
            place.open(part).table(["number", "txt"])
        with pytest.raises(InvalidCall, match=r"\['text'\]"):
            place.open(part).table("text")

    def test_it_is_no_stream(self, place: Place) -> None:
        place.write("table", BODY)
        with (
            place.open(place.parts("table", "parquet")[0]) as obj,
            pytest.raises(AttributeError, match=r"is read by table\(\)"),
        ):
            obj.data_stream.read()

    def test_a_server_without_ranges(self) -> None:
        with running_site() as site:
            site.pages["/table"] = Page(BODY, ranges=False)
            with pytest.raises(InvalidCall, match="parquet, which needs a server that sends ranges"):
                partition([f"{site.address}/table"], storage=MemoryStorage(), format_name="parquet")

"""Formatted data through workers: what a map over its parts and a reducer make of it is what the whole holds."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import rasterio
import zstandard
from pyarrow import parquet

from lithops import FunctionExecutor
from lithops.exceptions import InvalidCall, StorageError

NUMBERS = list(range(3000))
LINES = [f"{number},name {number}" for number in NUMBERS]


def sum_of_rows(obj: Any) -> tuple[int, int, int]:
    rows = list(csv.DictReader(io.TextIOWrapper(obj.data_stream, encoding="utf-8", newline="")))
    return obj.total_parts, len(rows), sum(int(row["number"]) for row in rows)


def sum_of_records(obj: Any) -> tuple[int, int, int]:
    numbers = [record["number"] for record in obj.records()]
    return obj.total_parts, len(numbers), sum(numbers)


def sum_of_column(obj: Any) -> tuple[int, int, int]:
    column = obj.table(["number"]).column("number")
    return obj.total_parts, len(column), sum(column.to_pylist())


def sum_of_pixels(obj: Any) -> tuple[int, int, int]:
    pixels = obj.read(1)
    return obj.total_parts, pixels.size, int(pixels.sum(dtype="int64"))


def sum_of_elements(obj: Any) -> tuple[int, int, int]:
    values = obj.array()
    return obj.total_parts, values.size, int(values.sum(dtype="int64"))


def add_up(results: list[tuple[int, int, int]]) -> tuple[int, int, int, int]:
    return (
        len(results),
        results[0][0],
        sum(count for _, count, _ in results),
        sum(total for _, _, total in results),
    )


class TestText:
    @pytest.fixture
    def text(self) -> bytes:
        return "\n".join(["number,name", *LINES]).encode()

    @pytest.mark.parametrize("name", ["gzip", "zstd"])
    def test_compressed(self, fexec: FunctionExecutor, tmp_path: Path, text: bytes, name: str) -> None:
        packed = gzip.compress(text) if name == "gzip" else zstandard.ZstdCompressor().compress(text)
        for number in range(3):
            (tmp_path / f"{number}").write_bytes(packed)
        fexec.map_reduce(sum_of_rows, [tmp_path], add_up, obj_format=name, obj_chunk_size=1000)
        assert fexec.get_result() == (3, 1, 9000, 3 * sum(NUMBERS))

    def test_csv(self, fexec: FunctionExecutor, tmp_path: Path, text: bytes) -> None:
        (tmp_path / "x.csv").write_bytes(text)
        fexec.map_reduce(sum_of_rows, [tmp_path / "x.csv"], add_up, obj_format="csv", obj_chunk_number=5)
        assert fexec.get_result() == (5, 5, 3000, sum(NUMBERS))

    def test_csv_from_storage(self, fexec: FunctionExecutor, text: bytes) -> None:
        storage = fexec.storage
        storage.put_object(storage.bucket, "formats/x.csv", text)
        name = f"{storage.bucket}/formats/"
        fexec.map_reduce(sum_of_rows, [name], add_up, obj_format="csv", obj_chunk_size=10_000)
        calls, parts, rows, total = fexec.get_result()
        assert calls == parts > 3
        assert (rows, total) == (3000, sum(NUMBERS))

    def test_json_lines(self, fexec: FunctionExecutor, tmp_path: Path) -> None:
        (tmp_path / "x").write_text("\n".join(json.dumps({"number": number}) for number in NUMBERS))
        fexec.map_reduce(sum_of_records, [tmp_path / "x"], add_up, obj_format="jsonl", obj_chunk_number=4)
        assert fexec.get_result() == (4, 4, 3000, sum(NUMBERS))


class TestTablesAndArrays:
    def test_parquet(self, fexec: FunctionExecutor, tmp_path: Path) -> None:
        parquet.write_table(pa.table({"number": NUMBERS, "name": LINES}), tmp_path / "x", row_group_size=500)
        fexec.map_reduce(sum_of_column, [tmp_path / "x"], add_up, obj_format="parquet", obj_chunk_number=3)
        assert fexec.get_result() == (3, 3, 3000, sum(NUMBERS))

    def test_cog(self, fexec: FunctionExecutor, tmp_path: Path) -> None:
        pixels = np.arange(300 * 200, dtype="uint16").reshape(1, 300, 200)
        profile: dict[str, Any] = {
            "driver": "GTiff",
            "width": 200,
            "height": 300,
            "count": 1,
            "dtype": "uint16",
        }
        profile |= {"tiled": True, "blockxsize": 64, "blockysize": 64, "crs": "EPSG:4326"}
        profile["transform"] = rasterio.Affine(0.5, 0.0, 10.0, 0.0, -0.5, 20.0)
        with rasterio.open(tmp_path / "x.tif", "w", **profile) as image:
            image.write(pixels)
        fexec.map_reduce(sum_of_pixels, [tmp_path / "x.tif"], add_up, obj_format="cog", obj_chunk_number=6)
        assert fexec.get_result() == (6, 6, pixels.size, int(pixels.sum(dtype="int64")))

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="zarr 3 needs Python 3.11")
    def test_zarr(self, fexec: FunctionExecutor, tmp_path: Path) -> None:
        import zarr

        values = np.arange(100 * 70, dtype="int32").reshape(100, 70)
        array = zarr.create_array(str(tmp_path / "x.zarr"), shape=(100, 70), chunks=(10, 70), dtype="int32")
        array[...] = values
        fexec.map_reduce(
            sum_of_elements, [tmp_path / "x.zarr"], add_up, obj_format="zarr", obj_chunk_number=4
        )
        assert fexec.get_result() == (4, 4, values.size, int(values.sum()))


class TestRefusals:
    def test_an_unknown_format_is_refused_before_anything_is_sent(
        self, fexec: FunctionExecutor, tmp_path: Path
    ) -> None:
        before = len(fexec.futures)
        with pytest.raises(InvalidCall, match="did you mean 'parquet'"):
            fexec.map(sum_of_rows, [tmp_path], obj_format="parket")
        assert len(fexec.futures) == before

    def test_damaged_data_fails_its_call(self, fexec: FunctionExecutor, tmp_path: Path) -> None:
        (tmp_path / "x.gz").write_bytes(gzip.compress(b"number\n1\n")[:-1])
        future = fexec.map(sum_of_rows, [tmp_path / "x.gz"], obj_format="gzip")
        with pytest.raises(StorageError, match=r"x\.gz' ends in the middle of its gzip data"):
            fexec.get_result(future)

    def test_one_reducer_for_each_object(self, fexec: FunctionExecutor, tmp_path: Path) -> None:
        for number in range(2):
            (tmp_path / f"{number}.csv").write_text("\n".join(["number,name", *LINES[number:]]))
        fexec.map_reduce(
            sum_of_rows, [tmp_path], add_up, obj_format="csv", obj_chunk_number=2, obj_reduce_by_key=True
        )
        assert fexec.get_result() == [(2, 2, 3000, sum(NUMBERS)), (2, 2, 2999, sum(NUMBERS))]

"""GeoTIFF: parts are windows of whole blocks, wherever the image lies, and no more is read than they need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from format_places import PLACES, CountingStorage, Place, running_site
from rasterio.io import MemoryFile
from test_urls import Page

from lithops.exceptions import InvalidCall, StorageError, StorageUnavailable
from lithops.prepare.partition import partition
from lithops.testing.memory import MemoryStorage
from lithops.wire.messages import ByteRange
from lithops.worker.formats.cog import GeoTiffObject
from lithops.worker.formats.registry import open_part_as

# rasterio multiplies affine transforms in a way that the newest version of affine would rather see written otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

WIDTH, HEIGHT, BLOCK = 500, 300, 64
PIXELS = np.random.default_rng(1).integers(0, 255, (3, HEIGHT, WIDTH), dtype="uint8")
PLACE = rasterio.Affine(0.5, 0.0, 100.0, 0.0, -0.25, 50.0)


def image(**profile: Any) -> bytes:
    profile = {
        "driver": "GTiff", "width": WIDTH, "height": HEIGHT, "count": 3, "dtype": "uint8", "crs": "EPSG:4326",
        "transform": PLACE, "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate",
        "interleave": "pixel", **profile,
    }  # fmt: skip
    with MemoryFile() as file:
        with file.open(**profile) as dataset:
            dataset.write(PIXELS[: profile["count"]].astype(profile["dtype"]))
        return bytes(file.getbuffer())


def cog() -> bytes:
    """As GDAL's own driver writes it, with overviews."""
    with MemoryFile(image()) as source, MemoryFile() as file:
        with source.open() as dataset:
            rasterio.shutil.copy(dataset, file.name, driver="COG", blocksize=128, overview_count=2)
        return bytes(file.getbuffer())


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with running_site() as site:
        yield Place(request.param, tmp_path, site)


def put_together(objs: list[Any]) -> Any:
    """The image, from its windows; each pixel has to be in one."""
    pixels = np.zeros_like(PIXELS)
    seen = np.zeros((HEIGHT, WIDTH), dtype=int)
    for obj in objs:
        rows, columns = obj.window.toslices()
        pixels[:, rows, columns] = obj.read()
        seen[rows, columns] += 1
        obj.close()
    assert (seen == 1).all()
    return pixels


class TestWindows:
    @pytest.mark.parametrize(
        ("cut", "count"),
        [({}, 1), ({"chunk_number": 7}, 7), ({"chunk_number": 999}, 40), ({"chunk_size": 50_000}, 9)],
    )
    def test_together_they_are_the_image(self, place: Place, cut: dict[str, Any], count: int) -> None:
        place.write("image.tif", image())
        parts = place.parts("image.tif", "cog", **cut)
        assert len(parts) == count
        assert (put_together([place.open(part) for part in parts]) == PIXELS).all()

    def test_windows_begin_with_a_block(self, place: Place) -> None:
        place.write("image.tif", image())
        for part in place.parts("image.tif", "cog", chunk_number=11):
            window = place.open(part).window
            assert window.col_off % BLOCK == window.row_off % BLOCK == 0

    @pytest.mark.parametrize(
        "profile",
        [
            {"interleave": "band"},
            {"tiled": False, "blockxsize": WIDTH, "blockysize": 8},
            {"compress": None},
            {"dtype": "float64", "predictor": 1},
            {"BIGTIFF": "YES"},
        ],
    )
    def test_other_layouts(self, profile: dict[str, Any], tmp_path: Path) -> None:
        (tmp_path / "image.tif").write_bytes(image(**profile))
        pieces = partition(
            [tmp_path / "image.tif"], storage=MemoryStorage(), format_name="cog", chunk_number=6
        )
        assert len(pieces) == 6
        objs = [open_part_as(piece.part, MemoryStorage()) for piece in pieces]
        assert (put_together(objs) == PIXELS).all()

    def test_many_images_at_once(self) -> None:
        storage = MemoryStorage()
        storage.ensure_bucket("data")
        for number in range(20):
            storage.put("data", f"images/{number:02}.tif", image(count=1 + number % 3))
        pieces = partition(["data/images/"], storage=storage, format_name="cog", chunk_number=2)
        assert len(pieces) == 40
        for piece in pieces:
            with open_part_as(piece.part, storage) as obj:
                assert isinstance(obj, GeoTiffObject)
                rows, columns = obj.window.toslices()
                assert (obj.read() == PIXELS[: 1 + piece.source % 3, rows, columns]).all()

    def test_bands(self, place: Place) -> None:
        place.write("image.tif", image())
        part = place.parts("image.tif", "cog", chunk_number=4)[2]
        with place.open(part) as obj:
            rows, columns = obj.window.toslices()
            assert (obj.read(2) == PIXELS[1, rows, columns]).all()
            assert (obj.read([3, 1]) == PIXELS[[2, 0], rows, columns]).all()

    def test_the_whole_image_is_there_too(self, place: Place) -> None:
        place.write("image.tif", image())
        part = place.parts("image.tif", "cog", chunk_number=4)[2]
        with place.open(part) as obj:
            dataset = obj.open()
            assert (dataset.shape, dataset.crs.to_epsg(), dataset.transform) == ((HEIGHT, WIDTH), 4326, PLACE)
            dataset.close()
            assert (obj.open().read() == PIXELS).all()
        assert obj.open().closed is False
        obj.close()

    def test_a_window_becomes_an_image_in_its_place(self, place: Place, tmp_path: Path) -> None:
        place.write("image.tif", image())
        part = place.parts("image.tif", "cog", chunk_number=40)[17]
        with place.open(part) as obj, rasterio.open(tmp_path / "piece.tif", "w", **obj.profile()) as piece:
            piece.write(obj.read())
            expected = obj.open().window_transform(obj.window)
        with rasterio.open(tmp_path / "piece.tif") as piece:
            rows, columns = obj.window.toslices()
            assert (piece.read() == PIXELS[:, rows, columns]).all()
            assert piece.transform == expected
            assert piece.crs.to_epsg() == 4326


class TestRequests:
    def test_a_part_is_its_head_and_its_blocks(self) -> None:
        storage = CountingStorage()
        storage.ensure_bucket("data")
        noise = image(compress=None)
        storage.put("data", "image", noise)
        pieces = partition(["data/image"], storage=storage, format_name="cog", chunk_number=5)
        assert storage.asked == ["head image", "open image", "head image"]
        storage.forget()
        with open_part_as(pieces[3].part, storage) as obj:
            assert isinstance(obj, GeoTiffObject)
            obj.read()
        assert storage.asked == ["open image", "head image"] * 2
        head, blocks = storage.ranges
        assert head == ByteRange(0, 64 * 1024)
        assert len(blocks or ()) == 8 * 3 * BLOCK * BLOCK

    def test_as_the_cog_driver_writes_it(self) -> None:
        storage = CountingStorage()
        storage.ensure_bucket("data")
        storage.put("data", "image", cog())
        pieces = partition(["data/image"], storage=storage, format_name="cog", chunk_number=3)
        storage.forget()
        assert (put_together([open_part_as(piece.part, storage) for piece in pieces]) == PIXELS).all()
        assert len(storage.ranges) <= 2 * 3


class TestRefusals:
    def test_a_changed_image(self, place: Place) -> None:
        place.write("image.tif", image())
        part = place.parts("image.tif", "cog", chunk_number=2)[1]
        place.write("image.tif", image(compress=None))
        with place.open(part) as obj, pytest.raises(StorageError, match="changed after it was partitioned"):
            obj.read()
        with place.open(part) as obj, pytest.raises(StorageError, match="changed after it was partitioned"):
            obj.open()

    def test_an_image_that_changes_while_it_is_read(self) -> None:
        storage = MemoryStorage()
        storage.ensure_bucket("data")
        storage.put("data", "image", image())
        [piece] = partition(["data/image"], storage=storage, format_name="cog")
        with open_part_as(piece.part, storage) as obj:
            assert isinstance(obj, GeoTiffObject)
            obj.open()
            storage.put("data", "image", image())
            with pytest.raises(StorageError, match="changed after it was partitioned"):
                obj.read()

    def test_a_storage_out_of_reach(self) -> None:
        class Failing(MemoryStorage):
            def open(self, *_: Any) -> Any:
                raise StorageUnavailable("out of reach")

        storage = Failing()
        storage.ensure_bucket("data")
        storage.put("data", "image", image())
        with pytest.raises(StorageUnavailable, match="out of reach"):
            partition(["data/image"], storage=storage, format_name="cog", sleep=lambda _: None)

    @pytest.mark.parametrize("body", [b"", b"text " * 100, b"II*\0" + bytes(1000), image()[:200]])
    def test_what_is_no_image(self, place: Place, body: bytes) -> None:
        place.write("image.tif", body)
        with pytest.raises(StorageError, match=r"image.tif'.* cannot be read as GeoTIFF"):
            place.parts("image.tif", "cog")

    def test_an_image_that_is_not_whole(self, place: Place) -> None:
        place.write("image.tif", image()[:-20_000])
        parts = place.parts("image.tif", "cog", chunk_number=4)
        with (
            place.open(parts[-1]) as obj,
            pytest.raises(StorageError, match=r"image.tif'.* cannot be read as GeoTIFF"),
        ):
            obj.read()

    def test_it_is_no_stream(self, place: Place) -> None:
        place.write("image.tif", image())
        with (
            place.open(place.parts("image.tif", "cog")[0]) as obj,
            pytest.raises(AttributeError, match=r"is read by read\(\)"),
        ):
            obj.data_stream.read()

    def test_a_server_without_ranges(self) -> None:
        with running_site() as site:
            site.pages["/image.tif"] = Page(image(), ranges=False)
            with pytest.raises(InvalidCall, match="cog, which needs a server that sends ranges"):
                partition([f"{site.address}/image.tif"], storage=MemoryStorage(), format_name="cog")

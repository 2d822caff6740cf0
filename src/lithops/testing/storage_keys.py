"""Keys of all kinds, listings of them, what is known of an object, and many objects at once."""

from __future__ import annotations

import random
import time

import pytest

from lithops.exceptions import StorageNoSuchKeyError
from lithops.storage.base import StorageBackend, SupportsBulk
from lithops.testing.storage_suite import StorageSuite, ordered


class StorageKeys(StorageSuite):
    def test_nasty_keys_live_side_by_side(self, backend: StorageBackend) -> None:
        # The order in which keys come must not matter to what can be stored beside what.
        for keys in (self.nasty_keys, self.nasty_keys[::-1]):
            for key in keys:
                backend.put(self.bucket, key, f"body of {key}".encode())
            assert [info.key for info in backend.list(self.bucket)] == ordered(keys)
            for key in keys:
                assert backend.get(self.bucket, key) == f"body of {key}".encode()
                assert backend.head(self.bucket, key).key == key
            backend.delete(self.bucket, keys)
            assert list(backend.list(self.bucket)) == []

    def test_nasty_keys_are_found_by_prefix(self, backend: StorageBackend) -> None:
        for key in self.nasty_keys:
            backend.put(self.bucket, key, b"")
        prefixes = {key[:length] for key in self.nasty_keys for length in (0, 1, 2, 5, 61, 255, len(key))}
        for prefix in prefixes:
            expected = ordered(key for key in self.nasty_keys if key.startswith(prefix))
            assert [info.key for info in backend.list(self.bucket, prefix)] == expected, prefix

    def test_nasty_keys_are_listed_one_after_another(self, backend: StorageBackend) -> None:
        for key in self.nasty_keys:
            backend.put(self.bucket, key, b"")
        keys = ordered(self.nasty_keys)
        for position in range(0, len(keys), 3):
            after = [info.key for info in backend.list(self.bucket, "", keys[position])]
            assert after == keys[position + 1 :], keys[position]

    def test_an_object_beside_a_folder_of_its_name(self, backend: StorageBackend) -> None:
        backend.put(self.bucket, "a", b"object")
        backend.put(self.bucket, "a/b", b"below")
        backend.delete(self.bucket, ["a"])
        assert backend.get(self.bucket, "a/b") == b"below"
        with pytest.raises(StorageNoSuchKeyError):
            backend.get(self.bucket, "a")
        backend.put(self.bucket, "a", b"again")
        backend.delete(self.bucket, ["a/b"])
        assert backend.get(self.bucket, "a") == b"again"

    def test_long_listings_are_whole_and_in_order(self, backend: StorageBackend) -> None:
        keys = [f"d{number % 3}/{number:05d}" for number in range(self.listed_keys)]
        shuffled = random.Random(2).sample(keys, len(keys))
        self.in_threads(16, lambda key: backend.put(self.bucket, key, key.encode()), shuffled)
        infos = list(backend.list(self.bucket))
        assert [info.key for info in infos] == sorted(keys)
        assert {info.size for info in infos} == {8}
        for prefix in ("d1/", "d1", "d2/000", "d", "d0/00003", "e", "d1/x", "/", "d1//"):
            for start_after in ("", "d", "d1", "d1/", "d1/00004", "d1/00005", "d1/00007x", "d2/000", "zzz"):
                expected = [key for key in sorted(keys) if key.startswith(prefix) and key > start_after]
                listed = [info.key for info in backend.list(self.bucket, prefix, start_after)]
                assert listed == expected, (prefix, start_after)

    def test_deleting_very_many_and_missing_ones(self, backend: StorageBackend) -> None:
        every = [f"many/{number:04d}" for number in range(self.deleted_keys)]
        self.in_threads(16, lambda key: backend.put(self.bucket, key, b""), [*every[::2], "many/x"])
        backend.delete(self.bucket, every)
        assert [info.key for info in backend.list(self.bucket)] == ["many/x"]
        backend.delete(self.bucket, [])

    # ---------------------------------------------------------------- what is known of an object

    def test_head_tells_of_a_change(self, backend: StorageBackend) -> None:
        backend.put(self.bucket, "k", b"first")
        first = backend.head(self.bucket, "k")
        backend.put(self.bucket, "k", b"other")
        second = backend.head(self.bucket, "k")
        assert (first.key, first.size) == (second.key, second.size) == ("k", 5)
        assert first.etag != second.etag
        assert first.last_modified <= second.last_modified
        assert list(backend.list(self.bucket)) == [second]

    def test_head_and_list_tell_the_same_of_every_object(self, backend: StorageBackend) -> None:
        sizes = {"empty": 0, "small": 10, "large": self.large_bytes}
        for key, size in sizes.items():
            backend.put(self.bucket, key, bytes(size))
        infos = list(backend.list(self.bucket))
        assert {info.key: info.size for info in infos} == sizes
        assert all(info.etag for info in infos)
        assert [backend.head(self.bucket, info.key) for info in infos] == infos

    def test_an_object_is_as_old_as_it_is(self, backend: StorageBackend) -> None:
        backend.put(self.bucket, "k", b"")
        assert backend.head(self.bucket, "k").last_modified == pytest.approx(
            time.time(), abs=self.clock_skew_s
        )

    # ---------------------------------------------------------------- many at once

    def test_many_objects_are_read_at_once(self, backend: StorageBackend) -> None:
        if not isinstance(backend, SupportsBulk):
            pytest.skip("this storage reads no objects in bulk")
        keys = [f"bulk/{number:05d}" for number in range(self.bulk_keys)]
        self.in_threads(16, lambda key: backend.put(self.bucket, key, key.encode()), keys)
        shuffled = random.Random(4).sample(keys, len(keys))
        assert list(backend.get_many(self.bucket, shuffled)) == [key.encode() for key in shuffled]

    def test_of_many_objects_each_missing_one_is_told(self, backend: StorageBackend) -> None:
        if not isinstance(backend, SupportsBulk):
            pytest.skip("this storage reads no objects in bulk")
        backend.put(self.bucket, "there", b"there")
        backend.put(self.bucket, "empty", b"")
        keys = ["missing/1", "there", "there", "missing/2", "empty"]
        bodies = list(backend.get_many(self.bucket, keys))
        assert bodies[1:3] == [b"there", b"there"]
        assert bodies[4] == b""
        for position in (0, 3):
            error = bodies[position]
            assert isinstance(error, StorageNoSuchKeyError)
            assert (error.bucket, error.key) == (self.bucket, keys[position])
        assert list(backend.get_many(self.bucket, [])) == []

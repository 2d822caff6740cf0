"""The storage on Azure Blob Storage keeps every promise of a storage, on Azurite, and some of its own."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.storage.blob import (
    AccountSasPermissions,
    ContainerClient,
    ContentSettings,
    ResourceTypes,
    generate_account_sas,
)
from azurite_server import Azurite
from faulty_proxy import FaultyProxy
from requests import Session

from lithops.exceptions import AccessDenied, InvalidKey, NoSuchBucket, StorageUnavailable
from lithops.storage.backends.azure_storage import backend as backend_module
from lithops.storage.backends.azure_storage import reading, uploading
from lithops.storage.backends.azure_storage.backend import AzureStorage
from lithops.storage.backends.azure_storage.config import AzureStorageConfig
from lithops.storage.backends.azure_storage.names import check_blob
from lithops.storage.base import StorageBackend
from lithops.testing.samples import NASTY_KEYS
from lithops.testing.storage import StorageConformance
from lithops.wire.messages import ByteRange

WRONG_KEY = "d3Jvbmcga2V5"
REFUSED = {
    # Azure takes a backslash for a slash.
    "back\\slash",
    # HTTP clients take them out of a URL, and Azure drops dots at the end of a segment.
    *("./x", "a/./b", "...", "a/...", "." * 300),
    # Azure allows 254 segments.
    "/".join("n" * 500),
}


def opened(azurite: Azurite, **others: str) -> AzureStorage:
    return AzureStorage(AzureStorageConfig(**{**azurite.settings, **others}))


def read_only(azurite: Azurite) -> AzureStorage:
    """One that has a signature from the environment, for reading and listing."""
    signature = generate_account_sas(
        azurite.account_name,
        azurite.account_key,
        resource_types=ResourceTypes(service=True, container=True, object=True),
        permission=AccountSasPermissions(read=True, list=True),
        expiry=datetime.now(timezone.utc) + timedelta(hours=1),
    )
    with mock.patch.dict("os.environ", {"AZURE_STORAGE_SAS_TOKEN": f"?{signature}"}):
        return AzureStorage(
            AzureStorageConfig(endpoint=azurite.endpoint, storage_account_name=azurite.account_name)
        )


class TestAzureStorage(StorageConformance):
    # An answer of Azurite takes some milliseconds, and it gives one at a time.
    listed_keys = 300
    deleted_keys = 600
    bulk_keys = 300
    replacements = 30
    nasty_keys = tuple(key for key in NASTY_KEYS if key not in REFUSED)
    invalid_keys = (*StorageConformance.invalid_keys, "..", "../x", "a/../b", "/absolute", *sorted(REFUSED))
    invalid_buckets = (
        *StorageConformance.invalid_buckets,
        "ab",
        "Upper",
        "a--b",
        "-ab",
        "ab-",
        "a.bc",
        "a_bc",
    )

    @pytest.fixture(autouse=True)
    def _server(self, azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
        self.azurite = azurite
        monkeypatch.setattr(backend_module, "_PAGE", 70)

    def make_backend(self, tmp_path: Path) -> StorageBackend:
        return opened(self.azurite)

    def make_denied_backend(self, tmp_path: Path) -> StorageBackend:
        return read_only(self.azurite)

    def make_stranger_backend(self, tmp_path: Path) -> StorageBackend:
        return opened(self.azurite, storage_account_key=WRONG_KEY)

    def test_who_may_only_read_cannot_write(self, backend: StorageBackend, denied: StorageBackend) -> None:
        # Azurite answers batches with 500 where a signature opens it; Azure takes them.
        with mock.patch.object(backend_module, "_BATCH", 1):
            super().test_who_may_only_read_cannot_write(backend, denied)

    def credentials(self) -> Mapping[str, Any]:
        return {"storage_account_key": self.azurite.account_key}


@pytest.fixture
def proxy(azurite: Azurite) -> Iterator[FaultyProxy]:
    with FaultyProxy(azurite.endpoint.rpartition("/")[0]).running() as proxy:
        yield proxy


@pytest.fixture
def backend(azurite: Azurite, proxy: FaultyProxy) -> Iterator[AzureStorage]:
    """One whose requests the proxy counts."""
    backend = opened(azurite, endpoint=f"{proxy.endpoint}/{azurite.account_name}")
    backend.ensure_bucket("special")
    backend.delete("special", [info.key for info in backend.list("special")])
    proxy.counts.clear()
    yield backend
    backend.close()


Use = Callable[[AzureStorage], object]


@pytest.mark.parametrize(
    ("use", "requests"),
    [
        (lambda b: b.put("special", "new", b"1"), {"PUT": 1}),
        (lambda b: b.put("special", "new", io.BytesIO(b"1"), if_absent=True), {"PUT": 1}),
        (lambda b: b.get("special", "there"), {"GET": 1}),
        (lambda b: b.get("special", "empty"), {"GET": 1}),
        (lambda b: b.get("special", "there", ByteRange(1, 3)), {"GET": 1}),
        (lambda b: b.get("special", "there", ByteRange(100, 200)), {"GET": 1}),
        (lambda b: b.open("special", "there").read(), {"GET": 1}),
        (lambda b: b.head("special", "there"), {"HEAD": 1}),
        (lambda b: list(b.list("special")), {"LIST": 1}),
        (lambda b: b.delete("special", ["there"]), {"DELETE": 1}),
        (lambda b: b.delete("special", [f"k{number}" for number in range(256)]), {"POST": 1}),
        (lambda b: b.delete("special", []), {}),
        (lambda b: b.ensure_bucket("special"), {"GET": 1}),
        (lambda b: b.bucket_exists("special"), {"GET": 1}),
        (lambda b: b.get_many("special", ["there", "empty"]), {"GET": 2}),
    ],
)
def test_an_operation_makes_one_request(
    backend: AzureStorage, proxy: FaultyProxy, use: Use, requests: dict[str, int]
) -> None:
    backend.put("special", "there", b"there")
    backend.put("special", "empty", b"")
    proxy.counts.clear()
    use(backend)
    assert proxy.counts == requests


def test_a_large_body_goes_in_blocks_and_comes_in_parts(
    backend: AzureStorage, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploading, "_PIECE_BYTES", 100_000)
    monkeypatch.setattr(reading, "_WHOLE_BYTES", 300_000)
    monkeypatch.setattr(reading, "_PART_BYTES", 100_000)
    body = bytes(range(250)) * 4_000
    backend.put("special", "large", body)
    assert proxy.counts == {"PUT": 11}
    assert backend.get("special", "large") == body
    assert proxy.counts["GET"] == 1 + 7


def test_a_stream_reads_no_further_than_it_is_asked(
    backend: AzureStorage, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_FIRST_PART_BYTES", 1_000)
    monkeypatch.setattr(reading, "_PART_BYTES", 3_000)
    body = bytes(range(250)) * 40
    backend.put("special", "k", body)
    with backend.open("special", "k") as stream:
        assert stream.read(1_000) == body[:1_000]
        assert proxy.counts["GET"] == 1
        assert stream.read() == body[1_000:]
    # Parts of 1,000, 2,000, 3,000, 3,000 and what is left.
    assert proxy.counts["GET"] == 5


def test_an_object_that_is_replaced_while_it_is_streamed_is_not_mixed(
    backend: AzureStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_FIRST_PART_BYTES", 1_000)
    backend.put("special", "k", b"a" * 10_000)
    with backend.open("special", "k") as stream:
        assert stream.read(10) == b"a" * 10
        backend.put("special", "k", b"b" * 10_000)
        with pytest.raises(StorageUnavailable, match="replaced while it was read"):
            stream.read()


def test_an_object_that_is_replaced_while_it_is_read_is_read_again(
    backend: AzureStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_WHOLE_BYTES", 1_000)
    backend.put("special", "k", b"a" * 2_000)
    fetch, calls = reading._fetch_once, []

    def replacing(*arguments: Any) -> reading.Part:
        calls.append(arguments)
        part = fetch(*arguments)
        if len(calls) == 1:
            backend.put("special", "k", b"b" * 3_000)
        return part

    monkeypatch.setattr(reading, "_fetch_once", replacing)
    assert backend.get("special", "k") == b"b" * 3_000


@pytest.mark.parametrize("rival", [b"small", b"large" * 50_000], ids=["small", "large"])
def test_writers_of_one_large_object_never_mix(
    backend: AzureStorage, monkeypatch: pytest.MonkeyPatch, rival: bytes
) -> None:
    monkeypatch.setattr(uploading, "_PIECE_BYTES", 100_000)

    class Overtaken(io.BytesIO):
        """While it is read, another writer puts the same key."""

        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() == 400_000:
                backend.put("special", "k", rival)
            return super().read(size)

    own = b"a" * 600_000
    # Whoever is overtaken may find its blocks thrown away.
    with suppress(StorageUnavailable):
        backend.put("special", "k", Overtaken(own))
        rival = own
    assert backend.get("special", "k") == rival


def test_a_listing_tells_the_server_where_to_start(backend: AzureStorage) -> None:
    """Azure starts there; Azurite, which does not know it, is filtered."""
    with mock.patch.object(Session, "request", autospec=True, side_effect=Session.request) as sent:
        list(backend.list("special", "a/", "a/5"))
        list(backend.list("special", "a/", "a"))
    first, second = (parse_qs(urlsplit(call.args[2]).query) for call in sent.call_args_list)
    assert (first["prefix"], first["startFrom"]) == (["a/"], ["a/5"])
    assert "startFrom" not in second


def test_bytes_come_as_they_were_put_even_if_they_say_they_are_compressed(backend: AzureStorage) -> None:
    blob = backend.client().get_blob_client("special", "k.gz")
    blob.upload_blob(b"no gzip at all", content_settings=ContentSettings(content_encoding="gzip"))
    assert backend.get("special", "k.gz") == b"no gzip at all"
    assert backend.get_many("special", ["k.gz", "k.gz"]) == [b"no gzip at all"] * 2


def test_what_a_batch_could_not_delete_is_deleted_alone(backend: AzureStorage, proxy: FaultyProxy) -> None:
    keys = ["a", "b", "c"]
    for key in keys:
        backend.put("special", key, b"")
    busy = mock.Mock(status_code=503, headers={"x-ms-error-code": "ServerBusy"})
    with mock.patch.object(ContainerClient, "delete_blobs", return_value=[mock.Mock(status_code=202), busy]):
        backend.delete("special", keys)
    assert proxy.counts["DELETE"] == 3
    assert list(backend.list("special")) == []


def test_a_batch_in_a_missing_bucket_is_told(backend: AzureStorage) -> None:
    with pytest.raises(NoSuchBucket, match="special-missing"):
        backend.delete("special-missing", ["a", "b"])


def test_an_object_with_snapshots_can_be_deleted(backend: AzureStorage) -> None:
    for key in ("a", "b", "c"):
        backend.put("special", key, b"")
        backend.client().get_blob_client("special", key).create_snapshot()
    backend.delete("special", ["a"])
    backend.delete("special", ["b", "c"])
    assert list(backend.list("special")) == []


def test_many_threads_share_the_connections_quietly(
    backend: AzureStorage, caplog: pytest.LogCaptureFixture
) -> None:
    backend.put("special", "k", b"v")
    with caplog.at_level(logging.INFO):
        read = lambda _: backend.get("special", "k")  # noqa: E731
        TestAzureStorage().in_threads(64, read, range(200))
    assert caplog.records == []


def test_a_signature_of_the_environment_gives_its_rights_and_no_others(azurite: Azurite) -> None:
    backend = opened(azurite)
    backend.ensure_bucket("special")
    backend.put("special", "k", b"v")
    reader = read_only(azurite)
    assert reader.get_many("special", ["k", "k"]) == [b"v", b"v"]
    with pytest.raises(AccessDenied, match="signature with that right"):
        reader.delete("special", ["k"])
    assert backend.get("special", "k") == b"v"
    backend.close()
    reader.close()


@pytest.mark.parametrize(
    "key", [*sorted(REFUSED), "tab\t", "line\n", "del\x7f", "a/b./c", "\ufffe", "a/" * 254 + "b"]
)
def test_keys_that_azure_would_change_are_refused(key: str) -> None:
    with pytest.raises(InvalidKey, match="not allowed"):
        check_blob(key)

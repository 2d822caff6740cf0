"""The storage on Google Cloud Storage keeps every promise of a storage, on an emulator of Google's JSON API."""

from __future__ import annotations

import dataclasses
import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import write_service_account
from fake_gcs_server import FakeGcs
from faulty_proxy import FaultyProxy, gcs_error

from lithops import Storage
from lithops.config.loader import resolve_storage
from lithops.exceptions import AccessDenied, AlreadyExists, StorageError, StorageNoSuchKeyError
from lithops.storage import registry
from lithops.storage.backends.gcp_storage.backend import GcpStorage
from lithops.storage.backends.gcp_storage.config import GcpStorageConfig
from lithops.storage.backends.gcp_storage.connection import connect
from lithops.storage.base import StorageBackend
from lithops.testing.storage import StorageConformance
from lithops.wire.messages import ByteRange

BUCKET = "lithops-gcp-tests"


class TestGcpStorage(StorageConformance):
    # Each is a request of its own.
    deleted_keys = 500
    bulk_keys = 300
    invalid_keys = (
        *StorageConformance.invalid_keys,
        *(".", "..", "a/../b", "/absolute", "line\nbreak", "line\rbreak", ".well-known/acme-challenge/x"),
    )
    invalid_buckets = (*StorageConformance.invalid_buckets, "Capitals", "no", "127.0.0.1", "-a-b-")

    @pytest.fixture(autouse=True)
    def _server(self, fake_gcs: FakeGcs) -> None:
        self.endpoint = fake_gcs.endpoint

    def make_backend(self, tmp_path: Path) -> StorageBackend:
        return GcpStorage(GcpStorageConfig(endpoint=self.endpoint))

    def test_a_conditional_put_is_refused_while_the_object_exists(self, backend: StorageBackend) -> None:
        # Narrowed to small bodies: the emulator ignores the condition of resumable uploads, which Google holds to.
        # Theirs is tested with the uploads.
        backend.put(self.bucket, "k", b"first", if_absent=True)
        for body in (b"second", io.BytesIO(b"second"), [b"sec", b"ond"]):
            with pytest.raises(AlreadyExists, match="k"):
                backend.put(self.bucket, "k", body, if_absent=True)
        assert backend.get(self.bucket, "k") == b"first"
        backend.delete(self.bucket, ["k"])
        backend.put(self.bucket, "k", b"again", if_absent=True)
        assert backend.get(self.bucket, "k") == b"again"


# ---------------------------------------------------------------- requests


@pytest.fixture
def proxy(fake_gcs: FakeGcs) -> Iterator[FaultyProxy]:
    with FaultyProxy(fake_gcs.endpoint, errors=gcs_error).running() as proxy:
        yield proxy


@pytest.fixture
def backend(proxy: FaultyProxy) -> Iterator[GcpStorage]:
    backend = GcpStorage(GcpStorageConfig(endpoint=proxy.endpoint))
    backend.ensure_bucket(BUCKET)
    yield backend
    backend.delete(BUCKET, [info.key for info in backend.list(BUCKET)])
    backend.close()


def test_each_operation_makes_as_few_requests_as_it_can(proxy: FaultyProxy, backend: GcpStorage) -> None:
    def requests(operation: Any) -> dict[str, int]:
        proxy.counts.clear()
        operation()
        return dict(proxy.counts)

    assert requests(lambda: backend.put(BUCKET, "k", b"x" * 1_000_000)) == {"POST": 1}
    assert requests(lambda: backend.put(BUCKET, "new", b"x", if_absent=True)) == {"POST": 1}
    assert requests(lambda: backend.get(BUCKET, "k")) == {"GET": 1}
    assert requests(lambda: backend.get(BUCKET, "k", ByteRange(2, 10**12))) == {"GET": 1}
    assert requests(lambda: backend.open(BUCKET, "k").close()) == {"GET": 1}
    assert requests(lambda: backend.head(BUCKET, "k")) == {"GET": 1}
    assert requests(lambda: list(backend.list(BUCKET, "k"))) == {"LIST": 1}
    assert requests(lambda: backend.ensure_bucket(BUCKET)) == {"LIST": 1}
    assert requests(lambda: backend.bucket_exists(BUCKET)) == {"LIST": 1}
    assert requests(lambda: backend.get_many(BUCKET, ["k", "new"])) == {"GET": 2}
    assert requests(lambda: backend.delete(BUCKET, ["k", "new"])) == {"DELETE": 2}


def test_connections_are_used_again(backend: GcpStorage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="urllib3.connectionpool")
    for size in (0, 1, 100_000):
        backend.put(BUCKET, "k", b"x" * size)
        assert backend.get(BUCKET, "k") == b"x" * size
        with backend.open(BUCKET, "k") as stream:
            stream.read()
        assert backend.get(BUCKET, "k", ByteRange(1 << 40, 1 << 41)) == b""
        backend.delete(BUCKET, ["k", "missing"])
        with pytest.raises(StorageNoSuchKeyError):
            backend.get(BUCKET, "k")
    # The pools of `delete` are two threads wide, and an answer to a range that there is not may end a connection.
    assert caplog.text.count("Starting new HTTP connection") <= 2 + 3


# ---------------------------------------------------------------- configuration


def test_values_of_the_provider_hold_unless_there_are_others() -> None:
    settings = {
        "lithops": {"storage": "gcp_storage"},
        "gcp": {"project_name": "p", "region": "us-east1", "credentials_path": "~/key.json"},
        "gcp_storage": {"region": "europe-west1", "storage_bucket": "mine"},
    }
    storage = resolve_storage(settings)
    assert isinstance(storage, GcpStorage)
    assert storage.default_bucket() == "mine"
    assert storage.reference("b").options == {"project_name": "p", "region": "europe-west1"}


def test_a_reference_holds_no_path_of_this_machine(fake_gcs: FakeGcs) -> None:
    config = GcpStorageConfig(endpoint=fake_gcs.endpoint, credentials_path="/home/me/key.json")
    backend = registry.create("gcp_storage", config)
    reference = backend.reference("other")
    assert reference.options == {"endpoint": fake_gcs.endpoint}
    found = registry.from_reference(reference)
    assert isinstance(found, GcpStorage)
    assert found._config == dataclasses.replace(config, storage_bucket="other")


def test_a_storage_is_pickled_without_its_sockets(backend: GcpStorage) -> None:
    backend.put(BUCKET, "k", b"there")
    copy = pickle.loads(pickle.dumps(Storage.over(backend, BUCKET)))
    assert copy.get_object(BUCKET, "k") == b"there"
    copy.storage_handler.close()


def test_the_default_bucket_is_named_after_project_and_region() -> None:
    def name(project: str, region: str | None = None) -> str:
        return GcpStorage(GcpStorageConfig(project_name=project, region=region)).default_bucket()

    names = {name("one"), name("two"), name("one", "EU"), name("one", "us-east1"), name("google.com:one")}
    assert len(names) == 5
    assert all(each.startswith("lithops-") and len(each) < 64 and "google" not in each for each in names)
    # It holds what users stored with earlier versions: it never changes.
    assert name("one", "us-east1") == "lithops-us-east1-7692c3ad3540bb80"


def test_the_variable_of_googles_libraries_names_an_emulator(
    fake_gcs: FakeGcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", fake_gcs.endpoint)
    backend = GcpStorage(GcpStorageConfig())
    backend.ensure_bucket(BUCKET)
    backend.put(BUCKET, "k", b"there")
    assert backend.get(BUCKET, "k") == b"there"
    assert backend.client().api_endpoint == fake_gcs.endpoint
    backend.close()


# ---------------------------------------------------------------- credentials


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a machine on which nobody has logged in to Google Cloud."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "nobody"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_service_account(tmp_path_factory.mktemp("key"), "https://oauth2.googleapis.com/token")


@pytest.mark.usefixtures("no_credentials")
def test_without_credentials_the_message_says_how_to_get_some() -> None:
    backend = GcpStorage(GcpStorageConfig())
    for use in (backend.default_bucket, lambda: backend.get("bucket", "k"), backend.client):
        with pytest.raises(AccessDenied, match="gcloud auth application-default login"):
            use()


@pytest.mark.usefixtures("no_credentials")
def test_the_key_of_the_configuration_is_used(key_file: Path) -> None:
    connection = connect(GcpStorageConfig(credentials_path=str(key_file)))
    assert connection.session.credentials.service_account_email.startswith("me@")
    assert (connection.project, connection.endpoint) == (
        "project",
        "https://storage.googleapis.com",
    )
    connection.close()
    assert connect(GcpStorageConfig(credentials_path=str(key_file), project_name="p")).project == "p"


@pytest.mark.usefixtures("no_credentials")
def test_the_environments_key_is_used_where_the_configuration_has_none(
    key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key_file))
    connection = connect(GcpStorageConfig())
    assert connection.session.credentials.service_account_email.startswith("me@")
    assert connection.project == "project"
    backend = GcpStorage(GcpStorageConfig())
    assert backend.default_bucket() == GcpStorage(GcpStorageConfig(project_name="project")).default_bucket()


@pytest.mark.parametrize("content", [None, "no JSON", "{}", '{"type": "service_account"}'])
def test_a_key_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(AccessDenied, match=r"key\.json.*credentials_path"):
        GcpStorage(GcpStorageConfig(credentials_path=str(path))).get("bucket", "k")


def test_nothing_is_sent_in_the_clear_to_show_who_asks(key_file: Path) -> None:
    connection = connect(GcpStorageConfig(endpoint="http://127.0.0.1:1", credentials_path=str(key_file)))
    headers: dict[str, str] = {}
    connection.session.credentials.before_request(None, "GET", "http://127.0.0.1:1/", headers)
    assert headers == {}


def test_a_bucket_without_a_project_cannot_be_made(
    backend: GcpStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = dataclasses.replace(backend._connection(), project=None)
    monkeypatch.setattr(backend, "_connection", lambda: connection)
    with pytest.raises(StorageError, match="project_name"):
        backend.ensure_bucket("lithops-without-a-project")
    with pytest.raises(StorageError, match="storage_bucket"):
        backend.default_bucket()


# ---------------------------------------------------------------- imports


def test_the_configuration_is_read_without_the_sdk(run_program: Any) -> None:
    program = (
        # Packages may have put namespaces there before any program starts.
        "import sys; before = set(sys.modules); import lithops.storage.backends.gcp_storage.config\n"
        "loaded = sorted(set(sys.modules) - before)\n"
        "print([name for name in loaded if name.split('.')[0] in ('google', 'requests', 'urllib3')])"
    )
    assert run_program(program).stdout.strip() == "[]"

"""What goes wrong on the way to Azure is tried again, and then told: one class of error for each kind of trouble."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.storage.blob import StorageErrorCode
from azurite_server import Azurite
from faulty_proxy import Fault, FaultyProxy, azure_error
from hypothesis import given
from hypothesis import strategies as st
from server import free_ports

from lithops.exceptions import (
    AccessDenied,
    AlreadyExists,
    InvalidKey,
    NoSuchBucket,
    StorageError,
    StorageNoSuchKeyError,
    StorageUnavailable,
)
from lithops.storage import patience
from lithops.storage.backends.azure_storage.backend import AzureStorage
from lithops.storage.backends.azure_storage.config import AzureStorageConfig
from lithops.storage.backends.azure_storage.errors import Target, refusal, translate_errors

TARGET = Target("https://account.blob.core.windows.net", "box", "key")
BUCKET = Target("https://account.blob.core.windows.net", "box")


def translated(error: Exception, target: Target = TARGET) -> StorageError:
    with pytest.raises(StorageError) as caught, translate_errors(target):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


# -------------------------------------------------------------------- the mapping


@pytest.mark.parametrize(
    ("status", "code", "kind", "advice"),
    [
        (404, "BlobNotFound", StorageNoSuchKeyError, "check the name"),
        (404, "", StorageNoSuchKeyError, "check the name"),
        (404, "ContainerNotFound", NoSuchBucket, "create it"),
        (409, "BlobAlreadyExists", AlreadyExists, "without if_absent"),
        (412, "ConditionNotMet", AlreadyExists, "without if_absent"),
        (403, "AuthenticationFailed", AccessDenied, "storage_account_key"),
        (401, "InvalidAuthenticationInfo", AccessDenied, "has not expired"),
        (401, "NoAuthenticationInformation", AccessDenied, "az login"),
        (403, "AuthorizationFailure", AccessDenied, "network rules"),
        (403, "AuthorizationPermissionMismatch", AccessDenied, "Storage Blob Data Contributor"),
        (403, "KeyBasedAuthenticationNotPermitted", AccessDenied, "remove storage_account_key"),
        (403, "", AccessDenied, "storage_account_key"),
        (400, "InvalidResourceName", InvalidKey, "another name"),
        (400, "InvalidBlockList", StorageUnavailable, "put it again"),
        (400, "InvalidHeaderValue", StorageError, "version of azure-storage-blob"),
        (409, "BlobArchived", StorageError, "access tier"),
        (409, "ContainerBeingDeleted", StorageUnavailable, "in a minute"),
        (412, "LeaseIdMissing", StorageError, "leased"),
        (429, "", StorageUnavailable, "later"),
        (500, "InternalError", StorageUnavailable, "later"),
        (503, "ServerBusy", StorageUnavailable, "later"),
        (418, "Teapot", StorageError, "check"),
    ],
)
def test_an_answer_with_an_error_is_told(
    status: int, code: str, kind: type[StorageError], advice: str
) -> None:
    error = refusal(status, code, "", TARGET)
    assert type(error) is kind
    assert advice in str(error)
    assert "box" in str(error)


def test_a_missing_container_is_known_without_azures_word_for_it() -> None:
    assert isinstance(refusal(404, "", "", BUCKET), NoSuchBucket)


@given(
    status=st.integers(300, 599),
    code=st.sampled_from(["", "Unheard", *StorageErrorCode]),
    of_key=st.booleans(),
)
def test_every_answer_is_some_storage_error(status: int, code: str, of_key: bool) -> None:
    error = refusal(status, getattr(code, "value", code), "", TARGET if of_key else BUCKET)
    assert isinstance(error, StorageError)
    assert "box" in str(error)
    # Only what may pass is said to pass.
    assert status >= 500 or not isinstance(error, StorageUnavailable) or code or status in (408, 429)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ServiceRequestError("refused"), StorageUnavailable),
        (ServiceRequestTimeoutError("late"), StorageUnavailable),
        (ServiceResponseError("reset"), StorageUnavailable),
        (ServiceResponseTimeoutError("late"), StorageUnavailable),
        (IncompleteReadError("cut"), StorageUnavailable),
        (HttpResponseError("broke off"), StorageUnavailable),
        (ClientAuthenticationError("nobody knows you\nand more"), AccessDenied),
        (DecodeError("no XML"), StorageError),
        (AzureError("anything"), StorageError),
        (ValueError("anything"), StorageError),
    ],
)
def test_what_the_sdk_raises_without_an_answer_is_told(error: Exception, kind: type[StorageError]) -> None:
    told = translated(error)
    assert isinstance(told, kind)
    assert "box" in str(told)
    assert "\n" not in str(told)


def test_other_peoples_errors_pass() -> None:
    with pytest.raises(KeyError), translate_errors(TARGET):
        raise KeyError


# -------------------------------------------------------------------- the network


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_LONGEST_PAUSE_S", 0.01)


@pytest.fixture
def proxy(azurite: Azurite) -> Iterator[FaultyProxy]:
    upstream = azurite.endpoint.rpartition("/")[0]
    with FaultyProxy(upstream, seed=3, stall_s=0.05, errors=azure_error).running() as proxy:
        yield proxy


@pytest.fixture
def backend(azurite: Azurite, proxy: FaultyProxy) -> Iterator[AzureStorage]:
    settings = {**azurite.settings, "endpoint": f"{proxy.endpoint}/{azurite.account_name}"}
    backend = AzureStorage(AzureStorageConfig(**settings))
    backend.ensure_bucket("faults")
    yield backend
    proxy.heal()
    backend.delete("faults", [info.key for info in backend.list("faults")])
    backend.close()


def test_one_failure_in_five_is_never_noticed(backend: AzureStorage, proxy: FaultyProxy) -> None:
    def use(number: int) -> None:
        key, body = f"k/{number}", bytes([number]) * 10_000
        backend.put("faults", key, body, if_absent=True)
        assert backend.get("faults", key) == body
        assert backend.head("faults", key).size == 10_000
        with backend.open("faults", key) as stream:
            assert stream.read() == body

    proxy.rate = 0.2
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(30)))
    large = bytes(range(256)) * 80_000
    backend.put("faults", "large", io.BytesIO(large))
    assert backend.get("faults", "large") == large
    keys = [f"k/{number}" for number in range(30)]
    assert backend.get_many("faults", keys) == [bytes([number]) * 10_000 for number in range(30)]
    assert sorted(info.key for info in backend.list("faults", "k/")) == sorted(keys)
    backend.delete("faults", keys)
    assert [info.key for info in backend.list("faults")] == ["large"]
    assert proxy.injected.total() > 20


@pytest.mark.parametrize("body", [b"mine", io.BytesIO(bytes(9 << 20))], ids=["one request", "blocks"])
def test_a_conditional_put_whose_answer_is_lost_knows_its_own_object(
    backend: AzureStorage, proxy: FaultyProxy, no_pauses: None, body: bytes
) -> None:
    lost = iter([Fault.RESET_AFTER] * 3)
    draw = proxy.draw
    with mock.patch.object(
        proxy, "draw", lambda *request: next(lost, None) if request[0] == "PUT" else draw(*request)
    ):
        backend.put("faults", "k", body, if_absent=True)
    with pytest.raises(AlreadyExists):
        backend.put("faults", "k", b"other", if_absent=True)


def test_a_conditional_put_that_is_tried_again_can_lose(
    backend: AzureStorage, proxy: FaultyProxy, no_pauses: None
) -> None:
    backend.put("faults", "k", b"first", if_absent=True)
    fates = [Fault.RESET_BEFORE, None, None]
    with mock.patch.object(proxy, "draw", side_effect=fates), pytest.raises(AlreadyExists):
        backend.put("faults", "k", b"second", if_absent=True)
    assert backend.get("faults", "k") == b"first"


USES: list[Callable[[AzureStorage], object]] = [
    lambda backend: backend.put("faults", "k", b""),
    lambda backend: backend.put("faults", "k", io.BytesIO(bytes(9 << 20))),
    lambda backend: backend.get("faults", "k"),
    lambda backend: backend.open("faults", "k"),
    lambda backend: backend.head("faults", "k"),
    lambda backend: list(backend.list("faults")),
    lambda backend: backend.delete("faults", ["k"]),
    lambda backend: backend.delete("faults", ["k", "l"]),
    lambda backend: backend.ensure_bucket("faults"),
]


@pytest.mark.parametrize("use", USES)
def test_a_server_that_is_busy_for_ever_is_told(
    backend: AzureStorage, proxy: FaultyProxy, no_pauses: None, use: Callable[[AzureStorage], object]
) -> None:
    proxy.counts.clear()
    proxy.fail_all(503, "ServerBusy")
    with pytest.raises(StorageUnavailable, match=r"ServerBusy.*later"):
        use(backend)
    assert proxy.counts.most_common(1)[0][1] >= 8


@pytest.mark.parametrize("use", USES)
def test_a_server_that_nobody_runs_is_told(no_pauses: None, use: Callable[[AzureStorage], object]) -> None:
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}/account"
    backend = AzureStorage(AzureStorageConfig(endpoint=endpoint, storage_account_key="a2V5"))
    with pytest.raises(StorageUnavailable, match=f"{endpoint} is out of reach.*check the endpoint"):
        use(backend)
    backend.close()


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AuthenticationFailed", AccessDenied),
        (404, "ContainerNotFound", NoSuchBucket),
        (404, "BlobNotFound", StorageNoSuchKeyError),
    ],
)
def test_many_objects_have_the_errors_of_one(
    backend: AzureStorage, proxy: FaultyProxy, status: int, code: str, kind: type[StorageError]
) -> None:
    proxy.fail_all(status, code)
    with pytest.raises(kind) as alone:
        backend.get("faults", "k")
    for outcome in backend.get_many("faults", ["k", "k"]):
        assert type(outcome) is kind
        assert str(outcome) == str(alone.value)

"""Whatever S3 or its SDK says becomes one of our errors, with an advice."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError
from seaweedfs_server import SeaweedFS
from server import free_ports

from lithops import exceptions
from lithops.exceptions import AccessDenied, StorageError, StorageUnavailable
from lithops.storage import patience
from lithops.storage.backends.aws_s3.backend import S3Storage
from lithops.storage.backends.aws_s3.config import AwsS3Config
from lithops.storage.backends.aws_s3.errors import translate_errors

CODES: dict[tuple[str, int], tuple[type[StorageError], str]] = {
    ("NoSuchKey", 404): (exceptions.StorageNoSuchKeyError, "list the bucket"),
    ("404", 404): (exceptions.StorageNoSuchKeyError, "list the bucket"),
    ("NoSuchBucket", 404): (exceptions.NoSuchBucket, "create it"),
    ("NoSuchUpload", 404): (StorageError, "check"),
    ("PreconditionFailed", 412): (exceptions.AlreadyExists, "without if_absent"),
    ("412", 412): (exceptions.AlreadyExists, "without if_absent"),
    ("ConditionalRequestConflict", 409): (StorageUnavailable, "later"),
    ("OperationAborted", 409): (StorageUnavailable, "later"),
    ("AccessDenied", 403): (AccessDenied, "give this identity the right"),
    ("403", 403): (AccessDenied, "give this identity the right"),
    ("SomethingNew", 401): (AccessDenied, "give this identity the right"),
    ("InvalidAccessKeyId", 403): (AccessDenied, "check access_key_id"),
    ("SignatureDoesNotMatch", 403): (AccessDenied, "check secret_access_key"),
    ("ExpiredToken", 400): (AccessDenied, "renew"),
    ("InvalidToken", 400): (AccessDenied, "renew"),
    ("RequestTimeTooSkewed", 403): (AccessDenied, "clock"),
    ("BucketAlreadyExists", 409): (AccessDenied, "another account"),
    ("InvalidBucketName", 400): (exceptions.InvalidKey, "another name"),
    ("KeyTooLongError", 400): (exceptions.InvalidKey, "another name"),
    ("SlowDown", 503): (StorageUnavailable, "later"),
    ("InternalError", 500): (StorageUnavailable, "later"),
    ("InternalError", 200): (StorageUnavailable, "later"),
    ("RequestTimeout", 400): (StorageUnavailable, "later"),
    ("BadDigest", 400): (StorageUnavailable, "later"),
    ("502", 502): (StorageUnavailable, "later"),
    ("", 599): (StorageUnavailable, "later"),
    ("429", 429): (StorageUnavailable, "later"),
    ("PermanentRedirect", 301): (StorageError, "check"),
    ("InvalidRequest", 400): (StorageError, "check"),
    ("", 0): (StorageError, "check"),
}


def raised_from(error: Exception, key: str = "k") -> StorageError:
    with pytest.raises(StorageError) as caught, translate_errors("http://there", "b", key):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


def answer(code: str, status: int, operation: str = "GetObject") -> sdk.ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "said so"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return sdk.ClientError(response, operation)


@pytest.mark.parametrize(("code", "status"), CODES)
def test_answers(code: str, status: int) -> None:
    expected, advice = CODES[code, status]
    found = raised_from(answer(code, status))
    assert type(found) is expected
    assert "'k'" in str(found) or expected is exceptions.NoSuchBucket
    assert advice in str(found)


@pytest.mark.parametrize("status", range(300, 600))
def test_every_status_has_a_meaning(status: int) -> None:
    assert str(raised_from(answer("", status)))
    unavailable = isinstance(raised_from(answer("", status)), StorageUnavailable)
    assert unavailable == (status in (408, 429) or status >= 500)


@pytest.mark.parametrize("operation", ["PutObject", "HeadBucket", "ListObjectsV2", "UploadPart"])
def test_what_reads_no_object_misses_the_bucket(operation: str) -> None:
    assert type(raised_from(answer("404", 404, operation))) is exceptions.NoSuchBucket


@pytest.mark.parametrize(
    "cls",
    [
        cls
        for _, cls in inspect.getmembers(sdk, inspect.isclass)
        if issubclass(cls, sdk.BotoCoreError) and cls.__module__ == sdk.__name__
    ],
)
def test_every_error_of_the_sdk_becomes_one_of_ours(cls: Any) -> None:
    error: Exception = cls.__new__(cls)
    Exception.__init__(error, "it says")
    found = raised_from(error)
    broken_off = (sdk.HTTPClientError, sdk.ConnectionError, sdk.IncompleteReadError, sdk.ChecksumError)
    assert isinstance(found, StorageUnavailable) == issubclass(cls, (*broken_off, sdk.FlexibleChecksumError))
    no_credentials = (sdk.NoCredentialsError, sdk.PartialCredentialsError, sdk.ProfileNotFound, sdk.SSOError)
    if issubclass(cls, no_credentials):
        assert isinstance(found, AccessDenied)
        assert "AWS_ACCESS_KEY_ID" in str(found)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ResponseParserError("half an answer"), StorageUnavailable),
        (ConnectionResetError("reset"), StorageUnavailable),
        (TimeoutError("late"), StorageUnavailable),
        (ValueError("Invalid endpoint"), StorageError),
        (FileNotFoundError("no such certificates"), StorageError),
        (sdk.SSLError(endpoint_url="https://x", error="CERTIFICATE_VERIFY_FAILED"), StorageError),
    ],
)
def test_other_errors(error: Exception, expected: type[StorageError]) -> None:
    assert type(raised_from(error)) is expected


def test_errors_of_ours_and_of_programs_pass_through() -> None:
    with pytest.raises(exceptions.InvalidKey, match="mine"), translate_errors("http://there", "b", "k"):
        raise exceptions.InvalidKey("mine")
    with pytest.raises(ZeroDivisionError), translate_errors("http://there", "b", "k"):
        raise ZeroDivisionError


# ---------------------------------------------------------------- a real server says no


@pytest.fixture
def connect(seaweedfs: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., S3Storage]]:
    opened: list[S3Storage] = []
    monkeypatch.setattr(patience, "_FIRST_PAUSE_S", 0.001)

    def open_storage(**settings: Any) -> S3Storage:
        opened.append(S3Storage(AwsS3Config(**{**seaweedfs.settings, **settings})))
        return opened[-1]

    yield open_storage
    for storage in opened:
        storage.close()


def every_use(storage: S3Storage) -> list[Callable[[], Any]]:
    return [
        lambda: storage.put("errors", "k", b""),
        lambda: storage.get("errors", "k"),
        lambda: storage.open("errors", "k"),
        lambda: storage.head("errors", "k"),
        lambda: list(storage.list("errors")),
        lambda: storage.delete("errors", ["k"]),
        lambda: storage.delete("errors", ["k", "l"]),
        lambda: storage.bucket_exists("errors"),
        lambda: storage.ensure_bucket("errors"),
    ]


def test_a_wrong_secret(connect: Callable[..., S3Storage]) -> None:
    connect().ensure_bucket("errors")
    for use in every_use(connect(secret_access_key="wrong")):
        with pytest.raises(AccessDenied, match="check secret_access_key"):
            use()


def test_an_unknown_access_key(connect: Callable[..., S3Storage]) -> None:
    connect().ensure_bucket("errors")
    for use in every_use(connect(access_key_id="nobody")):
        with pytest.raises(AccessDenied, match="check access_key_id"):
            use()


def test_nobody_listens(connect: Callable[..., S3Storage]) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    storage = connect(endpoint=endpoint)
    for use in every_use(storage):
        with pytest.raises(StorageUnavailable, match=f"{endpoint} cannot be reached.*check the endpoint"):
            use()
    for found in storage.get_many("errors", ["k", "l"]):
        assert isinstance(found, StorageUnavailable)


def test_no_credentials_at_all(connect: Callable[..., S3Storage], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for use in every_use(connect(access_key_id=None, secret_access_key=None)):
        with pytest.raises(AccessDenied, match="AWS_ACCESS_KEY_ID"):
            use()


def test_a_missing_object_of_a_missing_bucket_is_a_missing_bucket(connect: Callable[..., S3Storage]) -> None:
    storage = connect()
    storage.ensure_bucket("errors")
    with pytest.raises(exceptions.NoSuchBucket):
        storage.head("errors-missing", "k")
    with pytest.raises(exceptions.StorageNoSuchKeyError):
        storage.head("errors", "missing")


def test_of_many_objects_each_error_is_the_one_of_a_single_read(connect: Callable[..., S3Storage]) -> None:
    storage, denied = connect(), connect(secret_access_key="wrong")
    storage.ensure_bucket("errors")
    storage.put("errors", "k", b"1")
    missing, there, invalid = storage.get_many("errors", ["missing", "k", "/k"])
    assert there == b"1"
    assert isinstance(missing, exceptions.StorageNoSuchKeyError)
    assert isinstance(invalid, exceptions.InvalidKey)
    assert all(isinstance(found, AccessDenied) for found in denied.get_many("errors", ["k", "l"]))
    assert all(isinstance(found, exceptions.NoSuchBucket) for found in storage.get_many("errors-no", ["k"]))

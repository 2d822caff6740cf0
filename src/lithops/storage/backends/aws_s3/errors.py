"""The one place where the SDK's errors become `StorageError`s."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from lithops.exceptions import (
    AccessDenied,
    InvalidKey,
    StorageError,
    StorageNoSuchKeyError,
    StorageUnavailable,
)
from lithops.storage.errors import already_exists, called, no_bucket

_NO_KEY_ID = "no account has this access key: check access_key_id, and that the endpoint is the account's own"
_WRONG_SECRET = "the secret does not belong to the access key: check secret_access_key"
_EXPIRED = (
    "the credentials are no longer valid: renew them, for example with 'aws sso login', and start again"
)
_NO_RIGHTS = (
    "give this identity the right to use the bucket (s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject), "
    "or take a bucket that is yours"
)
_CLOCK = "this machine's clock is wrong: set it"
_NO_CREDENTIALS = (
    "set access_key_id and secret_access_key in the configuration, or the environment variables "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run 'aws configure'"
)

_DENIED = {
    "InvalidAccessKeyId": _NO_KEY_ID,
    "InvalidClientTokenId": _NO_KEY_ID,
    "UnrecognizedClientException": _NO_KEY_ID,
    "SignatureDoesNotMatch": _WRONG_SECRET,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "InvalidToken": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestExpired": _CLOCK,
    "BucketAlreadyExists": "the name belongs to another account: take another one",
}
"""What to do, by the code of an error that means: not you, or not so. Every other 401 and 403 is one of rights."""

_TRY_AGAIN = {
    "BadDigest",
    "BandwidthLimitExceeded",
    "ConditionalRequestConflict",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "XAmzContentChecksumMismatch",
}
"""Codes that mean so whatever the status beside them is; 408, 429 and 5xx mean it whatever the code is."""

_READS = {"GetObject", "HeadObject"}
"""What may miss a key. Everything else only misses buckets."""

_BAD_NAMES = {"InvalidBucketName", "InvalidURI", "KeyTooLongError"}

_NOT_FOUND_CREDENTIALS = (
    sdk.CredentialRetrievalError,
    sdk.LoginError,
    sdk.MetadataRetrievalError,
    sdk.NoAuthTokenError,
    sdk.NoCredentialsError,
    sdk.PartialCredentialsError,
    sdk.ProfileNotFound,
    sdk.RefreshWithMFAUnsupportedError,
    sdk.SSOError,
    sdk.TokenRetrievalError,
    sdk.UnknownCredentialError,
)
_BROKEN_OFF = (
    ResponseParserError,
    sdk.ChecksumError,
    sdk.ConnectionError,
    sdk.FlexibleChecksumError,
    sdk.HTTPClientError,
    sdk.IncompleteReadError,
)


@contextmanager
def translate_errors(endpoint: str, bucket: str, key: str = "") -> Iterator[None]:
    """`key` is empty where the bucket itself is meant, and `bucket` where it is all of the storage."""
    try:
        yield
    except (sdk.BotoCoreError, sdk.ClientError, ResponseParserError, OSError, ValueError) as error:
        raise translated(error, endpoint, bucket, key) from error


def translated(error: Exception, endpoint: str, bucket: str, key: str) -> StorageError:
    """What an error of the SDK means."""
    what = called(bucket, key) if bucket else f"the storage at {endpoint}"
    if isinstance(error, StorageError):  # InvalidKey is a ValueError too
        return error
    if isinstance(error, sdk.ClientError):
        return _of_answer(error, what, endpoint, bucket, key)
    if isinstance(error, _NOT_FOUND_CREDENTIALS):
        return AccessDenied(f"{what}: there are no credentials to use: {error}; {_NO_CREDENTIALS}")
    if isinstance(error, sdk.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return StorageError(
            f"{what}: the certificate of {endpoint} cannot be trusted: {error}; "
            "check the endpoint, or name the file of your own authority in AWS_CA_BUNDLE"
        )
    if isinstance(error, _BROKEN_OFF) or (
        isinstance(error, OSError) and not isinstance(error, FileNotFoundError)
    ):
        return StorageUnavailable(
            f"{what}: {endpoint} cannot be reached, or broke off: {error}; check the endpoint, or try again later"
        )
    if isinstance(error, UnicodeError):
        return InvalidKey(f"{what}: {error}; take a name that is valid Unicode text")
    return StorageError(f"{what}: {error}; check the configuration of the storage at {endpoint}")


def code_of(error: sdk.ClientError) -> str:
    """What the service calls the error. Answers to HEAD have the number of their status only."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: sdk.ClientError) -> int:
    """The answer's HTTP status; 0 where it has none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def of_entry(entry: dict[str, Any]) -> sdk.ClientError:
    """An error of one key in the answer to a request for many, as the SDK would raise it for a request of its own."""
    return sdk.ClientError({"Error": entry, "ResponseMetadata": {}}, "DeleteObjects")


def _of_answer(error: sdk.ClientError, what: str, endpoint: str, bucket: str, key: str) -> StorageError:
    code, status = code_of(error), status_of(error)
    nothing_said = status == 404 and code in ("404", "NotFound", "")
    if code == "NoSuchKey" or (nothing_said and error.operation_name in _READS):
        return StorageNoSuchKeyError(bucket, key)
    if code == "NoSuchBucket" or nothing_said:
        return no_bucket(bucket)
    if code == "PreconditionFailed" or status == 412:
        return already_exists(bucket, key)
    if code in _BAD_NAMES:
        return InvalidKey(f"{what}: {error}; take another name")
    if code in _TRY_AGAIN or status in (408, 429) or status >= 500:
        return StorageUnavailable(
            f"{what}: {endpoint} is overloaded or out of order: {error}; try again later"
        )
    if code in _DENIED or code in ("AccessDenied", "AllAccessDisabled") or status in (401, 403):
        return AccessDenied(f"{what}: {error}; {_DENIED.get(code, _NO_RIGHTS)}")
    return StorageError(f"{what}: {error}; check that {endpoint} is where the bucket is")

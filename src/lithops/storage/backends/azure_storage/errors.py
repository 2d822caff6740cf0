"""The one place where Azure's errors become `StorageError`s."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
)

from lithops.exceptions import (
    AccessDenied,
    AlreadyExists,
    InvalidKey,
    NoSuchBucket,
    StorageError,
    StorageNoSuchKeyError,
    StorageUnavailable,
)

_Kind = Callable[[str], StorageError]

_ROLE = "give the identity the role 'Storage Blob Data Contributor'"
_SECRET = "check storage_account_key, that a signature or token has not expired, and this machine's clock"
_BY_CODE: dict[str, tuple[_Kind, str]] = {
    "BlobAlreadyExists": (AlreadyExists, "put without if_absent to replace it"),
    "ConditionNotMet": (AlreadyExists, "put without if_absent to replace it"),
    "AuthenticationFailed": (AccessDenied, _SECRET),
    "InvalidAuthenticationInfo": (AccessDenied, _SECRET),
    "NoAuthenticationInformation": (AccessDenied, "set storage_account_key, or log in with `az login`"),
    "AuthorizationFailure": (AccessDenied, f"{_SECRET}; or allow this machine in the account's network rules"),
    "AuthorizationPermissionMismatch": (AccessDenied, f"{_ROLE}, or take a signature with that right"),
    "AuthorizationProtocolMismatch": (AccessDenied, "take an https:// endpoint"),
    "AuthorizationResourceTypeMismatch": (AccessDenied, "take a signature for containers and objects"),
    "AuthorizationServiceMismatch": (AccessDenied, "take a signature for blobs"),
    "AuthorizationSourceIPMismatch": (AccessDenied, "take a signature that allows this machine's address"),
    "InsufficientAccountPermissions": (AccessDenied, "give this identity more rights on the account"),
    "KeyBasedAuthenticationNotPermitted": (
        AccessDenied,
        "remove storage_account_key, so that an identity is used, or allow keys in the account",
    ),
    "PublicAccessNotPermitted": (AccessDenied, "set storage_account_key, or log in with `az login`"),
    "AccountIsDisabled": (AccessDenied, "ask the account's owner, or check the subscription's payments"),
    "BlobImmutableDueToPolicy": (AccessDenied, "the container's immutability policy protects it: take another key"),
    "BlobArchived": (StorageError, "set its access tier to hot or cool, and read it hours later"),
    "BlobBeingRehydrated": (StorageUnavailable, "it comes back from the archive: try again in some hours"),
    "ContainerBeingDeleted": (StorageUnavailable, "try again in a minute, or take another name"),
    "InvalidBlockList": (StorageUnavailable, "another writer put it at the same time: put it again"),
    "InvalidBlobOrBlock": (StorageError, "another program left an upload unfinished: take another key, or end that"),
    "InvalidBlobType": (StorageError, "it is a page or append blob: delete it, or take another key"),
    "InvalidResourceName": (InvalidKey, "take another name"),
    "InvalidUri": (InvalidKey, "take another name"),
    "LeaseIdMissing": (StorageError, "another program has leased it: wait until that is over, or break the lease"),
    "OutOfRangeInput": (InvalidKey, "take another name"),
}  # fmt: skip
_BY_STATUS: dict[int, tuple[_Kind, str]] = {
    400: (StorageError, "check the endpoint, and the version of azure-storage-blob"),
    401: (AccessDenied, _SECRET),
    403: (AccessDenied, f"{_SECRET}; or {_ROLE}"),
    408: (StorageUnavailable, "try again later"),
    412: (AlreadyExists, "put without if_absent to replace it"),
    429: (StorageUnavailable, "try again later, with fewer requests at once"),
}
_MISSING_BUCKET = ("ContainerNotFound", "ContainerDisabled")


@dataclass(frozen=True, slots=True)
class Target:
    """What a request was about, for messages."""

    endpoint: str
    bucket: str
    key: str = ""

    def __str__(self) -> str:
        what = (
            f"object '{self.key}' of container '{self.bucket}'" if self.key else f"container '{self.bucket}'"
        )
        return f"{what} at {self.endpoint}"


@contextmanager
def translate_errors(target: Target) -> Iterator[None]:
    """Whatever the SDK raises becomes a `StorageError`."""
    try:
        yield
    except (AzureError, ValueError) as error:
        raise _translated(error, target) from error


def _translated(error: AzureError | ValueError, target: Target) -> StorageError:
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        named = getattr(error, "error_code", None) or ""
        return refusal(error.status_code, str(getattr(named, "value", named)), error.reason or "", target)
    if isinstance(error, ClientAuthenticationError):
        first_line = str(error).partition("\n")[0]
        return AccessDenied(
            f"{target}: there are no credentials that work: {first_line}; set storage_account_key, log in with "
            "`az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"
        )
    gone = HttpResponseError | IncompleteReadError | ServiceRequestError | ServiceResponseError
    if isinstance(error, gone):
        return StorageUnavailable(
            f"{target} is out of reach: {error}; check the endpoint and the network, or try again later"
        )
    return StorageError(f"{target}: {error}; check the endpoint, and the version of azure-storage-blob")


def refusal(status: int, code: str, reason: str, target: Target) -> StorageError:
    """What an answer with an error says: its HTTP status, Azure's code for it, and the reason in words."""
    if code in _MISSING_BUCKET or (status == 404 and not target.key):
        return NoSuchBucket(
            f"there is no container '{target.bucket}' at {target.endpoint}; check the name, or create it"
        )
    if status == 404 and code not in _BY_CODE:
        return StorageNoSuchKeyError(target.bucket, target.key)
    if code in _BY_CODE:
        kind, advice = _BY_CODE[code]
    elif status >= 500:
        kind, advice = StorageUnavailable, "try again later"
    else:
        kind, advice = _BY_STATUS.get(status, (StorageError, "check the endpoint and the account"))
    said = code or reason or "no reason given"
    return kind(f"{target}: {said} ({status}); {advice}")

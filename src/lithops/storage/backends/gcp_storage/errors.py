"""The one place where the errors of Google's libraries become `StorageError`s."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPException
from typing import Any

import requests
import urllib3
from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError, RetryError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError, TransportError

from lithops.exceptions import (
    AccessDenied,
    InvalidKey,
    StorageError,
    StorageNoSuchKeyError,
    StorageUnavailable,
)
from lithops.storage.errors import already_exists, called, no_bucket

FOREIGN = (
    GoogleAPIError,
    GoogleAuthError,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    HTTPException,
    OSError,
    UnicodeEncodeError,
)
"""All that the libraries raise when a request fails."""

_NO_URL = (
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
)
_SLOWER = {"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"}
"""Reasons that come with 403 and mean 'later'."""
_DETAIL_CHARACTERS = 400


def translate(
    error: Exception, *, endpoint: str, bucket: str, key: str, bucket_exists: Callable[[], bool]
) -> StorageError:
    """What one of the `FOREIGN` errors means. `bucket_exists` is asked only where nothing else tells."""
    what = called(bucket, key) if bucket else "Google's storage"
    if isinstance(error, GoogleAPICallError):
        if error.code == 404:
            return _missing(error, bucket, key, bucket_exists)
        return _refused(error, what, endpoint, bucket, key)
    if isinstance(error, GoogleAuthError) and not _may_pass(error):
        return _not_authenticated(error, what)
    if isinstance(error, _NO_URL):
        return StorageError(f"{what}: {error}; set `endpoint` to a URL that starts with https:// or http://")
    if isinstance(error, UnicodeEncodeError):
        return InvalidKey(f"{what}: a key that is sent is not valid Unicode text: {error.reason}")
    return _unavailable(what, endpoint, getattr(error, "cause", None) or error)


def names_bucket(error: Exception) -> bool | None:
    """Whether the bucket is what a 404 misses, if Google's message says."""
    text = _text(error).lower()
    if "bucket does not exist" in text:
        return True
    return False if "no such object" in text else None


def detail(response: requests.Response) -> str:
    """What an answer says of the error. The request's URL is left out: that of an upload lets anybody write to it."""
    text = _payload(response).get("message") or response.text
    return " ".join(str(text).split())[:_DETAIL_CHARACTERS]


def _missing(
    error: GoogleAPICallError, bucket: str, key: str, bucket_exists: Callable[[], bool]
) -> StorageError:
    if not key:
        return no_bucket(bucket)
    missing = names_bucket(error)
    if missing is None:
        try:
            missing = not bucket_exists()
        except AccessDenied:
            missing = False
    return no_bucket(bucket) if missing else StorageNoSuchKeyError(bucket, key)


def _refused(error: GoogleAPICallError, what: str, endpoint: str, bucket: str, key: str) -> StorageError:
    code = error.code or 0
    reasons = _reasons(error)
    if code >= 500 or code in (408, 410, 429) or reasons & _SLOWER:
        return _unavailable(what, endpoint, error)
    if code == 401:
        return AccessDenied(
            f"{what}: {endpoint} does not know who asks ({_text(error)}); check `credentials_path`, or run "
            "`gcloud auth application-default login` again; none are sent to an http:// endpoint"
        )
    if code == 403 or "orgPolicyConstraintFailed" in reasons:
        return AccessDenied(
            f"{what}: {_text(error)}; give this identity the role Storage Object User on the bucket, and check "
            "that the project's billing and policies allow it"
        )
    if code in (409, 412):
        return already_exists(bucket, key)
    return StorageError(
        f"{what}: {endpoint} refuses with status {code} ({_text(error)}); check names and settings"
    )


def _not_authenticated(error: GoogleAuthError, what: str) -> AccessDenied:
    if isinstance(error, DefaultCredentialsError):
        return AccessDenied(
            f"{what}: there are no credentials for Google Cloud; run `gcloud auth application-default login`, or set "
            "`credentials_path` in the section gcp"
        )
    if isinstance(error, RefreshError):
        return AccessDenied(
            f"{what}: Google does not accept the credentials ({_text(error)}); check that the key or the login has "
            "not expired or been deleted, and that this machine's clock is right"
        )
    return AccessDenied(
        f"{what}: it cannot be asked for with these credentials ({_text(error)}); check `endpoint`, where http:// "
        "means an emulator that needs none, and `credentials_path`"
    )


def _may_pass(error: GoogleAuthError) -> bool:
    """The credentials could not be asked for, which says nothing of whether they are good."""
    return isinstance(error, TransportError) or bool(getattr(error, "retryable", False))


def _unavailable(what: str, endpoint: str, error: BaseException) -> StorageUnavailable:
    return StorageUnavailable(
        f"{what}: {endpoint} does not answer, or not well enough ({_text(error)}); try again later, or check "
        "`endpoint` and the network"
    )


def _text(error: BaseException) -> str:
    response = getattr(error, "response", None)
    if isinstance(response, requests.Response):
        return detail(response) or f"status {response.status_code}"
    if isinstance(error, RetryError):
        return str(error.message)
    return " ".join(str(error).split())[:_DETAIL_CHARACTERS] or type(error).__name__


def _reasons(error: GoogleAPICallError) -> set[str]:
    response = error.response
    errors = _payload(response).get("errors", ()) if isinstance(response, requests.Response) else ()
    return {str(each.get("reason")) for each in errors if isinstance(each, dict)}


def _payload(response: requests.Response) -> dict[str, Any]:
    """The body of an error as Google documents it; downloads get plain text instead."""
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}

"""The one place where the errors of Google's libraries become `ComputeError`s."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError, RetryError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

from lithops.exceptions import ComputeError, Throttled

FOREIGN = (GoogleAPIError, GoogleAuthError, requests.RequestException)
"""All that the libraries raise when a request fails."""
_LATER = {408, 429, 500, 502, 503, 504}
_CHARACTERS = 2000


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Whatever Google's libraries raise in the body is a `ComputeError` outside, that begins with `what` was done."""
    try:
        yield
    except FOREIGN as error:
        raise translate(error, what) from error


def translate(error: Exception, what: str) -> ComputeError:
    """What one of the `FOREIGN` errors means."""
    says = _words(error)
    code = status_of(error)
    if isinstance(error, DefaultCredentialsError):
        return ComputeError(
            f"{what}: there are no credentials for Google Cloud; run `gcloud auth application-default login`, or set "
            "`credentials_path` in the section gcp"
        )
    if isinstance(error, GoogleAuthError):
        return ComputeError(
            f"{what}: Google does not accept the credentials ({says}); check that the key or the login has not "
            "expired or been deleted, and that this machine's clock is right"
        )
    if code in _LATER:
        return Throttled(f"{what}: Google asks to try again later: {says}")
    if code == 401:
        return ComputeError(f"{what}: Google does not know who asks ({says}); check `credentials_path`")
    if code == 403:
        return ComputeError(
            f"{what}: {says}; `lithops doctor --policy -b gcp_functions` shows the permissions that are needed, "
            "and an API that is not enabled has to be: gcloud services enable cloudfunctions.googleapis.com "
            "run.googleapis.com "
            "cloudbuild.googleapis.com artifactregistry.googleapis.com eventarc.googleapis.com pubsub.googleapis.com"
        )
    if code == 400:
        return ComputeError(f"{what}: Google refuses it: {says}{_hint(says)}")
    if isinstance(error, requests.ConnectionError | requests.Timeout | RetryError):
        return Throttled(f"{what}: Google does not answer: {says}; check the network")
    return ComputeError(f"{what}: {says}")


def status_of(error: Exception) -> int:
    """The HTTP status of an error; 0 for one that has none."""
    if isinstance(error, GoogleAPICallError):
        return int(error.code or 0)
    response = getattr(error, "response", None)
    return int(response.status_code) if isinstance(response, requests.Response) else 0


def _words(error: Exception) -> str:
    """What Google says, without the URL that was asked."""
    response = getattr(error, "response", None)
    says = str(getattr(error, "message", "") or error)
    if isinstance(response, requests.Response):
        try:
            says = str(response.json()["error"]["message"])
        except (ValueError, KeyError, TypeError):
            says = response.text or says
    return " ".join(says.split())[:_CHARACTERS]


def _hint(says: str) -> str:
    if "Max instances must be set to" in says:
        return "; set max_workers to no more than that, or ask Google for a higher quota"
    return ""

"""The one place where errors of Azure's resource manager and identities become `ComputeError`s."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from lithops.compute.base import ComputeError, Throttled

_RIGHTS = "`lithops doctor --policy -b azure_functions` prints the rights that suffice"
_LOGIN = "log in with `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"
_BY_CODE = {
    "AuthorizationFailed": f"ask for the right; {_RIGHTS}",
    "LinkedAuthorizationFailed": f"ask for the right; {_RIGHTS}",
    "ResourceGroupNotFound": "check azure.resource_group, or create it: az group create -n NAME -l REGION",
    "SubscriptionNotFound": "check azure.subscription_id: az account list",
    "InvalidSubscriptionId": "check azure.subscription_id: az account list",
    "MissingSubscriptionRegistration": "run: az provider register --namespace Microsoft.Web",
    "LocationNotAvailableForResourceType": "take a region that has the plan: az functionapp "
    "list-flexconsumption-locations",
    "QuotaExceeded": "ask Azure for a higher quota, or take another region",
}


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Whatever the SDK raises becomes a `ComputeError` that begins with what was to be done."""
    try:
        yield
    except AzureError as error:
        raise _translated(error, what) from error


def _translated(error: AzureError, what: str) -> ComputeError:
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        return refusal(error.status_code, *_said(error), what)
    if isinstance(error, ClientAuthenticationError):
        return ComputeError(f"{what}: there are no credentials that work: {_first_line(error)}; {_LOGIN}")
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return ComputeError(
            f"{what}: Azure is out of reach: {_first_line(error)}; check the network, and azure_functions."
            "resource_manager, or try again later"
        )
    return ComputeError(
        f"{what}: {_first_line(error)}; try again, and check the resource group in Azure's portal"
    )


def refusal(status: int, code: str, message: str, what: str) -> ComputeError:
    """The error for an answer with that status, and Azure's name and words for its reason."""
    said = (
        f"{what}: Azure says {code or status}: {message}"
        if message
        else f"{what}: Azure says {code or status}"
    )
    if status == 429:
        return Throttled(f"{said}; try again later")
    if code in _BY_CODE:
        return ComputeError(f"{said}; {_BY_CODE[code]}")
    if status == 401:
        return ComputeError(f"{said}; {_LOGIN}")
    if status == 403:
        return ComputeError(f"{said}; ask for the right; {_RIGHTS}")
    if status >= 500:
        return ComputeError(f"{said}; try again later")
    return ComputeError(f"{said}; check the sections azure and azure_functions of the configuration")


def _said(error: HttpResponseError) -> tuple[str, str]:
    detail = error.error
    if detail is not None and detail.code:
        return str(detail.code), str(detail.message or "").partition("\n")[0]
    return "", _first_line(error)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].strip()

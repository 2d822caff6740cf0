"""The least rights that suffice, as definitions of custom roles: ``gcloud iam roles create --file``. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lithops.compute.backends.gcp_functions.config import GcpFunctionsConfig

_DEPLOYING = (
    "cloudfunctions.functions.create",
    "cloudfunctions.functions.delete",
    "cloudfunctions.functions.get",
    "cloudfunctions.functions.list",
    "cloudfunctions.functions.sourceCodeSet",
    "cloudfunctions.operations.get",
    "cloudfunctions.runtimes.list",
    # On the account under which functions run.
    "iam.serviceAccounts.actAs",
    "logging.logEntries.list",
    "run.services.getIamPolicy",
    "run.services.setIamPolicy",
)
_EVENTS = ("pubsub.topics.create", "pubsub.topics.delete", "pubsub.topics.publish")
_STORAGE = (
    "storage.objects.create",
    "storage.objects.delete",
    "storage.objects.get",
    "storage.objects.list",
)


def policy(config: GcpFunctionsConfig) -> Mapping[str, Any]:
    """Of who runs programs, and of the functions' own account."""
    events = _EVENTS if config.trigger == "pub/sub" else ()
    return {
        "client": _role("Lithops client", sorted({*_DEPLOYING, *events, *_STORAGE})),
        "worker": _role("Lithops worker", _STORAGE),
    }


def _role(title: str, permissions: Any) -> dict[str, Any]:
    return {"title": title, "stage": "GA", "includedPermissions": list(permissions)}

"""Rights: what whoever deploys and invokes needs, what functions need, and how far those of somebody suffice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

WORKER_ROLES = {
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
}
"""Azure's own roles, which the functions' identity has on the storage account: the first for packages, objects and the
host's own leases, the second for messages."""

ACTIONS = (
    "Microsoft.Resources/subscriptions/resourceGroups/read",
    "Microsoft.Resources/tags/write",
    "Microsoft.Web/serverfarms/read",
    "Microsoft.Web/serverfarms/write",
    "Microsoft.Web/serverfarms/delete",
    "Microsoft.Web/serverfarms/join/action",
    "Microsoft.Web/sites/read",
    "Microsoft.Web/sites/write",
    "Microsoft.Web/sites/delete",
    "Microsoft.Web/sites/publish/action",
    "Microsoft.Web/sites/host/listkeys/action",
    "Microsoft.Web/locations/operations/read",
    "Microsoft.Storage/storageAccounts/read",
    "Microsoft.Authorization/permissions/read",
    "Microsoft.Insights/components/read",
    "Microsoft.Insights/components/write",
    "Microsoft.Insights/components/query/read",
)
ROLE_ACTIONS = ("Microsoft.Authorization/roleAssignments/write",)
"""Only where each function app has an identity of its own."""
DATA_ACTIONS = (
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read",
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write",
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete",
    "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action",
    "Microsoft.Storage/storageAccounts/queueServices/queues/messages/read",
    "Microsoft.Storage/storageAccounts/queueServices/queues/messages/write",
    "Microsoft.Storage/storageAccounts/queueServices/queues/messages/delete",
    "Microsoft.Storage/storageAccounts/queueServices/queues/messages/add/action",
    "Microsoft.Storage/storageAccounts/queueServices/queues/messages/process/action",
)
_CONTAINERS = (
    "Microsoft.Storage/storageAccounts/blobServices/containers/read",
    "Microsoft.Storage/storageAccounts/blobServices/containers/write",
    "Microsoft.Storage/storageAccounts/blobServices/containers/delete",
    "Microsoft.Storage/storageAccounts/queueServices/queues/read",
    "Microsoft.Storage/storageAccounts/queueServices/queues/write",
    "Microsoft.Storage/storageAccounts/queueServices/queues/delete",
)


def needed_actions(*, own_identity: bool) -> tuple[str, ...]:
    """What the resource manager is asked for; `own_identity`: each function app is to get one."""
    return (*ACTIONS, *_CONTAINERS, *(ROLE_ACTIONS if own_identity else ()))


def role_definition(scope: str, *, own_identity: bool) -> dict[str, Any]:
    """The role of whoever deploys and invokes, as `az role definition create` takes it."""
    return {
        "Name": "Lithops user",
        "IsCustom": True,
        "Description": "Deploys and invokes Lithops' functions, and keeps their objects and messages",
        "Actions": list(needed_actions(own_identity=own_identity)),
        "NotActions": [],
        "DataActions": list(DATA_ACTIONS),
        "NotDataActions": [],
        "AssignableScopes": [scope],
    }


def missing_actions(needed: Iterable[str], permissions: Iterable[Mapping[str, Any]]) -> list[str]:
    """Those that none of the permissions allows; a permission has `actions` and `notActions`, with ``*`` in them."""
    granted = list(permissions)
    return [action for action in needed if not any(_allows(each, action) for each in granted)]


def _allows(permission: Mapping[str, Any], action: str) -> bool:
    return _matches(permission.get("actions", ()), action) and not _matches(
        permission.get("notActions", ()), action
    )


def _matches(patterns: Iterable[str], action: str) -> bool:
    return any(
        re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), action, re.IGNORECASE)
        for pattern in patterns
    )

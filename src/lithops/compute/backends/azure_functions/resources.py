"""What Azure's resource manager is asked: function apps, their plans, their keys and roles, Application Insights."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from azure.core.credentials import TokenCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.rest import HttpRequest
from azure.mgmt.web import WebSiteManagementClient
from azure.mgmt.web.models import AppServicePlan, Site

from lithops.compute.backends.azure_functions.errors import refusal, translate_errors
from lithops.compute.backends.azure_functions.plan import Plan
from lithops.compute.backends.azure_functions.roles import WORKER_ROLES
from lithops.compute.base import ComputeError
from lithops.storage.backends.azure_storage.account import Account

RUNTIME_TAG, PYTHON_TAG, MEMORY_TAG, READY_TAG = (
    "lithops-runtime",
    "lithops-python",
    "lithops-memory",
    "lithops-ready",
)
_ROLES_API = "2022-04-01"
_INSIGHTS_API = "2020-02-02"
_STORAGE_API = "2023-05-01"
_GROUPS_API = "2021-04-01"


@dataclass(frozen=True, slots=True)
class App:
    """A function app as Azure has it."""

    name: str
    host: str
    publishing_host: str
    principal: str
    tags: Mapping[str, str]

    @property
    def is_ready(self) -> bool:
        """Whether its package has been published."""
        return READY_TAG in self.tags


@dataclass(frozen=True, slots=True)
class Insights:
    """Where function apps send their records, and the name under which these are asked for."""

    app_id: str
    connection: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Placing:
    """What all function apps of a configuration have in common."""

    region: str
    account: Account
    queues: str
    """The URL of the account's queues."""
    identity: str | None
    """The resource ID of the identity that they have; None: each has its own."""
    subnet: str | None
    tags: Mapping[str, str]


class Resources:
    """One resource group. Safe in threads."""

    def __init__(self, credential: TokenCredential, subscription: str, group: str, url: str) -> None:
        self._subscription = subscription
        self._group = group
        self._client = WebSiteManagementClient(
            credential, subscription, base_url=url, credential_scopes=[f"{url}/.default"]
        )

    @property
    def scope(self) -> str:
        """The resource group's ID."""
        return f"/subscriptions/{self._subscription}/resourceGroups/{self._group}"

    def find(self, name: str) -> App | None:
        with translate_errors(f"looking for the function app '{name}'"):
            try:
                return _app_of(self._client.web_apps.get(self._group, name))
            except ResourceNotFoundError as error:
                if error.error is not None and error.error.code == "ResourceGroupNotFound":
                    raise
                return None

    def apps(self) -> Iterator[App]:
        """The function apps of this library."""
        with translate_errors(f"listing the function apps of '{self._group}'"):
            for site in self._client.web_apps.list_by_resource_group(self._group):
                if RUNTIME_TAG in (site.tags or {}):
                    yield _app_of(site)

    def create(self, plan: Plan, placing: Placing, insights: Insights | None, *, poll_s: float) -> App:
        """The app and its plan, without a package; both are brought up to date where they are there."""
        with translate_errors(f"creating the function app '{plan.name}'"):
            farm = {
                "location": placing.region,
                "kind": "functionapp",
                "tags": dict(placing.tags),
                "sku": {"name": "FC1", "tier": "FlexConsumption"},
                "properties": {"reserved": True},
            }
            plans, sites = self._client.app_service_plans, self._client.web_apps
            making = plans.begin_create_or_update(
                self._group, plan.name, AppServicePlan(farm), polling_interval=poll_s
            )
            client_id = self._client_id(placing.identity)
            settings = app_settings(plan, placing, insights, client_id)
            site = _site_of(plan, placing, str(making.result().id), settings)
            creating = sites.begin_create_or_update(
                self._group, plan.name, Site(site), polling_interval=poll_s
            )
            return _app_of(creating.result())

    def mark_ready(self, app: App, when: str) -> None:
        url = f"{self.scope}/providers/Microsoft.Web/sites/{app.name}/providers/Microsoft.Resources/tags/default"
        body = {"operation": "Merge", "properties": {"tags": {READY_TAG: when}}}
        self._send("PATCH", url, _GROUPS_API, f"tagging the function app '{app.name}'", body)

    def key(self, name: str) -> str:
        """What opens the app's functions."""
        with translate_errors(f"asking for the key of the function app '{name}'"):
            keys = self._client.web_apps.list_host_keys(self._group, name).function_keys or {}
        if not keys:
            raise ComputeError(f"the function app '{name}' has no key; make one in Azure's portal: App keys")
        return keys.get("default") or next(iter(keys.values()))

    def remove(self, name: str) -> None:
        """The app, and its plan."""
        with translate_errors(f"deleting the function app '{name}'"):
            self._client.web_apps.delete(self._group, name, delete_empty_server_farm=False)
            self._client.app_service_plans.delete(self._group, name)

    def give_roles(self, app: App, account: str) -> None:
        """Let the app's identity use the storage account."""
        scope = self.account_id(account)
        for role, role_id in WORKER_ROLES.items():
            # The same name for the same roles: it is no error to ask for them again.
            name = uuid.uuid5(uuid.NAMESPACE_URL, f"{scope}/{app.principal}/{role_id}")
            url = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"
            properties = {
                "roleDefinitionId": f"/subscriptions/{self._subscription}/providers/"
                f"Microsoft.Authorization/roleDefinitions/{role_id}",
                "principalId": app.principal,
                "principalType": "ServicePrincipal",
            }
            try:
                self._send("PUT", url, _ROLES_API, f"giving the role '{role}'", {"properties": properties})
            except ComputeError as error:
                if "RoleAssignmentExists" not in str(error):
                    raise ComputeError(
                        f"{error}; or have somebody who may give roles make an identity with them, once, and name it "
                        "as azure_functions.identity"
                    ) from error

    def account_id(self, account: str) -> str:
        """The resource ID of a storage account, in whatever resource group it is."""
        url = f"/subscriptions/{self._subscription}/providers/Microsoft.Storage/storageAccounts"
        found = self._send("GET", url, _STORAGE_API, "listing the storage accounts")
        for each in found.get("value", ()):
            if each["name"] == account:
                return str(each["id"])
        raise ComputeError(
            f"the subscription {self._subscription} has no storage account '{account}' that this identity may see; "
            "check azure_storage.storage_account_name and azure.subscription_id"
        )

    def insights(self, name: str, region: str, *, create: bool) -> Insights | None:
        """The Application Insights of that name; made where there is none if it is to be."""
        url = f"{self.scope}/providers/Microsoft.Insights/components/{name}"
        what = f"looking for the Application Insights '{name}'"
        found = self._send("GET", url, _INSIGHTS_API, what, missing_is_none=True)
        if not found and create:
            body = {"kind": "web", "location": region, "properties": {"Application_Type": "web"}}
            found = self._send("PUT", url, _INSIGHTS_API, f"creating the Application Insights '{name}'", body)
        properties = found.get("properties")
        return Insights(properties["AppId"], properties["ConnectionString"]) if properties else None

    def permissions(self) -> list[dict[str, Any]]:
        """What the identity may do in the resource group."""
        url = f"{self.scope}/providers/Microsoft.Authorization/permissions"
        found: list[dict[str, Any]] = self._send("GET", url, _ROLES_API, "asking for permissions").get(
            "value", []
        )
        return found

    def group(self) -> dict[str, Any]:
        what = f"looking for the resource group '{self._group}'"
        return self._send("GET", self.scope, _GROUPS_API, what)

    def close(self) -> None:
        self._client.close()

    def _client_id(self, identity: str | None) -> str | None:
        if identity is None:
            return None
        found = self._send("GET", identity, "2023-01-31", f"looking for the identity '{identity}'")
        return str(found["properties"]["clientId"])

    def _send(
        self,
        method: str,
        url: str,
        version: str,
        what: str,
        body: Mapping[str, Any] | None = None,
        *,
        missing_is_none: bool = False,
    ) -> dict[str, Any]:
        """A request that the SDK for function apps has no method for, over its connections and with its identity."""
        request = HttpRequest(method, url, params={"api-version": version}, json=body)
        with translate_errors(what):
            response = self._client.send_request(request)
            if response.status_code == 404 and missing_is_none:
                return {}
            if response.status_code >= 400:
                error = HttpResponseError(response=response)
                detail = error.error
                code, message = (detail.code, detail.message) if detail else (None, None)
                raise refusal(response.status_code, str(code or ""), str(message or error.reason), what)
            answer: dict[str, Any] = response.json()
            return answer


def app_settings(
    plan: Plan, placing: Placing, insights: Insights | None, client_id: str | None
) -> dict[str, str]:
    """The app's environment variables. No key of any account is among them: the host uses the app's identity."""
    host = {
        "AzureWebJobsStorage__blobServiceUri": placing.account.endpoint,
        "AzureWebJobsStorage__queueServiceUri": placing.queues,
        "AzureWebJobsStorage__credential": "managedidentity",
    }
    if client_id is not None:
        host |= {"AzureWebJobsStorage__clientId": client_id, "AZURE_CLIENT_ID": client_id}
    if insights is not None:
        host["APPLICATIONINSIGHTS_CONNECTION_STRING"] = insights.connection
    return {**plan.variables, **host, "LITHOPS_QUEUE": plan.name}


def _site_of(plan: Plan, placing: Placing, farm: str, settings: Mapping[str, str]) -> dict[str, Any]:
    authentication = {"type": "SystemAssignedIdentity"}
    identity: dict[str, Any] = {"type": "SystemAssigned"}
    if placing.identity is not None:
        authentication = {
            "type": "UserAssignedIdentity",
            "userAssignedIdentityResourceId": placing.identity,
        }
        identity = {"type": "UserAssigned", "userAssignedIdentities": {placing.identity: {}}}
    packages = {
        "type": "blobContainer",
        "value": f"{placing.account.endpoint}/{plan.name}",
        "authentication": authentication,
    }
    properties: dict[str, Any] = {
        "serverFarmId": farm,
        "httpsOnly": True,
        "siteConfig": {"appSettings": [{"name": name, "value": value} for name, value in settings.items()]},
        "functionAppConfig": {
            "deployment": {"storage": packages},
            "runtime": {"name": "python", "version": plan.python},
            "scaleAndConcurrency": {
                "instanceMemoryMB": plan.memory_mb,
                "maximumInstanceCount": plan.most_instances,
                # A call has an instance for itself.
                "triggers": {"http": {"perInstanceConcurrency": 1}},
            },
        },
    }
    if placing.subnet:
        properties["virtualNetworkSubnetId"] = placing.subnet
    tags = {
        RUNTIME_TAG: plan.runtime,
        PYTHON_TAG: plan.python,
        MEMORY_TAG: str(plan.memory_mb),
    }
    return {
        "location": placing.region,
        "kind": "functionapp,linux",
        "tags": {**placing.tags, **tags},
        "identity": identity,
        "properties": properties,
    }


def _app_of(site: Site) -> App:
    properties = site.properties
    hosts = (properties.host_name_ssl_states if properties else None) or []
    publishing = next((each.name for each in hosts if each.host_type == "Repository"), None)
    return App(
        name=site.name or "",
        host=(properties.default_host_name if properties else None) or "",
        publishing_host=publishing or "",
        principal=(site.identity.principal_id if site.identity else None) or "",
        tags=dict(site.tags or {}),
    )

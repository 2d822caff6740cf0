"""The resource manager of the stand-in for Azure: plans, function apps, roles and Application Insights over REST.

It checks what Azure checks of these requests, answers as Azure does, and takes its time over what Azure takes time for.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from azure_app import FunctionApp
from azure_deployments import Deployments
from azure_http import Refused, Reply, Request, Server, json_reply
from azure_queues import QueueListener
from azure_world import GROUP, REGION, SUBSCRIPTION, World

_SUBSCRIPTION = f"/subscriptions/{SUBSCRIPTION}"
_GROUP = f"{_SUBSCRIPTION}/resourceGroups/{GROUP}"
_OPERATIONS = f"{_SUBSCRIPTION}/providers/Microsoft.Web/locations/{REGION}/operations"
_IDENTITIES = (
    "/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
)
_MEMORY_MB = (512, 2048, 4096)
_INSTANCES = range(40, 1001)
_PYTHONS = ("3.10", "3.11", "3.12", "3.13")
_NOT_ON_FLEX = (
    *("FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_EXTENSION_VERSION", "WEBSITE_RUN_FROM_PACKAGE"),
    *("ENABLE_ORYX_BUILD", "SCM_DO_BUILD_DURING_DEPLOYMENT", "WEBSITE_CONTENTSHARE"),
)
Json = dict[str, Any]


class Resources:
    """What there is, and the server that changes it. `asked` is every request, for tests to look at."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[Request] = []
        self.plans: dict[str, Json] = {}
        self.sites: dict[str, Json] = {}
        self.apps: dict[str, FunctionApp] = {}
        self.deployments: dict[str, Deployments] = {}
        self.components: dict[str, Json] = {}
        self.assignments: dict[str, Json] = {}
        self.actions = ["*"]
        """What the user may do in the resource group."""
        self._listeners: dict[str, list[QueueListener]] = {}
        self._operations: dict[str, float] = {}
        self._lock = threading.RLock()
        self.server = Server(self._answer, world.certificate)
        world.audiences = (*world.audiences, self.server.url)

    def close(self) -> None:
        self.server.close()
        for name in list(self.apps):
            self._remove(name)

    # ------------------------------------------------------------ routing

    def _answer(self, request: Request) -> Reply:
        self.asked.append(request)
        if request.path.startswith("/v1/apps/"):
            return self._query(request)
        self.world.identities.principal_of(request, *self.world.audiences)
        if "api-version" not in request.query:
            raise Refused(400, "MissingApiVersionParameter", "The api-version query parameter is required.")
        for pattern, method, handle in self._routes():
            found = re.fullmatch(pattern, request.path, re.IGNORECASE)
            if found and method == request.method:
                with self._lock:
                    return handle(request, *found.groups())
        raise Refused(404, "ResourceNotFound", f"{request.method} {request.path} was not found.")

    def _routes(self) -> list[tuple[str, str, Callable[..., Reply]]]:
        group, web = re.escape(_GROUP), re.escape(f"{_GROUP}/providers/Microsoft.Web")
        account = f"({group}/providers/Microsoft.Storage/storageAccounts/[^/]+)"
        insights = f"{group}/providers/Microsoft.Insights/components/([^/]+)"
        authorization = "/providers/Microsoft.Authorization"
        return [
            (group, "GET", lambda _: json_reply({"id": _GROUP, "name": GROUP, "location": REGION})),
            (f"{_OPERATIONS}/([^/]+)", "GET", self._operation),
            (f"{_SUBSCRIPTION}/providers/Microsoft.Storage/storageAccounts", "GET", self._accounts),
            (f"{account}{authorization}/roleAssignments/([^/]+)", "PUT", self._assign_role),
            (f"{group}{authorization}/permissions", "GET", self._permissions),
            (f"({_IDENTITIES}/[^/]+)", "GET", self._identity),
            (insights, "PUT", self._put_component),
            (insights, "GET", lambda _, name: json_reply(_known(self.components, name))),
            (f"{web}/serverfarms/([^/]+)", "PUT", self._put_plan),
            (f"{web}/serverfarms/([^/]+)", "GET", lambda _, name: json_reply(_known(self.plans, name))),
            (f"{web}/serverfarms/([^/]+)", "DELETE", self._delete_plan),
            (f"{web}/sites", "GET", lambda _: json_reply({"value": list(self.sites.values())})),
            (f"{web}/sites/([^/]+)", "PUT", self._put_site),
            (f"{web}/sites/([^/]+)/providers/Microsoft.Resources/tags/default", "PATCH", self._tag_site),
            (f"{web}/sites/([^/]+)", "GET", lambda _, name: json_reply(_known(self.sites, name))),
            (f"{web}/sites/([^/]+)", "DELETE", self._delete_site),
            (f"{web}/sites/([^/]+)/config/appsettings/list", "POST", self._list_settings),
            (f"{web}/sites/([^/]+)/host/default/listkeys", "POST", self._list_keys),
        ]  # fmt: skip

    def _operation(self, _: Request, name: str) -> Reply:
        running = time.monotonic() < self._operations[name]
        if running:
            return json_reply({"status": "InProgress"}, Retry_After="0")
        return json_reply({"status": "Succeeded"})

    def _started(self, value: Json, status: int = 202) -> Reply:
        """The answer to a request that takes a while."""
        name = uuid.uuid4().hex
        self._operations[name] = time.monotonic() + self.world.rules.operation_s
        url = f"{self.server.url}{_OPERATIONS}/{name}?api-version=2025-05-01"
        return json_reply(value, status, Azure_AsyncOperation=url, Retry_After="0")

    # ------------------------------------------------------------ storage, roles, insights

    def _accounts(self, _: Request) -> Reply:
        name = self.world.azurite.account_name
        identity = f"{_GROUP}/providers/Microsoft.Storage/storageAccounts/{name}"
        return json_reply({"value": [{"id": identity, "name": name, "location": REGION}]})

    def _identity(self, _: Request, resource: str) -> Reply:
        """Every user-assigned identity is there."""
        properties = {"principalId": resource, "clientId": f"client-of-{resource.rpartition('/')[2]}"}
        return json_reply({"id": resource, "properties": properties})

    def _permissions(self, _: Request) -> Reply:
        return json_reply({"value": [{"actions": self.actions, "notActions": []}]})

    def _assign_role(self, request: Request, scope: str, name: str) -> Reply:
        properties = request.json()["properties"]
        role = properties["roleDefinitionId"].rpartition("/")[2]
        principal = properties["principalId"]
        if not scope.endswith(f"/{self.world.azurite.account_name}"):
            raise Refused(404, "ResourceNotFound", f"The resource {scope} was not found.")
        if properties.get("principalType") != "ServicePrincipal":
            raise Refused(400, "PrincipalNotFound", f"Principal {principal} does not exist in the directory.")
        if (principal, role) in self.world.roles:
            raise Refused(409, "RoleAssignmentExists", "The role assignment already exists.")
        self.world.roles[principal, role] = time.monotonic()
        self.world.identities.storage_readers.add(principal)
        self.assignments[name] = properties
        return json_reply({"name": name, "properties": properties}, 201)

    def _put_component(self, request: Request, name: str) -> Reply:
        body = request.json()
        if body.get("kind") != "web" or not body.get("location"):
            raise Refused(400, "InvalidRequest", "kind and location are required")
        application = self.components.get(name, {}).get("properties", {}).get("AppId", str(uuid.uuid4()))
        ingestion = f"IngestionEndpoint={self.server.url}/"
        connection = f"InstrumentationKey={uuid.uuid4()};{ingestion};ApplicationId={application}"
        properties = {"AppId": application, "ConnectionString": connection, "provisioningState": "Succeeded"}
        self.components[name] = {"name": name, "location": body["location"], "properties": properties}
        return json_reply(self.components[name])

    def _query(self, request: Request) -> Reply:
        self.world.identities.principal_of(request, "https://api.applicationinsights.io", self.server.url)
        application = request.path.split("/")[3]
        known = {each["properties"]["AppId"] for each in self.components.values()}
        if application not in known or not request.path.endswith("/query"):
            raise Refused(404, "PathNotFoundError", "The requested path does not exist")
        return json_reply(self.world.telemetry.query(request.json()["query"]))

    # ------------------------------------------------------------ plans and sites

    def _put_plan(self, request: Request, name: str) -> Reply:
        body = request.json()
        sku = body.get("sku", {})
        if (sku.get("name"), sku.get("tier")) != ("FC1", "FlexConsumption"):
            raise Refused(400, "BadRequest", f"The sku {sku} is not that of a flex consumption plan.")
        if not body.get("properties", {}).get("reserved"):
            raise Refused(400, "BadRequest", "A flex consumption plan is for Linux: reserved must be true.")
        identity = f"{_GROUP}/providers/Microsoft.Web/serverfarms/{name}"
        self.plans[name] = {**body, "id": identity, "name": name}
        return self._started(self.plans[name])

    def _delete_plan(self, _: Request, name: str) -> Reply:
        plan = self.plans.get(name)
        if plan and any(site["properties"]["serverFarmId"] == plan["id"] for site in self.sites.values()):
            raise Refused(
                409, "Conflict", "Server farm cannot be deleted because it has web app(s) assigned."
            )
        return Reply(200 if self.plans.pop(name, None) else 204)

    def _put_site(self, request: Request, name: str) -> Reply:
        body = request.json()
        if not re.fullmatch(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,58}[a-zA-Z0-9])", name):
            raise Refused(400, "BadRequest", f"The site name {name} is not valid.")
        properties = body["properties"]
        config = _checked_app_config(properties, self.plans)
        settings = _checked_settings(properties.get("siteConfig", {}).get("appSettings", []))
        app = self.apps.get(name)
        if app is None:
            app = self.apps[name] = FunctionApp(name, str(uuid.uuid4()), self.world)
            container = config["deployment"]["storage"]["value"].rpartition("/")[2]
            self.deployments[name] = Deployments(app, container, lambda root: self._run_package(name, root))
        app.settings = settings
        app.memory_mb = config["scaleAndConcurrency"]["instanceMemoryMB"]
        app.most = config["scaleAndConcurrency"]["maximumInstanceCount"]
        shown = {**properties, "state": "Running", "defaultHostName": app.front.host}
        shown["siteConfig"] = None
        shown["hostNameSslStates"] = [
            {"name": app.front.host, "hostType": "Standard"},
            {"name": self.deployments[name].site.host, "hostType": "Repository"},
        ]
        identity: Json = {"type": "SystemAssigned", "principalId": app.principal, "tenantId": "tenant"}
        if body.get("identity", {}).get("type") == "UserAssigned":
            (resource,) = body["identity"]["userAssignedIdentities"]
            app.principal = resource
            entry = {"principalId": resource, "clientId": f"client-of-{resource.rpartition('/')[2]}"}
            identity = {"type": "UserAssigned", "userAssignedIdentities": {resource: entry}}
        elif body.get("identity", {}).get("type") != "SystemAssigned":
            identity = {"type": "None"}
        site_id = f"{_GROUP}/providers/Microsoft.Web/sites/{name}"
        kept = {key: body[key] for key in ("location", "kind", "tags") if key in body}
        self.sites[name] = {**kept, "id": site_id, "name": name, "properties": shown, "identity": identity}
        return self._started(self.sites[name])

    def _tag_site(self, request: Request, name: str) -> Reply:
        site, body = _known(self.sites, name), request.json()
        if body.get("operation") != "Merge":
            raise Refused(400, "BadRequest", "The stand-in merges tags, and nothing else.")
        site["tags"] = {**site.get("tags", {}), **body["properties"]["tags"]}
        return json_reply({"properties": {"tags": site["tags"]}})

    def _delete_site(self, _: Request, name: str) -> Reply:
        _known(self.sites, name)
        self._remove(name)
        return Reply(200)

    def _remove(self, name: str) -> None:
        self.sites.pop(name, None)
        for listener in self._listeners.pop(name, []):
            listener.close()
        self.deployments.pop(name).close()
        self.apps.pop(name).close()

    def _run_package(self, name: str, root: Path) -> None:
        app = self.apps[name]
        app.run_package(root)
        for listener in self._listeners.pop(name, []):
            listener.close()
        self._listeners[name] = [
            QueueListener(app, function, binding)
            for function, bindings in app.functions.items()
            for binding in bindings
            if binding["type"] == "queueTrigger"
        ]

    def _list_settings(self, _: Request, name: str) -> Reply:
        _known(self.sites, name)
        return json_reply({"name": "appsettings", "properties": self.apps[name].settings})

    def _list_keys(self, _: Request, name: str) -> Reply:
        _known(self.sites, name)
        app = self.apps[name]
        return json_reply({"masterKey": app.master_key, "functionKeys": app.keys, "systemKeys": {}})


def _known(resources: dict[str, Json], name: str) -> Json:
    if name not in resources:
        raise Refused(
            404, "ResourceNotFound", f"The resource '{name}' under resource group '{GROUP}' was not found."
        )
    return resources[name]


def _checked_app_config(properties: Json, plans: dict[str, Json]) -> Json:
    plan = properties.get("serverFarmId", "").rpartition("/")[2]
    if plan not in plans:
        raise Refused(400, "BadRequest", f"Cannot find ServerFarm with name {plan}.")
    config: Json = properties.get("functionAppConfig") or {}
    runtime, scale = config.get("runtime", {}), config.get("scaleAndConcurrency", {})
    storage = config.get("deployment", {}).get("storage", {})
    checks = {
        "runtime": runtime.get("name") == "python" and runtime.get("version") in _PYTHONS,
        "instanceMemoryMB": scale.get("instanceMemoryMB") in _MEMORY_MB,
        "maximumInstanceCount": scale.get("maximumInstanceCount") in _INSTANCES,
        "deployment.storage.type": storage.get("type") == "blobContainer",
        "deployment.storage.value": re.fullmatch(r"https://.+/[a-z0-9-]{3,63}", storage.get("value", "")),
        "deployment.storage.authentication": storage.get("authentication", {}).get("type")
        in ("SystemAssignedIdentity", "UserAssignedIdentity"),
    }
    for name, good in checks.items():
        if not good:
            raise Refused(400, "BadRequest", f"Site.FunctionAppConfig.{name} is invalid.")
    return config


def _checked_settings(settings: list[dict[str, str]]) -> dict[str, str]:
    for name in (setting["name"] for setting in settings):
        if name in _NOT_ON_FLEX or not re.fullmatch(r"[A-Za-z0-9_.:-]+", name):
            setting = f"Site.SiteConfig.AppSettings.{name}"
            text = f"The following app setting ({setting}) for Flex Consumption sites is invalid."
            raise Refused(400, "BadRequest", text)
    return {setting["name"]: setting["value"] for setting in settings}

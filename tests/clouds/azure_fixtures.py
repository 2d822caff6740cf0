"""What tests of Azure share: a stand-in for each module, an identity in it, and a way to publish small apps."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from azure.core.credentials import TokenCredential
from azure.core.exceptions import ResourceExistsError
from azure.identity import DefaultAzureCredential
from azure.mgmt.web import WebSiteManagementClient
from azure.mgmt.web.models import AppServicePlan, Site
from azure.storage.blob import BlobServiceClient
from azure_app import FunctionApp
from azure_service import Azure, running_azure
from azure_world import BLOB_OWNER, GROUP, QUEUE_CONTRIBUTOR, REGION, SUBSCRIPTION

from lithops import FunctionExecutor
from lithops.compute.backends.azure_functions import backend
from lithops.compute.backends.azure_functions.backend import AzureFunctions
from lithops.compute.backends.azure_functions.config import AzureFunctionsConfig
from lithops.compute.base import ComputeBackend, Surroundings

INSTANCES = 6


@pytest.fixture(scope="module")
def azure(own_world: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """The stand-in, and this process with an identity in it."""
    with (
        running_azure(tmp_path_factory.mktemp("azure"), instances=INSTANCES) as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in cloud.variables.items():
            patch.setenv(name, value)
        yield cloud


@pytest.fixture(autouse=True)
def calm(azure: Azure) -> Iterator[None]:
    """Each test begins with Azure's own rules, and with nothing going wrong."""
    azure.reset()
    yield
    azure.reset()


@dataclass(frozen=True)
class Manager:
    """The real SDK, in front of the stand-in."""

    azure: Azure
    credential: TokenCredential
    web: WebSiteManagementClient

    def make_plan(self, name: str, **changes: Any) -> str:
        body = {
            "location": REGION,
            "kind": "functionapp",
            "sku": {"name": "FC1", "tier": "FlexConsumption"},
            "properties": {"reserved": True},
        }
        plans = self.web.app_service_plans
        made = plans.begin_create_or_update(
            GROUP, name, AppServicePlan({**body, **changes}), polling_interval=0
        )
        return str(made.result().id)

    def make_site(
        self,
        name: str,
        *,
        settings: dict[str, str] | None = None,
        memory_mb: int = 2048,
        instances: int = 40,
        python: str = "3.11",
    ) -> Site:
        account = self.azure.world.azurite
        storage = {
            "type": "blobContainer",
            "value": f"{account.endpoint}/{name}",
            "authentication": {"type": "SystemAssignedIdentity"},
        }
        properties = {
            "serverFarmId": self.make_plan(name),
            "siteConfig": {
                "appSettings": [{"name": key, "value": value} for key, value in (settings or {}).items()]
            },
            "functionAppConfig": {
                "deployment": {"storage": storage},
                "runtime": {"name": "python", "version": python},
                "scaleAndConcurrency": {"instanceMemoryMB": memory_mb, "maximumInstanceCount": instances},
            },
        }
        site = {"location": REGION, "identity": {"type": "SystemAssigned"}, "properties": properties}
        made = self.web.web_apps.begin_create_or_update(GROUP, name, Site(site), polling_interval=0)
        return made.result()

    def app(
        self, name: str, *, roles: tuple[str, ...] = (BLOB_OWNER, QUEUE_CONTRIBUTOR), **site: Any
    ) -> FunctionApp:
        """A function app without a package, its identity with these roles on the account."""
        made = self.make_site(name, **site)
        assert made.identity is not None
        world = self.azure.world
        world.identities.storage_readers.add(str(made.identity.principal_id))
        for role in roles:
            world.roles[str(made.identity.principal_id), role] = time.monotonic()
        account = world.azurite
        key = {"account_name": account.account_name, "account_key": account.account_key}
        with BlobServiceClient(account.endpoint, key) as client, suppress(ResourceExistsError):
            client.create_container(name)
        return self.azure.apps[name]

    def send(self, app: FunctionApp, package: bytes, **headers: str) -> requests.Response:
        scm = self.azure.deployments[app.name].site.url
        asked = {"Content-Type": "application/zip", **self.bearer(), **headers}
        return requests.post(f"{scm}/api/publish?RemoteBuild=true", data=package, headers=asked, timeout=10)

    def publish(
        self, app: FunctionApp, source: str, *, requirements: str = "", **host: Any
    ) -> dict[str, Any]:
        """Publish an app of this `function_app.py`, and wait until it is there. Gives the deployment."""
        sent = self.send(app, package(source, requirements=requirements, **host))
        assert sent.status_code == 202, sent.text
        scm = self.azure.deployments[app.name].site.url
        url = f"{scm}/api/deployments/{sent.json()}"
        until = time.monotonic() + 30
        while not (found := requests.get(url, headers=self.bearer(), timeout=10).json())["complete"]:
            assert time.monotonic() < until
            time.sleep(0.01)
        log = requests.get(f"{url}/log", headers=self.bearer(), timeout=10).json()
        lines = requests.get(log[0]["details_url"], headers=self.bearer(), timeout=10).json()
        deployment: dict[str, Any] = {**found, "log": "\n".join(line["message"] for line in lines)}
        return deployment

    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.credential.get_token(f'{self.azure.url}/.default').token}"}


@pytest.fixture(scope="module")
def manager(azure: Azure) -> Iterator[Manager]:
    with DefaultAzureCredential() as credential:
        scopes = [f"{azure.url}/.default"]
        with WebSiteManagementClient(
            credential, SUBSCRIPTION, base_url=azure.url, credential_scopes=scopes
        ) as web:
            yield Manager(azure, credential, web)


def package(source: str, *, requirements: str = "", **host: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("function_app.py", source)
        archive.writestr("host.json", json.dumps({"version": "2.0", **host}))
        archive.writestr("requirements.txt", requirements)
    return buffer.getvalue()


Call = Callable[..., requests.Response]


@pytest.fixture
def call() -> Iterator[Call]:
    """Call an app's function `go`."""
    with requests.Session() as session:

        def post(
            app: FunctionApp, body: bytes | str = b"", *, key: str | None = None, route: str = "go"
        ) -> Any:
            headers = {"x-functions-key": app.keys["default"] if key is None else key}
            return session.post(f"{app.front.url}/api/{route}", data=body, headers=headers, timeout=30)

        yield post


# ---------------------------------------------------------------- the backend


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend looks every moment at what takes Azure a while."""
    monkeypatch.setattr(backend, "_POLL_S", 0.02)


Make = Callable[..., AzureFunctions]
Execute = Callable[..., FunctionExecutor]


@pytest.fixture
def make(azure: Azure, looks_often: None) -> Iterator[Make]:
    """Makes backends of the section's keys, and closes them."""
    made: list[AzureFunctions] = []

    def make_backend(surroundings: Surroundings | None = None, **section: Any) -> AzureFunctions:
        config = AzureFunctionsConfig(**{**azure.account, **azure.functions, **section})
        made.append(AzureFunctions(config, surroundings or Surroundings("azure_storage")))
        return made[-1]

    yield make_backend
    for each in made:
        each.close()


@pytest.fixture
def execute(azure: Azure, looks_often: None) -> Iterator[Execute]:
    """Makes executors of the section's keys, and closes them."""
    made: list[FunctionExecutor] = []

    def make_executor(**section: Any) -> FunctionExecutor:
        made.append(FunctionExecutor(config=config_of(azure, **section), log_level=None))
        return made[-1]

    yield make_executor
    for each in made:
        each.close()


def config_of(azure: Azure, **section: Any) -> dict[str, Any]:
    """A configuration that leads to the stand-in; `section` are keys of `azure_functions`."""
    return {
        "lithops": {"backend": "azure_functions", "storage": "azure_storage"},
        "azure": azure.account,
        "azure_storage": azure.storage,
        "azure_functions": {**azure.functions, "max_workers": azure.instances, **section},
    }


def app_of(azure: Azure, compute: ComputeBackend) -> FunctionApp:
    """The one function app that the backend has used."""
    (name,) = compute.describe()["function apps"]
    return azure.apps[name]

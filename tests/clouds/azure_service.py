"""A stand-in for Azure: resource manager, function apps of the flex consumption plan, identities, Application Insights.

Blobs and queues are those of Azurite. What it enforces, and what it does not, is written down in `azure.md`.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azure_app import FunctionApp
from azure_build import link_worker
from azure_deployments import Deployments
from azure_resources import Resources
from azure_world import GROUP, REGION, SUBSCRIPTION, USER, Faults, Rules, World
from azurite_server import running_azurite
from certificates import make_certificate
from server import answers, free_ports, missing, running


@dataclass(frozen=True)
class Azure:
    """The running stand-in."""

    world: World
    resources: Resources
    instances: int
    """No app gets more of them."""

    @property
    def url(self) -> str:
        """The resource manager."""
        return self.resources.server.url

    @property
    def rules(self) -> Rules:
        return self.world.rules

    @property
    def faults(self) -> Faults:
        return self.world.faults

    @property
    def apps(self) -> dict[str, FunctionApp]:
        return self.resources.apps

    @property
    def deployments(self) -> dict[str, Deployments]:
        return self.resources.deployments

    @property
    def account(self) -> dict[str, str]:
        """The section `azure` of a configuration."""
        return {"resource_group": GROUP, "region": REGION, "subscription_id": SUBSCRIPTION}

    @property
    def storage(self) -> dict[str, str]:
        """The section `azure_storage`."""
        return {
            "storage_account_name": self.world.azurite.account_name,
            "endpoint": self.world.azurite.endpoint,
        }

    @property
    def functions(self) -> dict[str, Any]:
        """The section `azure_functions`, without what a test sets."""
        return {**self.storage, "queue_endpoint": self.world.queues, "resource_manager": self.url}

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a program that has an identity of Azure's, and trusts its certificates."""
        authority = str(self.world.certificate.authority)
        return {
            **self.world.identities.variables(USER),
            "REQUESTS_CA_BUNDLE": authority,
            "SSL_CERT_FILE": authority,
        }

    def reset(self) -> None:
        """The rules and faults of the beginning."""
        self.world.rules = Rules(instances=self.instances)
        self.world.faults = Faults()
        self.world.telemetry.lag_s = 0.0


@contextmanager
def running_azure(folder: Path, *, instances: int = 8) -> Iterator[Azure]:
    """The stand-in while it runs: everything is in the folder, and on free ports of this machine.

    No app gets more than so many instances.
    """
    if importlib.util.find_spec("azure_functions_runtime") is None:
        install = "pip install --ignore-requires-python --no-deps azure-functions-runtime"
        missing("Microsoft's runtime of Azure Functions", install)
    certificate = make_certificate(folder)
    options = ("--oauth", "basic", "--cert", str(certificate.certificate), "--key", str(certificate.key))
    own_packages = folder / "worker"
    link_worker(own_packages)
    with (
        running_azurite(folder, scheme="https", options=options) as azurite,
        _running_queues(folder, azurite.account_name, azurite.account_key, options) as queues,
    ):
        world = World(folder, certificate, azurite, queues, own_packages, rules=Rules(instances=instances))
        world.identities.storage_readers.add(USER)
        resources = Resources(world)
        try:
            yield Azure(world, resources, instances)
        finally:
            resources.close()
            world.identities.close()


@contextmanager
def _running_queues(folder: Path, name: str, key: str, options: tuple[str, ...]) -> Iterator[str]:
    program = shutil.which("azurite-queue")
    if program is None:
        missing("Azurite", "npm install -g azurite")
    (port,) = free_ports(1)
    command = [
        *(program, "--queueHost", "127.0.0.1", "--queuePort", str(port), "--inMemoryPersistence", "--silent"),
        *("--skipApiVersionCheck", "--disableTelemetry", *options),
    ]
    accounts = {"AZURITE_ACCOUNTS": f"{name}:{key}"}
    with running(command, ready=lambda: answers(port), log=folder / "azurite-queue.log", env=accounts):
        yield f"https://127.0.0.1:{port}/{name}"

"""What is to be deployed, worked out from the configuration alone: the same words give the same name."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lithops.compute.backends.azure_functions.config import AzureFunctionsConfig, memory_size
from lithops.compute.base import ComputeError, RuntimeInfo, Surroundings
from lithops.compute.serverless.package import Package, build, worker_requirements
from lithops.storage.credentials import VARIABLE

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
"""Those of Azure Functions, as far as this library runs on them."""
_FEWEST_INSTANCES = 40
_ENTRY = """\
from lithops.compute.backends.azure_functions.entry import make_app

app = make_app(processes={processes}, timeout_s={timeout_s}, queue={queue})
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """A function app as it is to be. Its name is made of all the rest."""

    name: str
    runtime: str
    python: str
    memory_mb: int
    """Of an instance."""
    asked_mb: int
    most_instances: int
    variables: Mapping[str, str] = field(repr=False)
    """They may hold secrets."""
    package: Package = field(repr=False)

    @property
    def info(self) -> RuntimeInfo:
        return RuntimeInfo(self.runtime, self.memory_mb, self.python)


def default_runtime(python: str) -> str:
    """The name of Azure's own Python."""
    return f"python{python}"


def client_python() -> str:
    """This program's Python. Raises `ComputeError` where Azure has none of it."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if python not in PYTHONS:
        raise ComputeError(
            f"azure_functions: this program runs on Python {python}, and functions need the same one, which Azure "
            f"Functions does not have; run it with one of {', '.join(PYTHONS)}"
        )
    return python


def make_plan(
    config: AzureFunctionsConfig,
    surroundings: Surroundings,
    *,
    account: str,
    runtime: str,
    python: str,
    requirements: str,
    memory_mb: int,
) -> Plan:
    """The app for a runtime, with its storage `account`; `requirements` are those of a custom one.

    Raises `ComputeError` for more memory than Azure has.
    """
    size_mb = memory_size(memory_mb)
    if size_mb is None:
        raise ComputeError(
            f"azure_functions: an instance of Azure Functions has 4096 MB at most, and {memory_mb} MB are asked for; "
            "set runtime_memory to 4096 or less"
        )
    files = {
        "function_app.py": _ENTRY.format(
            processes=config.worker_processes,
            timeout_s=config.runtime_timeout,
            queue=config.trigger == "pub/sub",
        ),
        "host.json": json.dumps(host_settings(config.runtime_timeout), indent=1),
        "requirements.txt": _requirements(surroundings, requirements),
    }
    package = build(
        {name: text.encode() for name, text in files.items()},
        storage=surroundings.storage,
        backend="azure_functions",
        shares_state=surroundings.shares_state,
    )
    variables = {**config.env_vars, **_environment(surroundings)}
    most = max(_FEWEST_INSTANCES, config.max_workers)
    settings = [
        *(config.subscription_id, config.resource_group, config.region, runtime, python, size_mb, most),
        *(variables, dict(config.user_tags), dict(config.vpc), config.identity, config.trigger),
        *(config.application_insights, account, package.digest),
    ]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    # Azure tells apps of one storage account apart by the first 32 characters.
    name = f"{config.namespace or 'lithops'}-{digest}"[:32].rstrip("-")
    return Plan(name, runtime, python, size_mb, memory_mb, most, variables, package)


def host_settings(timeout_s: int) -> dict[str, Any]:
    """The app's host.json. A message that failed is not tried again: that is up to the program that sent it."""
    minutes, seconds = divmod(timeout_s, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    queues = {"batchSize": 1, "newBatchThreshold": 0, "maxDequeueCount": 1, "maxPollingInterval": "00:00:01"}
    sampling = {"samplingSettings": {"isEnabled": False}}
    return {
        "version": "2.0",
        "functionTimeout": f"{days}.{hours:02}:{minutes:02}:{seconds:02}",
        "extensions": {"queues": queues, "http": {"routePrefix": "api"}},
        "extensionBundle": {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"},
        "logging": {"applicationInsights": sampling},
    }


def _environment(surroundings: Surroundings) -> dict[str, str]:
    """What the functions are to have; on Azure's own storage their identity stands in place of a key."""
    own = VARIABLE if surroundings.storage == "azure_storage" else ""
    return {name: value for name, value in surroundings.environment.items() if name != own}


def _requirements(surroundings: Surroundings, custom: str) -> str:
    """The user's own come last, so that errors of the build name their lines."""
    lines = ["azure-functions", *worker_requirements(surroundings), *custom.splitlines()]
    return "".join(f"{line}\n" for line in lines)

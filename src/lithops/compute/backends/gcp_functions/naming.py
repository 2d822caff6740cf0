"""What is deployed: its source, its name and its settings. Pure, and the same for all who want the same.

A function's name ends with a digest of everything that it is made of. So whoever needs just that finds it by its name,
and nobody else does.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lithops.compute.backends.gcp_functions.config import EGRESS, GcpFunctionsConfig
from lithops.compute.backends.gcp_functions.sizes import cpus
from lithops.compute.base import RuntimeInfo, Surroundings
from lithops.compute.serverless.package import Package, build, worker_requirements
from lithops.exceptions import ComputeError
from lithops.storage.credentials import VARIABLE as CREDENTIALS_VARIABLE

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
"""Those that Google has."""
RUNTIME_LABEL = "lithops-runtime"
"""Marks the functions that this library has made."""
REQUIREMENTS_VARIABLE = "LITHOPS_REQUIREMENTS"
"""What a custom runtime was built of: further functions of it, with other memory, are made of the same."""

_NAME_LENGTH = 49
_DIGEST_LENGTH = 10
_FRAMEWORK = "functions-framework>=3.8"
_MAIN = b"""import functions_framework

from lithops.compute.backends.gcp_functions.entry import serve

serve = functions_framework.http(serve)
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One function, complete, as it should be deployed."""

    id: str
    info: RuntimeInfo
    package: Package
    settings: Mapping[str, Any]
    """All that is deployed beside the package; it may hold secrets."""


def own_python() -> str:
    """The Python of this program, which functions have to have too. Raises `ComputeError` where Google has none."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if version not in PYTHONS:
        raise ComputeError(
            f"Google Cloud Functions has no Python {version}, which this program runs on; run it with one of "
            f"{', '.join(PYTHONS)}"
        )
    return version


def default_runtime(python: str) -> str:
    """Google's own name of it: ``python311``."""
    return f"python{python.replace('.', '')}"


def wanted(
    config: GcpFunctionsConfig,
    surroundings: Surroundings,
    project: str,
    runtime: str,
    memory_mb: int,
    extra: str,
) -> Wanted:
    """The function of a runtime with so much memory; `extra` is the text of a custom one's requirements."""
    python = own_python()
    requirements = [_FRAMEWORK, *worker_requirements(surroundings), *extra.splitlines()]
    files = {"main.py": _MAIN, "requirements.txt": "".join(f"{line}\n" for line in requirements).encode()}
    package = build(
        files, storage=surroundings.storage, backend="gcp_functions", shares_state=surroundings.shares_state
    )
    settings: dict[str, Any] = {
        "runtime": default_runtime(python),
        "memory_mb": memory_mb,
        "cpu": cpus(memory_mb),
        "timeout_s": config.runtime_timeout,
        "instances": config.max_workers,
        "service_account": config.service_account,
        "connector": config.vpc.get("connector"),
        "egress": config.vpc.get("egress", EGRESS[0]),
        "trigger": config.trigger,
        "environment": _environment(config, surroundings, extra),
        "labels": {
            **config.user_tags,
            RUNTIME_LABEL: runtime,
            "lithops-python": python.replace(".", "-"),
            "lithops-memory": str(memory_mb),
            **({"lithops-namespace": config.namespace} if config.namespace else {}),
        },
    }
    content = json.dumps([package.digest, project, settings], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:_DIGEST_LENGTH]
    name = function_id(config.namespace, runtime, memory_mb, digest)
    return Wanted(name, RuntimeInfo(runtime, memory_mb, python), package, settings)


def function_id(namespace: str | None, runtime: str, memory_mb: int, digest: str) -> str:
    """``lithops-NAMESPACE-RUNTIME-MEMORY-DIGEST``, as long as Google allows, of which the runtime gives way."""
    start = "lithops-" + (f"{namespace}-" if namespace else "")
    end = f"-{memory_mb}-{digest}"
    return start + runtime[: _NAME_LENGTH - len(start) - len(end)].strip("-") + end


def info_of(labels: Mapping[str, str]) -> RuntimeInfo:
    """The runtime that a function with these labels has."""
    python = labels.get("lithops-python", "").replace("-", ".")
    return RuntimeInfo(labels[RUNTIME_LABEL], int(labels.get("lithops-memory", "0")), python)


def is_ours(labels: Mapping[str, str], namespace: str | None) -> bool:
    return RUNTIME_LABEL in labels and labels.get("lithops-namespace") == namespace


def _environment(config: GcpFunctionsConfig, surroundings: Surroundings, extra: str) -> dict[str, str]:
    own = {
        "LITHOPS_TIMEOUT": str(config.runtime_timeout),
        "LITHOPS_WORKER_PROCESSES": str(config.worker_processes),
    }
    recorded = {REQUIREMENTS_VARIABLE: extra} if extra else {}
    given = dict(surroundings.environment)
    if surroundings.storage == "gcp_storage":
        # Functions have an identity of their own there.
        given.pop(CREDENTIALS_VARIABLE, None)
    return {**config.env_vars, **given, **own, **recorded}

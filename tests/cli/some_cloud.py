"""A cloud of functions for the command line: `LocalFunctions` that are deployed, built, diagnosed and deleted.

Each command makes a backend of its own, as each program does; what is in the cloud stays, in `CLOUD`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lithops.compute import registry
from lithops.compute.base import Finding, RuntimeInfo, Surroundings
from lithops.exceptions import ComputeError
from lithops.registry import Row
from lithops.testing.functions import LocalFunctions

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
DEFAULT = f"python{PYTHON}"

logger = logging.getLogger("lithops.compute.some_cloud")


@dataclass
class Cloud:
    """What there is in the cloud."""

    release: str = "new"
    """The version of the library; what was deployed with another one is deployed anew."""
    built: dict[str, str] = field(default_factory=dict)
    """The content of custom runtimes."""
    deployed: dict[RuntimeInfo, str] = field(default_factory=dict)
    """The release with which each was deployed."""
    deployments: int = 0
    refused: set[str] = field(default_factory=set)
    """Runtimes that may not be deployed."""
    findings: list[Finding] = field(
        default_factory=lambda: [Finding("identity", True, "somebody of an account")]
    )
    closed: int = 0


CLOUD = Cloud()


@dataclass(frozen=True, slots=True)
class SomeCloudConfig:
    mode: ClassVar[str] = "serverless"

    region: str = "here"
    runtime: str = ""
    runtime_memory: int = 256


class SomeCloud(LocalFunctions):
    """Implements `SupportsBuild` and `SupportsDiagnosis` too."""

    name = "some_cloud"

    def __init__(self, config: SomeCloudConfig, surroundings: Surroundings) -> None:
        super().__init__(connections=1, environment=surroundings.environment)
        self._config = config

    def deploy(self, runtime: str, memory_mb: int, timeout_s: float) -> RuntimeInfo:
        name = runtime or DEFAULT
        if name != DEFAULT and name not in CLOUD.built:
            raise ComputeError(
                f"there is no runtime '{name}';\n run: lithops runtime build -b some_cloud -f FILE {name}"
            )
        if name in CLOUD.refused:
            raise ComputeError(f"{name} may not be deployed; ask for the right to")
        info = RuntimeInfo(name, memory_mb, PYTHON)
        if CLOUD.deployed.get(info) != CLOUD.release:
            logger.info("deploying %s to %s", name, self._config.region)
            CLOUD.deployed[info] = CLOUD.release
            CLOUD.deployments += 1
        return info

    def describe(self) -> Mapping[str, Any]:
        return {"region": self._config.region, "nothing": None}

    def runtimes(self) -> Sequence[RuntimeInfo]:
        return list(CLOUD.deployed)

    def remove(self, runtime: str) -> None:
        found = [info for info in CLOUD.deployed if info.name == runtime]
        if not found:
            raise ComputeError(f"there is no runtime '{runtime}' on some_cloud")
        for info in found:
            del CLOUD.deployed[info]

    def build(self, runtime: str, file: Path) -> str:
        logger.info("building %s", runtime)
        CLOUD.built[runtime] = file.read_text()
        return f"a layer of {file.name}"

    def diagnose(self) -> Iterator[Finding]:
        yield from CLOUD.findings
        if not CLOUD.findings:
            raise ComputeError("nobody answers;\n check the network")

    def policy(self) -> Mapping[str, Any]:
        return {"Statement": [{"Action": "functions:*", "Resource": self._config.region}]}

    def close(self) -> None:
        CLOUD.closed += 1
        super().close()


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A cloud in which there is nothing, as the compute backend `some_cloud`."""
    monkeypatch.setattr("some_cloud.CLOUD", Cloud())
    row = Row("some_cloud:SomeCloudConfig", "some_cloud:SomeCloud")
    monkeypatch.setitem(registry._registry.rows, "some_cloud", row)
    return CLOUD

"""What all parts of the stand-in for Azure share: its rules, what is to go wrong, and the services beside it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from azure_identity import Identities
from azure_insights import Telemetry
from azurite_server import Azurite
from certificates import Certificate

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
GROUP = "lithops-tests"
REGION = "westeurope"
USER = "the-user"
"""The principal under which the tests themselves ask."""

BLOB_OWNER = "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"
QUEUE_CONTRIBUTOR = "974c5e8b-45b9-4653-ba55-5f855dd0fb88"


@dataclass
class Rules:
    """What Azure enforces, its times scaled down where a test says so."""

    gateway_s: float = 230.0
    """How long the load balancer waits for a response."""
    time_scale: float = 1.0
    """One second of the `functionTimeout` in this many."""
    memory_scale: float = 1.0
    """One MB of an instance in this many."""
    lease_s: float = 600.0
    """For how long a message that is being worked on is hidden."""
    body_bytes: int = 210_000_000
    roles_s: float = 0.0
    """How long it takes until a new role is known everywhere."""
    operation_s: float = 0.05
    """How long an operation on a resource takes."""
    instances: int = 1000
    """No app gets more of them, whatever its own maximum is: this machine is small."""


@dataclass
class Faults:
    """What goes wrong, besides what a function does."""

    storm: tuple[int, ...] = ()
    """Statuses with which requests to functions are refused, one after the other, until the storm ends."""
    storm_until: float = 0.0
    storm_share: float = 0.9
    lost_responses: int = 0
    """So many connections break when their function has ended."""
    killed_status: int = 502
    """What the front end says when the instance is gone."""
    duplicate_every: int = 0
    """Every so many messages one is delivered twice; 0: none."""
    refused: int = 0
    """How many requests the storm has refused."""
    _random: random.Random = field(default_factory=lambda: random.Random(4))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start_storm(self, duration_s: float, statuses: Sequence[int] = (429, 503)) -> None:
        self.storm, self.storm_until = tuple(statuses), time.monotonic() + duration_s

    def refusal(self) -> int | None:
        """The status with which to refuse the next request, if any."""
        with self._lock:
            if time.monotonic() > self.storm_until or self._random.random() > self.storm_share:
                return None
            self.refused += 1
            return self.storm[self.refused % len(self.storm)]

    def loses_response(self) -> bool:
        with self._lock:
            self.lost_responses -= 1
            return self.lost_responses >= 0


@dataclass
class World:
    """One cloud."""

    folder: Path
    certificate: Certificate
    azurite: Azurite
    queues: str
    """The URL of the account's queues."""
    own_packages: Path
    """What the worker itself imports."""
    identities: Identities = field(default_factory=Identities)
    telemetry: Telemetry = field(default_factory=Telemetry)
    rules: Rules = field(default_factory=Rules)
    faults: Faults = field(default_factory=Faults)
    audiences: tuple[str, ...] = ("https://management.azure.com", "https://management.core.windows.net")
    """Whom a token for the resource manager may be for."""
    roles: dict[tuple[str, str], float] = field(default_factory=dict)
    """When which principal was given which role on the storage account."""

    def may(self, principal: str, role: str) -> bool:
        """Whether the principal has the role, and everybody knows."""
        given = self.roles.get((principal, role))
        return given is not None and time.monotonic() >= given + self.rules.roles_s

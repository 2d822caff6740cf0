"""How a function app comes to be: found where it is there already, else made, published and waited for."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from lithops.clock import Clock
from lithops.compute.backends.azure_functions.cloud import Cloud
from lithops.compute.backends.azure_functions.front import Address, Outcome
from lithops.compute.backends.azure_functions.plan import Plan
from lithops.compute.backends.azure_functions.publishing import until_ready
from lithops.compute.backends.azure_functions.resources import App
from lithops.compute.base import ComputeError
from lithops.version import __version__
from lithops.wire.messages import WIRE_VERSION

logger = logging.getLogger(__name__)

_READY_S = 300.0
_DESCRIBE = b'{"describe": true}'


class Deployer:
    """Makes function apps of plans. `poll_s` is the pause between two looks at what takes Azure a while."""

    def __init__(self, cloud: Cloud, clock: Clock, poll_s: float, *, queue: bool) -> None:
        self._cloud = cloud
        self._clock = clock
        self._poll_s = poll_s
        self._queue = queue

    def deploy(self, plan: Plan) -> Address:
        """Where the app of the plan is. Raises `ComputeError`."""
        app = self._cloud.resources.find(plan.name)
        if app is None or not app.is_ready:
            return self._make(plan)
        # Messages need no key.
        key = "" if self._queue else self._cloud.resources.key(app.name)
        return Address(app.name, app.host, key)

    def _make(self, plan: Plan) -> Address:
        cloud, started = self._cloud, self._clock.now()
        placing = cloud.placing()
        logger.info(
            "deploying the runtime '%s' to Azure Functions in %s: the function app '%s' with %s; this takes minutes",
            plan.runtime,
            placing.region,
            plan.name,
            _memory(plan),
        )
        cloud.storage.ensure_bucket(plan.name)
        if self._queue:
            cloud.queues.create(plan.name)
        insights = cloud.insights(create=True)
        app = cloud.resources.create(plan, placing, insights, poll_s=self._poll_s)
        if placing.identity is None:
            cloud.resources.give_roles(app, placing.account.name)
        what = f"publishing the function app '{plan.name}'"
        logger.info("%s: %d bytes, and what its requirements name", what, len(plan.package.data))
        cloud.publisher.publish(app.publishing_host, plan.package.data, what)
        address = Address(app.name, app.host, cloud.resources.key(app.name))
        self._wait_until_ready(address, plan, app)
        cloud.resources.mark_ready(app, datetime.now(timezone.utc).isoformat(timespec="seconds"))
        logger.info("deployed the runtime '%s' in %.0f s", plan.runtime, self._clock.now() - started)
        return address

    def _wait_until_ready(self, address: Address, plan: Plan, app: App) -> None:
        descriptions: list[Mapping[str, Any]] = []

        def ready() -> bool:
            description = self._described(address)
            descriptions.extend([description] if description else [])
            return description is not None

        def broken() -> str:
            records = self._cloud.records()
            deaths = records.deaths(app.name, minutes=30) if records else []
            return deaths[0].words if deaths else ""

        what = f"starting the function app '{plan.name}'"
        until_ready(ready, broken, self._clock, poll_s=self._poll_s, within_s=_READY_S, what=what)
        check_description(descriptions[-1], plan)

    def _described(self, address: Address) -> dict[str, Any] | None:
        """What the app says of itself; None while it does not."""
        try:
            answer = self._cloud.front.post(address, uuid.uuid4().hex, _DESCRIBE)
        except ComputeError as error:
            logger.debug("%s does not answer yet: %s", address.name, error)
            return None
        if answer.outcome is not Outcome.DONE:
            return None
        description: dict[str, Any] = json.loads(answer.body)
        return description


def _memory(plan: Plan) -> str:
    asked = f", the next size to {plan.asked_mb}" if plan.asked_mb != plan.memory_mb else ""
    return f"{plan.memory_mb} MB{asked}"


def check_description(description: Mapping[str, Any], plan: Plan) -> None:
    """Raises `ComputeError` where what runs is not what this program can talk to."""
    wanted = {"python": plan.python, "version": __version__, "wire": WIRE_VERSION}
    found = {name: description.get(name) for name in wanted}
    if found != wanted:
        raise ComputeError(
            f"azure_functions: the function app '{plan.name}' has Python {found['python']} and Lithops "
            f"{found['version']}, and this program Python {plan.python} and Lithops {__version__}; run: lithops "
            f"runtime delete -b azure_functions {plan.runtime}, and then this program again"
        )

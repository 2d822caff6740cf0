"""Calls as activations of function apps on Azure's flex consumption plan.

::

    request(task) ──HTTPS──► /api/activation ──► entry.py ──► Sandbox ──► statuses in the response, or storage
    invoke(task) ──message──► queue ───────────► entry.py ──► Sandbox ──► storage
    dead()      ◄─────────── Application Insights, and the queue of messages that nobody came to an end with
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lithops.clock import Clock, SystemClock
from lithops.compute.backends.azure_functions.cloud import Cloud, storage_config
from lithops.compute.backends.azure_functions.config import AzureFunctionsConfig
from lithops.compute.backends.azure_functions.deploying import Deployer
from lithops.compute.backends.azure_functions.diagnosis import diagnose
from lithops.compute.backends.azure_functions.front import Address, Answer, Outcome
from lithops.compute.backends.azure_functions.health import Health, failure_unrecorded
from lithops.compute.backends.azure_functions.plan import Plan, client_python, default_runtime, make_plan
from lithops.compute.backends.azure_functions.prices import prices_of
from lithops.compute.backends.azure_functions.records import failure_of
from lithops.compute.backends.azure_functions.resources import MEMORY_TAG, PYTHON_TAG, RUNTIME_TAG
from lithops.compute.backends.azure_functions.roles import WORKER_ROLES, role_definition
from lithops.compute.base import (
    ComputeError,
    Finding,
    Limits,
    Prices,
    Response,
    ResponseLost,
    RuntimeInfo,
    Surroundings,
    Throttled,
)
from lithops.exceptions import ConfigError, WireError
from lithops.storage.backends.azure_storage.account import find_account
from lithops.wire.codec import statuses_from_text, task_to_text
from lithops.wire.messages import Failure, Task

logger = logging.getLogger(__name__)

_POLL_S = 5.0
"""Between two looks at what takes Azure a while."""
_STARTUP_S = 300.0
_SENDERS = 32
"""Messages that are sent at once."""


@dataclass(frozen=True, slots=True)
class _Deployed:
    plan: Plan
    address: Address


class AzureFunctions:
    """Implements `ComputeBackend` and `SupportsResponses`, `-Health`, `-Build`, `-Pricing`, `-Diagnosis`."""

    name = "azure_functions"

    def __init__(
        self, config: AzureFunctionsConfig, surroundings: Surroundings, *, clock: Clock | None = None
    ) -> None:
        for key in ("resource_group", "subscription_id"):
            if not getattr(config, key):
                raise ConfigError(
                    f"azure.{key}: found nothing; needed is the one that the functions are to be in"
                )
        self._config = config
        self._surroundings = surroundings
        self._clock = clock or SystemClock()
        self._account = find_account(storage_config(config), os.environ)
        self._deployed: dict[tuple[str, int], _Deployed] = {}
        self._deploying = threading.Lock()
        self._opened: Cloud | None = None
        self._opening = threading.Lock()
        self._health = Health()
        self.limits = _limits(config)

    # ------------------------------------------------------------ runtimes

    def deploy(self, runtime: str, memory_mb: int, timeout_s: float) -> RuntimeInfo:  # noqa: ARG002 - of a call
        plan = self._plan(runtime, memory_mb)
        return self._deploy(plan).plan.info

    def runtimes(self) -> Sequence[RuntimeInfo]:
        return [
            RuntimeInfo(app.tags[RUNTIME_TAG], int(app.tags.get(MEMORY_TAG, 0)), app.tags.get(PYTHON_TAG, ""))
            for app in self._cloud().resources.apps()
            if app.is_ready
        ]

    def remove(self, runtime: str) -> None:
        """Its function apps, of whatever memory and Python, and what belongs to them."""
        cloud = self._cloud()
        names = [app.name for app in cloud.resources.apps() if app.tags[RUNTIME_TAG] == runtime]
        if not names:
            raise ComputeError(
                f"azure_functions: there is no runtime '{runtime}' in '{self._config.resource_group}'; list them with: "
                "lithops runtime list -b azure_functions"
            )
        for name in names:
            cloud.resources.remove(name)
            cloud.queues.delete(name)
            cloud.storage.client().get_container_client(name).delete_container()
        cloud.custom.remove(runtime)
        with self._deploying:
            kept = {key: each for key, each in self._deployed.items() if each.address.name not in names}
            self._deployed = kept

    def build(self, runtime: str, file: Path) -> str:
        """A runtime with the packages of a requirements.txt, which Azure installs. Kept in the storage account."""
        cloud = self._cloud()
        requirements = cloud.custom.check(runtime, file)
        plan = self._plan_of(runtime, requirements, self._config.runtime_memory)
        app = self._deploy(plan)
        cloud.custom.save(runtime, requirements)
        return (
            f"the runtime '{runtime}': the function app '{app.address.name}' in '{self._config.resource_group}', "
            f"Python {plan.python}, {plan.memory_mb} MB, with {file.name}"
        )

    def _plan(self, runtime: str, memory_mb: int) -> Plan:
        runtime = runtime or self._config.runtime
        python = client_python()
        requirements = ""
        if runtime not in ("", default_runtime(python)):
            requirements = self._cloud().custom.requirements(runtime)
        return self._plan_of(runtime, requirements, memory_mb or self._config.runtime_memory)

    def _plan_of(self, runtime: str, requirements: str, memory_mb: int) -> Plan:
        python = client_python()
        return make_plan(
            self._config,
            self._surroundings,
            account=self._account.name,
            runtime=runtime or default_runtime(python),
            python=python,
            requirements=requirements,
            memory_mb=memory_mb,
        )

    def _deploy(self, plan: Plan) -> _Deployed:
        key = plan.runtime, plan.memory_mb
        with self._deploying:
            found = self._deployed.get(key)
            if found is None or found.plan.name != plan.name:
                deployer = Deployer(self._cloud(), self._clock, _POLL_S, queue=self._takes_messages)
                found = self._deployed[key] = _Deployed(plan, deployer.deploy(plan))
        return found

    # ------------------------------------------------------------ activations

    @property
    def _takes_messages(self) -> bool:
        return self._config.trigger == "pub/sub"

    def invoke(self, task: Task, runtime: RuntimeInfo) -> str:
        """By a message where that is the trigger; else a request, whose end is waited for."""
        if not self._takes_messages:
            return self.request(task, runtime).activation_id
        activation_id = uuid.uuid4().hex
        self._cloud().queues.put(self._address(runtime).name, activation_id, task_to_text(task))
        return activation_id

    def request(self, task: Task, runtime: RuntimeInfo) -> Response:
        if self._takes_messages:
            return Response(self.invoke(task, runtime))
        address = self._address(runtime)
        activation_id = uuid.uuid4().hex
        answer = self._cloud().front.post(address, activation_id, task_to_text(task))
        return self._response(answer, address, activation_id, runtime)

    def _response(
        self, answer: Answer, address: Address, activation_id: str, runtime: RuntimeInfo
    ) -> Response:
        app, outcome = f"the function app '{address.name}'", answer.outcome
        if outcome is Outcome.DONE:
            try:
                return Response(activation_id, statuses_from_text(answer.body))
            except WireError as error:
                raise ResponseLost(f"the answer of {app} cannot be read: {error}") from error
        if outcome is Outcome.GOES_ON:
            return Response(activation_id)
        if outcome is Outcome.DIED:
            return Response(activation_id, failure=self._failure(address, activation_id, answer))
        if outcome is Outcome.UNCLEAR and (words := self._words_of(activation_id)):
            return Response(activation_id, failure=failure_of(words))
        if outcome is Outcome.WRONG:
            raise self._refused(answer, address, runtime)
        raise Throttled(f"{app} takes no more requests for now ({answer.status})")

    def _failure(self, address: Address, activation_id: str, answer: Answer) -> Failure:
        words = self._words_of(activation_id, address.name)
        return failure_of(words) if words else failure_unrecorded(address.name, activation_id, answer.status)

    def _words_of(self, activation_id: str, app: str = "") -> str:
        """What Azure has recorded of a failure, or else of the app's start; empty where it has nothing."""
        try:
            records = self._cloud().records()
            if records is None:
                return ""
            return records.words_of(activation_id) or (records.words_of_start(app) if app else "")
        except ComputeError as error:
            self._health.complain(error)
            return ""

    def _refused(self, answer: Answer, address: Address, runtime: RuntimeInfo) -> ComputeError:
        """Why a request will not be taken; the key may have been changed since it was asked for."""
        app = f"the function app '{address.name}'"
        if answer.status in (401, 403):
            key = self._cloud().resources.key(address.name)
            if key != address.key:
                with self._deploying:
                    found = self._deployed[runtime.name, runtime.memory_mb]
                    changed = replace(found, address=replace(address, key=key))
                    self._deployed[runtime.name, runtime.memory_mb] = changed
                return Throttled(f"{app} has a new key")
            return ComputeError(f"{app} refuses its own key ({answer.status}); check its access restrictions")
        if answer.status == 404:
            return ComputeError(
                f"{app} has no such function (404): it was changed or deleted; run: lithops runtime delete -b "
                f"azure_functions {runtime.name}, and then this program again"
            )
        return ComputeError(f"{app} refuses the request ({answer.status}): {answer.body[:200]!r}")

    def _address(self, runtime: RuntimeInfo) -> Address:
        found = self._deployed.get((runtime.name, runtime.memory_mb))
        return (found or self._deploy(self._plan(runtime.name, runtime.memory_mb))).address

    def dead(self, activation_ids: Sequence[str]) -> Mapping[str, Failure]:
        names = {deployed.address.name for deployed in list(self._deployed.values())}
        return self._health.dead(self._cloud(), names, activation_ids, messages=self._takes_messages)

    # ------------------------------------------------------------ what is known of it

    def describe(self) -> Mapping[str, Any]:
        config = self._config
        return {
            "subscription": config.subscription_id,
            "resource group": config.resource_group,
            "region": config.region or "that of the resource group",
            "trigger": config.trigger,
            "storage account": self._account.name,
            "function apps": sorted({each.address.name for each in list(self._deployed.values())}),
        }

    def prices(self, runtime: RuntimeInfo) -> Prices:
        return prices_of(runtime.memory_mb)

    def diagnose(self) -> Iterator[Finding]:
        yield from diagnose(self._cloud, self._config, self._account)

    def policy(self) -> Mapping[str, Any]:
        config = self._config
        scope = f"/subscriptions/{config.subscription_id}/resourceGroups/{config.resource_group}"
        return {
            "user": role_definition(scope, own_identity=config.identity is None),
            "functions": [
                {"roleName": name, "roleDefinitionId": role_id, "scope": f"the account {self._account.name}"}
                for name, role_id in WORKER_ROLES.items()
            ],
        }

    def close(self) -> None:
        with self._opening:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _cloud(self) -> Cloud:
        with self._opening:
            if self._opened is None:
                self._opened = Cloud(self._config, self._account, self._clock, _POLL_S)
            return self._opened


def _limits(config: AzureFunctionsConfig) -> Limits:
    most, at_once = config.max_workers, config.worker_processes
    if config.trigger == "pub/sub":
        # A message has 64 KB, and what the task's calls have in common is in it too.
        threads = min(_SENDERS, most)
        return Limits(most, 8_000, 16_000, _STARTUP_S, invoke_threads=threads, calls_at_once=at_once)
    return Limits(
        most, 256_000, 4_000_000, _STARTUP_S, invoke_threads=most, connections=most, calls_at_once=at_once
    )

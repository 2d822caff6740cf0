"""Functions: found by their names, or made."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lithops.clock import Clock
from lithops.compute.backends.aws_lambda.config import AwsLambdaConfig, environment_bytes
from lithops.compute.backends.aws_lambda.connection import Connection, translate_errors
from lithops.compute.backends.aws_lambda.names import (
    TAG,
    About,
    digest,
    function_name,
)
from lithops.compute.backends.aws_lambda.roles import Roles
from lithops.compute.base import Surroundings
from lithops.exceptions import ComputeError
from lithops.storage.credentials import VARIABLE

HANDLER = "lithops.compute.backends.aws_lambda.entry.handler"
EVENT_AGE_S = 300
"""Events that have found no room after this time are dropped: nobody waits for them any longer."""
_WITHIN_S = 120.0
_IMAGE_WITHIN_S = 300.0
_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 3.0
_NEW_ROLE = "cannot be assumed"
_ENVIRONMENT_BYTES = 4096

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Code:
    """What a function runs, as the API takes it."""

    runtime: str
    python: str
    content: str
    """Names all of the content."""
    code: dict[str, Any]
    """The argument `Code`."""
    options: dict[str, Any]
    """Further arguments that belong to it: the layers, the handler."""
    words: str
    """What is deployed, for people."""

    @property
    def is_image(self) -> bool:
        return "ImageUri" in self.code


class Deployer:
    """Makes functions ready."""

    def __init__(
        self,
        config: AwsLambdaConfig,
        surroundings: Surroundings,
        connection: Connection,
        roles: Roles,
        clock: Clock,
    ) -> None:
        self._config = config
        self._surroundings = surroundings
        self._connection = connection
        self._roles = roles
        self._clock = clock

    def ensure(self, code: Code, memory_mb: int) -> str:
        """The name of a function that is ready for this code and memory: one that is there, or a new one."""
        settings = self._settings(code, memory_mb)
        content = digest(code.content, settings, self._config.execution_role, self._config.user_tags)
        name = function_name(self._config.namespace, code.runtime, memory_mb, content)
        state = self._state(name)
        if state is None:
            self._deploy(name, code, settings)
        elif state.get("State") != "Active":
            self._wait_until_active(name, code)
        return name

    def _settings(self, code: Code, memory_mb: int) -> dict[str, Any]:
        """Everything about a function but its code and its role, as the API takes it."""
        config = self._config
        given = without_own_credentials(self._surroundings.environment, config)
        variables = {**config.env_vars, **given}
        variables["LITHOPS_WORKER_PROCESSES"] = str(config.worker_processes)
        if environment_bytes(variables) > _ENVIRONMENT_BYTES:
            raise ComputeError(
                f"the environment of a function takes {environment_bytes(variables)} bytes, and Lambda has room for "
                f"{_ENVIRONMENT_BYTES}; shorten aws_lambda.env_vars"
            )
        settings: dict[str, Any] = {
            "Description": About(code.runtime, code.python, config.namespace or "").to_text(),
            "Timeout": config.runtime_timeout,
            "MemorySize": memory_mb,
            "Architectures": [config.architecture],
            "EphemeralStorage": {"Size": config.ephemeral_storage},
            "Environment": {"Variables": variables},
            **code.options,
        }
        if config.vpc:
            settings["VpcConfig"] = {
                "SubnetIds": config.vpc["subnets"],
                "SecurityGroupIds": config.vpc["security_groups"],
            }
        if config.efs:
            settings["FileSystemConfigs"] = [
                {"Arn": mount["access_point"], "LocalMountPath": mount["mount_path"]} for mount in config.efs
            ]
        return settings

    def _state(self, name: str) -> dict[str, Any] | None:
        """The function as it is; None: there is none. One request."""
        client = self._connection.client("lambda")
        with translate_errors(f"looking for the function {name}"):
            try:
                state: dict[str, Any] = client.get_function_configuration(FunctionName=name)
            except client.exceptions.ResourceNotFoundException:
                return None
            return state

    def _deploy(self, name: str, code: Code, settings: dict[str, Any]) -> None:
        _logger.info(
            "deploying %s to AWS Lambda in %s: %s, %d MB. This is done once",
            name,
            self._connection.region,
            code.words,
            settings["MemorySize"],
        )
        began = self._clock.now()
        role = self._roles.ensure()
        self._create(name, code, settings, role)
        self._wait_until_active(name, code)
        _logger.info("%s is ready after %.1f s", name, self._clock.now() - began)

    def _create(self, name: str, code: Code, settings: dict[str, Any], role: str) -> None:
        client = self._connection.client("lambda")

        def create() -> bool:
            try:
                client.create_function(
                    FunctionName=name,
                    Role=role,
                    Code=code.code,
                    PackageType="Image" if code.is_image else "Zip",
                    Tags={**self._config.user_tags, TAG: code.runtime},
                    **settings,
                )
            except client.exceptions.ResourceConflictException:
                return True  # another program was faster
            except client.exceptions.InvalidParameterValueException as error:
                if _NEW_ROLE in str(error) and self._roles.is_own:
                    return False  # it takes some seconds until a new role is known everywhere
                raise
            return True

        with translate_errors(f"making the function {name}"):
            self._until(create, f"Lambda could not use the new role {role}", _WITHIN_S)
        with translate_errors(f"setting up the function {name}"):
            try:
                client.put_function_event_invoke_config(
                    FunctionName=name, MaximumRetryAttempts=0, MaximumEventAgeInSeconds=EVENT_AGE_S
                )
            except Exception:
                # Whoever finds it by its name takes it for complete.
                client.delete_function(FunctionName=name)
                raise

    def _wait_until_active(self, name: str, code: Code) -> None:
        def is_active() -> bool:
            state = self._state(name)
            if state is None:
                raise ComputeError(f"the function {name} was deleted while it was made; start again")
            if state.get("State") == "Failed":
                raise ComputeError(
                    f"the function {name} could not be made: {state.get('StateReason')}; "
                    f"correct that, and run: lithops runtime delete -b aws_lambda {code.runtime}"
                )
            return bool(state.get("State") == "Active")

        within_s = _IMAGE_WITHIN_S if code.is_image or self._config.vpc else _WITHIN_S
        self._until(is_active, f"the function {name} did not become active", within_s)

    def _until(self, attempt: Callable[[], bool], failure: str, within_s: float) -> None:
        until, pause_s = self._clock.now() + within_s, _PAUSE_S
        nobody = threading.Event()
        while not attempt():
            if self._clock.now() > until:
                raise ComputeError(
                    f"{failure} within {within_s:g} s; look at it in the console of AWS, or try again"
                )
            self._clock.wait(nobody, pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)

    def describe(self, name: str) -> dict[str, Any]:
        """What the function says of itself. One activation."""
        client = self._connection.client("lambda")
        with translate_errors(f"asking the function {name} for its Python"):
            answer = client.invoke(FunctionName=name, Payload=b'{"describe": true}')
        said: dict[str, Any] = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise ComputeError(
                f"the function {name} cannot start: {said.get('errorMessage')}; build its runtime anew with: "
                "lithops runtime build -b aws_lambda -f FILE NAME"
            )
        return said

    def list(self) -> list[dict[str, Any]]:
        """All functions of the account, as the API has them."""
        client = self._connection.client("lambda")
        with translate_errors("listing functions"):
            pages = client.get_paginator("list_functions").paginate()
            return [function for page in pages for function in page["Functions"]]

    def delete(self, name: str) -> None:
        client = self._connection.client("lambda")
        with translate_errors(f"deleting the function {name}"):
            try:
                client.delete_function(FunctionName=name)
            except client.exceptions.ResourceNotFoundException:
                _logger.info("the function %s has been deleted by somebody else", name)


def without_own_credentials(environment: Mapping[str, str], config: AwsLambdaConfig) -> dict[str, str]:
    """The environment without the credentials of the section `aws`: functions use their role instead."""
    others = {
        name: secrets
        for name, secrets in json.loads(environment.get(VARIABLE, "{}")).items()
        if name != "aws_s3" or secrets.get("access_key_id") != config.access_key_id
    }
    kept = {name: value for name, value in environment.items() if name != VARIABLE}
    return {**kept, VARIABLE: json.dumps(others)} if others else kept

"""The compute backends by name. A new one is one row here."""

from __future__ import annotations

from typing import Any

from lithops.compute.base import ComputeBackend, Surroundings
from lithops.registry import Registry, Row

_registry = Registry(
    "compute",
    "lithops.compute",
    {
        "localhost": Row(
            "lithops.compute.backends.localhost.config:LocalhostConfig",
            "lithops.compute.backends.localhost.backend:LocalhostCompute",
        ),
        "aws_lambda": Row(
            "lithops.compute.backends.aws_lambda.config:AwsLambdaConfig",
            "lithops.compute.backends.aws_lambda.backend:AwsLambda",
            extra="aws",
        ),
        "gcp_functions": Row(
            "lithops.compute.backends.gcp_functions.config:GcpFunctionsConfig",
            "lithops.compute.backends.gcp_functions.backend:GcpFunctions",
            extra="gcp",
        ),
        "azure_functions": Row(
            "lithops.compute.backends.azure_functions.config:AzureFunctionsConfig",
            "lithops.compute.backends.azure_functions.backend:AzureFunctions",
            extra="azure",
        ),
    },
)

backend_names = _registry.names
config_class = _registry.config_class


def create(name: str, config: Any, surroundings: Surroundings) -> ComputeBackend:
    """The backend `name`, made of its configuration (an instance of `config_class(name)`) for a program."""
    backend: ComputeBackend = _registry.create(name, config, surroundings=surroundings)
    return backend

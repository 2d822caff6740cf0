"""The promises of a compute backend, kept by the clouds themselves: `pytest -m cloud`, on accounts of whoever runs it.

`docs/clouds.md` says what has to be there, and what it costs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lithops.config.loader import load_config
from lithops.executors import FunctionExecutor
from lithops.testing.compute import ComputeConformance

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(900)]


class OnAnAccount(ComputeConformance):
    """Over the user's own configuration, with its sections of the cloud."""

    backend: ClassVar[str]
    storage: ClassVar[str]
    has_lithops: ClassVar[bool] = False
    many_calls: ClassVar[int] = 50
    patience_s: ClassVar[float] = 600.0

    def make_executor(self, tmp_path: Path, **section: Any) -> FunctionExecutor:
        config = load_config(os.environ.get("LITHOPS_CONFIG_FILE"))
        if self.backend not in config:
            pytest.skip(f"the configuration has no section {self.backend}")
        config["lithops"] = {"backend": self.backend, "storage": self.storage, **section}
        return FunctionExecutor(config=config)


class TestAwsLambda(OnAnAccount):
    backend = "aws_lambda"
    storage = "aws_s3"


class TestGcpFunctions(OnAnAccount):
    backend = "gcp_functions"
    storage = "gcp_storage"


class TestAzureFunctions(OnAnAccount):
    backend = "azure_functions"
    storage = "azure_storage"

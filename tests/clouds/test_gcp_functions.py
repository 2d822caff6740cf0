"""Google Cloud Functions keep every promise of a compute backend, over the stand-in of Google Cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from google_fixtures import Configure, configure, google_cloud, key

from lithops.executors import FunctionExecutor
from lithops.testing.compute import ComputeConformance

__all__ = ["configure", "google_cloud", "key"]


class TestGcpFunctions(ComputeConformance):
    has_lithops: ClassVar[bool] = False
    many_calls: ClassVar[int] = 60

    @pytest.fixture(autouse=True)
    def cloud(self, configure: Configure) -> None:
        self.configure = configure

    def make_executor(self, tmp_path: Path, **section: Any) -> FunctionExecutor:
        return FunctionExecutor(config=self.configure(**section))

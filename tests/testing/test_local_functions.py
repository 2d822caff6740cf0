"""Functions that report in their responses, or through the storage alone, keep the promises of a compute backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lithops.clock import SystemClock
from lithops.config.loader import resolve
from lithops.executors import FunctionExecutor
from lithops.storage import registry
from lithops.testing.compute import ComputeConformance
from lithops.testing.functions import LocalFunctions


class TestEvents(ComputeConformance):
    connections = 0
    isolated = False

    def make_executor(self, tmp_path: Path, **section: Any) -> FunctionExecutor:
        settings = resolve({"lithops": section, "localhost": {"root": str(tmp_path)}})
        storage = registry.create(settings.storage_name, settings.storage)
        compute = LocalFunctions(processes=4, connections=self.connections, isolated=self.isolated)
        return FunctionExecutor.over(compute, storage, settings, clock=SystemClock(), threaded=True)


class TestResponses(TestEvents):
    connections = 100


class TestResponsesAndEvents(TestEvents):
    connections = 2


class TestIsolatedCalls(TestEvents):
    connections = 2
    isolated = True

"""The simulated cloud keeps what it can of a compute backend's promises: its calls cannot die, or be stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from lithops.executors import FunctionExecutor
from lithops.testing.compute import ComputeConformance
from lithops.testing.simulation import SimulatedCloud


class _InOneProcess(ComputeConformance):
    runs_in_processes: ClassVar[bool] = False
    captures_logging: ClassVar[bool] = False
    captures_subprocesses: ClassVar[bool] = False
    has_lithops: ClassVar[bool] = False
    connected: ClassVar[bool]

    def make_executor(self, tmp_path: Path, **section: Any) -> FunctionExecutor:
        return SimulatedCloud(connected=self.connected).executor(**section)


class TestStatusesThroughTheStorage(_InOneProcess):
    connected: ClassVar[bool] = False


class TestStatusesOverAConnection(_InOneProcess):
    connected: ClassVar[bool] = True

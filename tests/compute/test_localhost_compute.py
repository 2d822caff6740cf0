"""Worker processes of this machine keep every promise of a compute backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from lithops.executors import FunctionExecutor
from lithops.testing.compute import ComputeConformance


class TestLocalhost(ComputeConformance):
    on_this_machine: ClassVar[bool] = True

    def make_executor(self, tmp_path: Path, **section: Any) -> FunctionExecutor:
        return FunctionExecutor(
            config={"lithops": section, "localhost": {"root": str(tmp_path), "worker_processes": 4}}
        )

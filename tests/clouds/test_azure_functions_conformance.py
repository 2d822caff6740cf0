"""What every compute backend promises, on function apps that requests and messages start."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from azure_fixtures import azure, calm, config_of, looks_often
from azure_service import Azure

from lithops import FunctionExecutor
from lithops.testing.compute import ComputeConformance

__all__ = ["azure", "calm", "looks_often"]


class TestRequests(ComputeConformance):
    """The trigger https."""

    has_lithops = False
    many_calls = 200
    trigger: ClassVar[str] = "https"

    @pytest.fixture(autouse=True)
    def cloud(self, azure: Azure, looks_often: None) -> None:
        self.azure = azure

    def make_executor(self, tmp_path: Path, **section: Any) -> FunctionExecutor:
        config = config_of(self.azure, trigger=self.trigger)
        config["lithops"].update(section)
        return FunctionExecutor(config=config, log_level=None)


class TestMessages(TestRequests):
    """The trigger pub/sub."""

    many_calls = 60
    trigger = "pub/sub"

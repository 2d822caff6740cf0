"""`lithops.multiprocessing` on Azure Functions, over the stand-in of Azure."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from azure_fixtures import azure, calm, config_of, looks_often
from azure_service import Azure
from processes_conformance import PoolsOnACloud, ProcessesOnACloud

__all__ = ["azure", "calm", "looks_often"]


@pytest.fixture
def configuration(request: pytest.FixtureRequest, azure: Azure) -> dict[str, Any]:
    return config_of(azure, **request.cls.section)


class TestRequests(ProcessesOnACloud, PoolsOnACloud):
    """The trigger https."""

    function_name = "WEBSITE_SITE_NAME"


class TestMessages(ProcessesOnACloud):
    """The trigger pub/sub."""

    section: ClassVar[dict[str, Any]] = {"trigger": "pub/sub"}

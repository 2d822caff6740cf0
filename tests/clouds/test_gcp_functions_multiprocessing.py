"""`lithops.multiprocessing` on Google Cloud Functions, over the stand-in of Google Cloud."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from google_fixtures import Configure, configure, google_cloud, key
from processes_conformance import PoolsOnACloud, ProcessesOnACloud

__all__ = ["configure", "google_cloud", "key"]


@pytest.fixture
def configuration(request: pytest.FixtureRequest, configure: Configure) -> dict[str, Any]:
    return configure(request.cls.section)


class TestRequests(ProcessesOnACloud, PoolsOnACloud):
    """The trigger https."""

    function_name = "K_SERVICE"


class TestEvents(ProcessesOnACloud):
    """The trigger pub/sub."""

    section: ClassVar[dict[str, Any]] = {"trigger": "pub/sub"}

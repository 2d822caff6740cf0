"""Fixtures: the stand-in for Google Cloud, and configurations that lead to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_gcs_server import FakeGcs
from google.auth._regional_access_boundary_utils import _RegionalAccessBoundaryManager
from google_identity import PROJECT
from google_stand_in import Google, running_google

from lithops.compute.backends.gcp_functions.config import GcpFunctionsConfig
from lithops.compute.backends.gcp_functions.rights import policy

REGION = "europe-west1"
PERMISSIONS = policy(GcpFunctionsConfig(trigger="pub/sub"))["client"]["includedPermissions"]
"""The least that this library says it needs."""

Configure = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def google_cloud(tmp_path_factory: pytest.TempPathFactory, fake_gcs: FakeGcs) -> Iterator[Google]:
    """A cloud of the module's own."""
    with (
        running_google(tmp_path_factory.mktemp("google"), fake_gcs.endpoint) as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in cloud.environment.items():
            patch.setenv(name, value)
        # google-auth asks Google itself, in a thread, where each account may be used.
        patch.setattr(_RegionalAccessBoundaryManager, "maybe_start_refresh", lambda *arguments: None)
        yield cloud


@pytest.fixture(scope="module")
def key(google_cloud: Google) -> Path:
    """The key of an account with the least rights."""
    return google_cloud.account("client", PERMISSIONS)


@pytest.fixture(scope="module")
def configure(key: Path, fake_gcs: FakeGcs) -> Configure:
    """A configuration with functions and objects on the stand-in."""

    def make(section: dict[str, Any] | None = None, **lithops: Any) -> dict[str, Any]:
        return {
            "lithops": {"backend": "gcp_functions", "storage": "gcp_storage", "log_level": None, **lithops},
            "gcp": {"project_name": PROJECT, "region": REGION, "credentials_path": str(key)},
            "gcp_storage": {"endpoint": fake_gcs.endpoint},
            "gcp_functions": {"max_workers": 10, **(section or {})},
        }

    return make

"""joblib on Google Cloud Functions, over the stand-in of Google Cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google_fixtures import Configure, configure, google_cloud, key
from joblib_conformance import REQUIREMENTS, RUNTIME, JoblibOnACloud

from lithops import FunctionExecutor
from lithops.compute.backends.gcp_functions.backend import GcpFunctions

__all__ = ["configure", "google_cloud", "key"]


@pytest.fixture(scope="module")
def configuration(configure: Configure, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    requirements: Path = tmp_path_factory.mktemp("runtime") / "requirements.txt"
    requirements.write_text(REQUIREMENTS)
    with FunctionExecutor(config=configure()) as executor:
        assert isinstance(executor.compute_handler, GcpFunctions)
        executor.compute_handler.build(RUNTIME, requirements)
    return configure({"runtime": RUNTIME})


class TestJoblib(JoblibOnACloud):
    function_name = "K_SERVICE"

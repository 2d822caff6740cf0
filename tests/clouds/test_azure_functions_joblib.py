"""joblib on Azure Functions, over the stand-in of Azure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from azure_fixtures import Make, azure, calm, config_of, looks_often, make
from azure_service import Azure
from joblib_conformance import REQUIREMENTS, RUNTIME, JoblibOnACloud

__all__ = ["azure", "calm", "looks_often", "make"]


@pytest.fixture
def configuration(azure: Azure, make: Make, tmp_path: Path) -> dict[str, Any]:
    """What is built already is found."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(REQUIREMENTS)
    make().build(RUNTIME, requirements)
    return config_of(azure, runtime=RUNTIME)


class TestJoblib(JoblibOnACloud):
    function_name = "WEBSITE_SITE_NAME"

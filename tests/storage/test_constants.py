"""The temporary folder is worked out when it is asked for, and not made."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import lithops.constants


def test_each_user_has_a_folder_below_the_temporary_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    from lithops.constants import LITHOPS_TEMP_DIR

    assert str(tmp_path / f"lithops-{os.getuid()}") == LITHOPS_TEMP_DIR
    assert list(tmp_path.iterdir()) == []


def test_without_user_numbers_the_name_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "getuid")
    monkeypatch.setenv("LOGNAME", "ada")
    assert os.path.basename(lithops.constants.LITHOPS_TEMP_DIR) == "lithops-ada"


def test_importing_does_no_work() -> None:
    program = "import lithops.constants, sys; print('tempfile' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False\n"


def test_other_names_are_missing_as_usual() -> None:
    with pytest.raises(AttributeError, match="no attribute 'OTHER'"):
        lithops.constants.OTHER

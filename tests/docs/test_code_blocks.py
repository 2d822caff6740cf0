"""The code in the documentation runs, and prints what the page says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pages import PAGES, ROOT, blocks, expected_output, name_of, run_program

WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_blocks_of_a_page_run_one_after_the_other(page: Path, tmp_path: Path) -> None:
    code = "\n".join(blocks(page, "python"))
    printed = run_program(code, tmp_path)
    shown = expected_output(code)
    if shown:
        assert printed == shown


def test_the_readme_counts_the_primes_below_a_thousand(tmp_path: Path) -> None:
    assert run_program("\n".join(blocks(ROOT / "README.md", "python")), tmp_path) == ["168", "168"]


@pytest.fixture(scope="module")
def notebook() -> Any:
    return json.loads(NOTEBOOK.read_text())


def test_the_notebook_runs_and_prints_what_it_says(notebook: Any, tmp_path: Path) -> None:
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert run_program(code, tmp_path) == expected_output(code) != []


def test_the_notebook_is_kept_without_outputs(notebook: Any) -> None:
    assert notebook["nbformat"] == 4
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None

"""What the documentation points at exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import PAGES, ROOT, blocks, name_of, prose

_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_SOURCE = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|toml|yaml))`")
_PLACES = ("", "src/lithops")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    targets = [target for target in _LINK.findall(prose(page)) if "://" not in target]
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", [ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_files_that_are_named_exist(page: Path) -> None:
    named = _SOURCE.findall(prose(page))
    assert named
    missing = [name for name in named if not any((ROOT / place / name).exists() for place in _PLACES)]
    files = {path.name for path in (ROOT / "src").rglob("*.py")}
    assert [name for name in missing if name not in files] == []


def test_the_layers_are_those_that_are_checked() -> None:
    contract = re.search(
        r"^layers = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL
    )
    assert contract is not None
    layers = re.findall(r'"(.*)"', contract[1])
    drawn = [block.splitlines() for block in blocks(ROOT / "ARCHITECTURE.md", "")]
    assert [layer.replace(" : ", " | ") for layer in layers] in drawn


def test_the_map_of_the_documentation_has_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"]({page.name})" in index

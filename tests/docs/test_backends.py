"""A backend is a folder, a row of the registry, an extra and a page, and these agree."""

from __future__ import annotations

import re
from importlib.metadata import metadata
from typing import NamedTuple

import pytest
from pages import ROOT

from lithops.compute import registry as compute_registry
from lithops.registry import Registry
from lithops.storage import registry as storage_registry

REGISTRIES: dict[str, Registry] = {
    "compute": compute_registry._registry,
    "storage": storage_registry._registry,
}
BACKENDS = [(kind, name) for kind, registry in REGISTRIES.items() for name in registry.rows]


class TableRow(NamedTuple):
    needs: str
    page: str


def table(kind: str) -> dict[str, TableRow]:
    """The table of that kind in the page of all backends, by name."""
    text = (ROOT / "docs" / "backends.md").read_text()
    section = text.split(f"## {kind.capitalize()}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|([^|]*)\|$", section, re.MULTILINE)
    return {name: TableRow(needs.strip(), page.strip()) for name, needs, page in rows}


def folder_of(kind: str, name: str) -> str:
    return REGISTRIES[kind].rows[name].config.split(".")[3]


@pytest.mark.parametrize("kind", REGISTRIES)
def test_folders_rows_and_the_page_have_the_same_names(kind: str) -> None:
    parent = ROOT / "src" / "lithops" / kind / "backends"
    folders = {folder.name for folder in parent.iterdir() if (folder / "__init__.py").exists()}
    rows = REGISTRIES[kind].rows
    assert folders == {folder_of(kind, name) for name in rows}
    assert folders <= set(rows), "a backend that serves several names has the first one's"
    assert set(rows) == set(table(kind))


@pytest.mark.parametrize(("kind", "name"), BACKENDS)
def test_a_backend_is_in_its_folder(kind: str, name: str) -> None:
    row = REGISTRIES[kind].rows[name]
    folder = f"src/lithops/{kind}/backends/{folder_of(kind, name)}"
    package = f"lithops.{kind}.backends.{folder_of(kind, name)}"
    assert row.config.partition(":")[0] == f"{package}.config"
    assert row.backend.partition(":")[0] == f"{package}.backend"
    assert REGISTRIES[kind].config_class(name).__module__ == f"{package}.config"
    assert (ROOT / folder / "README.md").read_text().startswith("# ")
    assert f"(../{folder}/README.md)" in table(kind)[name].page


@pytest.mark.parametrize(("kind", "name"), BACKENDS)
def test_an_extra_is_declared_and_documented(kind: str, name: str) -> None:
    extra = REGISTRIES[kind].rows[name].extra
    if extra is None:
        assert table(kind)[name].needs == "nothing"
    else:
        assert extra in (metadata("lithops").get_all("Provides-Extra") or [])
        assert f"lithops[{extra}]" in table(kind)[name].needs


@pytest.mark.parametrize("name", REGISTRIES["compute"].rows)
def test_a_compute_backend_has_a_runtime_page(name: str) -> None:
    assert f"({name}/README.md)" in (ROOT / "runtimes" / "README.md").read_text()

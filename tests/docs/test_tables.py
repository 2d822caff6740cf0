"""Tables of the documentation are complete: settings with their defaults, errors, packages."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from importlib.metadata import requires
from typing import Any

import pytest
from pages import ROOT

from lithops import exceptions
from lithops.accounts import AwsAccount, AzureAccount, GcpAccount
from lithops.compute import registry as compute_registry
from lithops.config.model import LithopsSection, RabbitmqSection
from lithops.exceptions import CallCancelled, LithopsError, RemoteTraceback
from lithops.storage import registry as storage_registry


def configuration_table(section: str) -> dict[str, str]:
    """The keys of a section, with their defaults as the page has them."""
    text = (ROOT / "docs" / "configuration.md").read_text()
    table = text.split(f"## `{section}`\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, re.MULTILINE))


def account_of(cls: Any) -> Any:
    """The class of the provider's section, whose keys a backend's section takes too."""
    bases = [base for base in cls.__mro__ if "account_section" in vars(base)]
    return bases[-1] if bases else None


def defaults(*classes: Any) -> dict[str, str]:
    instances = [cls() for cls in classes]
    values = {
        field.name: getattr(each, field.name) for each in instances for field in dataclasses.fields(each)
    }
    for account in filter(None, map(account_of, classes)):
        if account not in classes:
            for field in dataclasses.fields(account):
                values.pop(field.name, None)
    shown = {
        name: value if value and isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }
    return {name: f"`{value}`" for name, value in shown.items()}


def test_every_setting_is_there_with_its_default() -> None:
    expected = defaults(LithopsSection)
    expected["log_format"] = "as in the example file"
    assert configuration_table("lithops") == expected
    assert configuration_table("rabbitmq") == defaults(RabbitmqSection)


@pytest.mark.parametrize(
    "name", sorted({*compute_registry.backend_names(), *storage_registry.backend_names()})
)
def test_every_setting_of_a_backend_is_there_with_its_default(name: str) -> None:
    registries = (compute_registry, storage_registry)
    classes = [registry.config_class(name) for registry in registries if name in registry.backend_names()]
    assert configuration_table(name) == defaults(*classes)


@pytest.mark.parametrize("account", [AwsAccount, GcpAccount, AzureAccount])
def test_every_setting_of_a_provider_is_there_with_its_default(account: Any) -> None:
    assert configuration_table(account.account_section) == defaults(account)


def family(root: type[BaseException]) -> Iterator[type[BaseException]]:
    """The exception and all that are derived from it in `lithops.exceptions`."""
    yield root
    for each in root.__subclasses__():
        if each.__module__ == exceptions.__name__:
            yield from family(each)


def test_every_error_is_there_with_what_else_it_is() -> None:
    text = (ROOT / "docs" / "errors.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*)\|", text, re.MULTILINE))
    classes = {each.__name__: each for each in (*family(LithopsError), RemoteTraceback)}
    assert classes["CallCancelled"] is CallCancelled, "which is loaded on first use"
    assert set(rows) == set(classes)
    for name, each in classes.items():
        others = [base.__name__ for base in each.__bases__ if base.__module__ != exceptions.__name__]
        expected = "" if others == ["Exception"] else ", ".join(f"`{other}`" for other in others)
        assert rows[name].strip() == expected, name


def test_every_package_is_explained() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    for requirement in requires("lithops") or []:
        match = re.match(r"[\w-]+", requirement)
        assert match is not None
        assert re.search(rf"\b{re.escape(match[0])}\b", text, re.IGNORECASE), requirement

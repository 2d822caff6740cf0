"""Every public name is in the page of all names, with types and a docstring in the code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from pages import ROOT

import lithops
from lithops.future import ResponseFuture
from lithops.futures_list import FuturesList
from lithops.retries import RetryingFunctionExecutor, RetryingFuture
from lithops.storage.client import Storage
from lithops.wire.messages import STAT_NAMES

CLASSES: list[type[Any]] = [
    lithops.FunctionExecutor,
    ResponseFuture,
    FuturesList,
    RetryingFunctionExecutor,
    RetryingFuture,
    Storage,
]
PAGE = (ROOT / "docs" / "api.md").read_text()


def section(title: str) -> str:
    """The part of the page under that heading."""
    return PAGE.split(f"\n## `{title}`\n")[1].split("\n## ")[0]


def names_in_tables(text: str) -> set[str]:
    """The names in the first columns."""
    cells = re.findall(r"^\| ([^|]*) \|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def public_members(cls: type[Any]) -> dict[str, Any]:
    return {name: member for name, member in vars(cls).items() if not name.startswith("_")}


def public_attributes(cls: type[Any]) -> set[str]:
    """Members, declared attributes, and those that are set where an object is made."""
    makers = [vars(cls).get(name) for name in ("__init__", "_assemble")]
    made = "".join(inspect.getsource(maker) for maker in makers if maker is not None)
    assigned = set(re.findall(r"\bself\.([a-z]\w*)\b[^=\n(]*=[^=]", made))
    return {*public_members(cls), *vars(cls).get("__annotations__", {}), *assigned}


def functions(cls: type[Any]) -> dict[str, Callable[..., Any]]:
    """Public methods and the getters of public properties, with the constructor."""
    found: dict[str, Callable[..., Any]] = {}
    for name, member in {**public_members(cls), "__init__": vars(cls).get("__init__")}.items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if inspect.isfunction(function):
            found[name] = function
    return found


def untyped(function: Callable[..., Any]) -> list[str]:
    """The parameters without a type, and ``return``."""
    parameters = inspect.signature(function).parameters
    named = [name for name in parameters if name not in ("self", "cls")]
    return [name for name in (*named, "return") if name not in function.__annotations__]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_page_has_every_name_of_a_class_and_no_other(cls: type[Any]) -> None:
    text = section("RetryingFunctionExecutor" if cls is RetryingFuture else cls.__name__)
    parts = text.split("\n| of `")
    table = next((part for part in parts[1:] if part.startswith(cls.__name__)), parts[0])
    assert names_in_tables(table) - {cls.__name__} == public_attributes(cls)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_method_and_property_has_types_and_a_docstring(cls: type[Any]) -> None:
    assert cls.__doc__
    for name, function in functions(cls).items():
        assert untyped(function) == [], name
        assert function.__doc__ or name == "__init__", f"{cls.__name__}.{name} has no docstring"


def test_the_page_has_every_name_of_the_package() -> None:
    assert names_in_tables(section("lithops")) == set(lithops.__all__)


@pytest.mark.parametrize("name", [name for name in lithops.__all__ if name != "__version__"])
def test_every_name_of_the_package_has_types_and_a_docstring(name: str) -> None:
    named = getattr(lithops, name)
    function = named.wait if inspect.ismodule(named) else named
    assert function.__doc__
    assert untyped(function.__init__ if inspect.isclass(function) else function) == []


def test_the_signatures_on_the_page_are_those_of_the_code() -> None:
    for cls in CLASSES:
        text = section("RetryingFunctionExecutor" if cls is RetryingFuture else cls.__name__)
        for name, arguments in re.findall(r"`(\w+)\(([^`]*)\)`", text):
            function = functions(cls).get("__init__" if name == cls.__name__ else name)
            if function is not None:
                assert arguments == shown_arguments(function), f"{cls.__name__}.{name}"


def shown_arguments(function: Callable[..., Any]) -> str:
    """The arguments as the page writes them: without types, and without those that are given by name alone."""
    shown = []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is parameter.KEYWORD_ONLY:
            continue
        default = repr(parameter.default).replace("mappingproxy({})", "{}")
        if parameter.kind is parameter.VAR_KEYWORD:
            shown.append(f"**{parameter.name}")
        elif parameter.default is parameter.empty:
            shown.append(parameter.name)
        else:
            shown.append(f"{parameter.name}={default}")
    return ", ".join(shown)


def test_the_page_has_every_measurement() -> None:
    with lithops.FunctionExecutor(config={}, log_level=None, worker_processes=1) as fexec:
        future = fexec.call_async(abs, -1)
        future.result()
        measured = future.stats
    table = section("ResponseFuture").split("\n| of `stats`")[1]
    assert names_in_tables(table) == set(measured)
    assert set(STAT_NAMES) <= set(measured)

"""The page about `multiprocessing` has every name of the standard's module, and says of each what is so."""

from __future__ import annotations

import importlib
import multiprocessing
import pkgutil
import re

import pytest
from pages import ROOT

import lithops.multiprocessing as mp
from lithops.multiprocessing import config

PAGE = (ROOT / "docs" / "multiprocessing.md").read_text()
ROWS = {
    name.removeprefix("lithops.multiprocessing").removeprefix("multiprocessing").lstrip("."): state
    for names, state in re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|$", PAGE, re.MULTILINE)
    for name in re.findall(r"`([^`]+)`", names)
}
INTERNAL = {
    "context", "forkserver", "heap", "popen_fork", "popen_forkserver", "popen_spawn_posix", "popen_spawn_win32",
    "process", "reduction", "resource_sharer", "resource_tracker", "spawn", "util",
}  # fmt: skip
"""Modules of the standard library that its documentation does not name."""


def test_every_name_of_the_standard_module_is_on_the_page() -> None:
    assert {*multiprocessing.__all__, "DefaultContext", "config"} <= ROWS.keys()
    assert set(mp.__all__) <= ROWS.keys()


def test_every_documented_module_is_on_the_page() -> None:
    modules = {info.name for info in pkgutil.iter_modules(multiprocessing.__path__)} - INTERNAL
    assert modules <= ROWS.keys()


@pytest.mark.parametrize("name", sorted(multiprocessing.__all__))
def test_names_are_there(name: str) -> None:
    assert hasattr(mp, name)


@pytest.mark.parametrize("name", ["allow_connection_pickling", "set_executable"])
def test_what_is_refused_says_what_to_do(name: str) -> None:
    assert ROWS[name].startswith("refused")
    with pytest.raises(NotImplementedError, match=r"runtime|Pipe"):
        getattr(mp, name)(*["python"][: name == "set_executable"])


@pytest.mark.parametrize(
    ("module", "name"), [("shared_memory", "SharedMemory"), ("managers", "SharedMemoryManager")]
)
def test_memory_in_common_is_refused(module: str, name: str) -> None:
    refused = getattr(importlib.import_module(f"lithops.multiprocessing.{module}"), name)
    with pytest.raises(NotImplementedError, match=r"machine.+ use Array"):
        refused()


def test_every_parameter_is_there_with_its_default() -> None:
    shown = dict(re.findall(r"^\| `([A-Z_]+)` \| `([^`]*)` \|", PAGE, re.MULTILINE))
    assert shown == {key: repr(config.get_parameter(key)) for key in config._DEFAULTS}

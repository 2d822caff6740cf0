"""What the tests of shared objects have in common: three ways to have them, and a server that ends with each module.

A test that takes `mp` runs over the standard library's objects, over this project's on this machine, and, with
``-m aws``, over this project's on the stand-in for AWS Lambda. Markers leave some of them out.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_fixtures import AwsProgram, sort_aws_last, way_over_aws
from aws_fixtures import lasting_aws as lasting_aws
from aws_fixtures import lasting_aws_program as lasting_aws_program
from places import AnyPlace, Place
from valkey_server import Valkey

from lithops import FunctionExecutor
from lithops.multiprocessing import config, program

_LOCAL = {
    "last words": "a function that ends in the moment after it has printed may take that with it",
    "children": "functions of a cloud start no processes, pools or servers of their own",
    "descriptors": "it is about descriptors and sockets of this machine",
    "files": "it is about files and folders of this machine",
    "keys": "no key travels to a cloud",
    "packages": "the function has no numpy there",
    "pids": "a process in a cloud has no pid, and takes no signals",
    "warm": "the modules of a cloud's workers are as earlier pools and processes have left them",
    "workers": "a cloud makes and replaces workers as it likes",
}
"""Why a test has no meaning in a cloud: what `local_only` names."""


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        f"local_only(why): is not run on a cloud; the reason is one of {', '.join(_LOCAL)}",
        "ours: is not run over the standard library, which promises less",
    ):
        config.addinivalue_line("markers", line)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The ways to run a test that takes `mp`."""
    if "mp" not in metafunc.fixturenames:
        return
    test: pytest.Item = metafunc.definition
    ways = ["lithops", way_over_aws(test, _LOCAL)]
    # The executor's calls share nothing with the standard library's objects.
    if not (test.get_closest_marker("ours") or "fexec" in metafunc.fixturenames):
        ways.insert(0, "standard")
    metafunc.parametrize("mp", ways, indirect=True, scope="module")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    sort_aws_last(items)


@pytest.fixture(scope="module", autouse=True)
def program_ends(nothing_left_behind: None) -> Iterator[None]:
    """The workers and the server of the program end with the module, after all that its other fixtures have made."""
    yield
    gc.collect()
    program.close()


@pytest.fixture(scope="module")
def mp(request: pytest.FixtureRequest, program_ends: None) -> Iterator[Any]:
    """The standard library's way to have the objects, or this project's: a test that takes it states what all do."""
    if request.param == "standard":
        yield multiprocessing.get_context("spawn")
        return
    if request.param == "aws_lambda":
        cloud: AwsProgram = request.getfixturevalue("lasting_aws_program")
        valkey: Valkey = request.getfixturevalue("valkey")
        sections = cloud.config(namespace="processes", runtime_timeout=60)
        config.set_parameter(config.LITHOPS_CONFIG, {**sections, "redis": valkey.settings})
    yield importlib.import_module("lithops.multiprocessing")
    if request.param == "aws_lambda":
        gc.collect()
        program.close()
        config.set_parameter(config.LITHOPS_CONFIG, None)


@pytest.fixture(scope="module")
def fexec(mp: Any) -> Iterator[FunctionExecutor]:
    """An executor whose calls run where the processes do."""
    sections = config.get_parameter(config.LITHOPS_CONFIG)
    options: dict[str, Any] = {"worker_processes": 2} if sections is None else {}
    with FunctionExecutor(config=sections, log_level=None, **options) as executor:
        yield executor


@pytest.fixture
def place(mp: Any, tmp_path: Path) -> AnyPlace:
    """A folder that the test has in common with its processes, wherever they run."""
    if config.get_parameter(config.LITHOPS_CONFIG) is None:
        return tmp_path
    server = program.session().server
    return Place(server, f"{server.program}:places:{uuid.uuid4().hex}")

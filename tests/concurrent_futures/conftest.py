"""Executors of the standard library and of this one: what a test asks of all is what the standard library does.

A test that takes `make` or `pool` runs over the standard library's executor, over this project's on this machine, and,
with ``-m aws``, over this project's on the stand-in for AWS Lambda.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

import pytest
from aws_fixtures import AwsProgram, sort_aws_last, way_over_aws
from aws_fixtures import lasting_aws as lasting_aws
from aws_fixtures import lasting_aws_program as lasting_aws_program
from executor_makers import make_ours, make_standard
from futures_calls import MakeExecutor
from places import AnyPlace, Place
from valkey_server import Valkey

from lithops.shared.server import Server
from lithops.shared.session import Session, add_session, remove_session

_LOCAL = {
    "states": "a cloud tells of its functions when they end: which of its calls run is not known",
    "workers": "a cloud makes and replaces workers as it likes",
}
"""Why a test has no meaning in a cloud: what `local_only` names."""


def pytest_configure(config: pytest.Config) -> None:
    line = f"local_only(why): is not run on a cloud; the reason is one of {', '.join(_LOCAL)}"
    config.addinivalue_line("markers", line)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The ways to run a test that takes `make`, or `pool`, which takes it."""
    if "make" in metafunc.fixturenames:
        ways = ["standard", "lithops", way_over_aws(metafunc.definition, _LOCAL)]
        metafunc.parametrize("make", ways, indirect=True, scope="module")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    sort_aws_last(items)


@pytest.fixture(scope="module")
def session(valkey: Valkey) -> Iterator[Session]:
    """What tests and calls have in common where they have no files."""
    server = Server(f"tests:{uuid.uuid4().hex}", 300, host=valkey.host, port=valkey.port)
    made = Session(server, valkey.password)
    add_session(made)
    yield made
    remove_session(made)
    made.close(remove=True)


@pytest.fixture(scope="module")
def make(request: pytest.FixtureRequest, nothing_left_behind: None) -> MakeExecutor:
    """Makes an executor, of each kind."""
    if request.param == "standard":
        return make_standard
    if request.param == "lithops":
        return make_ours
    cloud: AwsProgram = request.getfixturevalue("lasting_aws_program")
    valkey: Valkey = request.getfixturevalue("valkey")
    sections = {**cloud.config(namespace="futures", runtime_timeout=60), "redis": valkey.settings}
    return partial(make_ours, config=sections)


@pytest.fixture(scope="module")
def pool(make: MakeExecutor) -> Iterator[Executor]:
    """An executor with two workers, of each kind, for each module: tests leave it as they find it."""
    with make(2) as executor:
        yield executor


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> AnyPlace:
    """A folder that the test has in common with its calls, wherever they run."""
    if request.node.get_closest_marker("aws") is None:
        return tmp_path
    session: Session = request.getfixturevalue("session")
    return Place(session.server, f"{session.server.program}:{uuid.uuid4().hex}")

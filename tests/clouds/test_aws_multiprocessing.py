"""`lithops.multiprocessing` on the stand-in for AWS Lambda: what is special there.

What it has in common with other ways to run processes is in tests/multiprocessing and tests/concurrent_futures, with
``-m aws``.
"""

from __future__ import annotations

import base64
import itertools
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from aws_fixtures import AwsProgram
from aws_fixtures import aws as aws
from aws_fixtures import aws_program as aws_program
from botocore.endpoint import Endpoint
from lambda_processes import add_state, fail, fill, nested, prepare, where
from valkey_server import Valkey

import lithops.multiprocessing
from lithops.multiprocessing import config, program

mp: Any = lithops.multiprocessing
"""Seen from inside, where the standard library's types do not hold."""

PASSWORD = "correct horse"
"""Of the server of shared objects: see `running_valkey`."""


@pytest.fixture(autouse=True)
def on_lambda(aws_program: AwsProgram, valkey: Valkey) -> Iterator[None]:
    assert valkey.password == PASSWORD
    config.set_parameter(
        config.LITHOPS_CONFIG, {**aws_program.config(namespace="processes"), "redis": valkey.settings}
    )
    yield
    program.close()
    config.set_parameter(config.LITHOPS_CONFIG, None)


def test_a_map_is_one_job_of_functions() -> None:
    with mp.Pool(4, prepare, (100,)) as pool:
        assert pool.map(add_state, range(20)) == list(range(100, 120))
        assert list(itertools.islice(pool.imap(add_state, itertools.count()), 5)) == list(range(100, 105))
        assert pool.apply(where).startswith("lithops-processes")
        assert {each.job_key for each in pool._taskqueue._executor.futures} == set()


def test_how_processes_end(capfd: pytest.CaptureFixture[str]) -> None:
    failing, ended = mp.Process(target=fail), mp.Process(target=os._exit, args=(3,))
    for process in (failing, ended):
        process.start()
        process.join(60)
    assert failing.exitcode == 1
    assert "ValueError: as it should" in capfd.readouterr().err
    assert ended.exitcode not in (0, None)


def test_no_key_travels(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    perform = Endpoint.make_request

    def note(self: Any, operation: Any, request: Any) -> Any:
        if operation.name == "CreateFunction":
            return perform(self, operation, request)  # the function itself may know the server's password
        body = request.get("body")
        sent.append(bytes(body) if isinstance(body, bytes | bytearray) else str(body).encode())
        return perform(self, operation, request)

    monkeypatch.setattr(Endpoint, "make_request", note)
    key = bytes(mp.current_process().authkey)
    with mp.Manager() as manager, mp.Pool(2) as pool:
        shared = manager.dict()
        process = mp.Process(target=fill, args=(shared, manager.list(), 3))
        process.start()
        process.join(60)
        assert process.exitcode == 0
        assert pool.apply(len, (shared,)) == 1
    written = [base64.b64decode(text) for body in sent for text in re.findall(rb"[A-Za-z0-9+/]{40,}={0,2}", body)
               if len(text) % 4 == 0]  # fmt: skip
    assert any(b"run_process" in each for each in written), "what was sent can be read here"
    for secret in (key, PASSWORD.encode()):
        assert not [each for each in (*sent, *written) if secret in each]


def test_functions_start_no_processes(capfd: pytest.CaptureFixture[str]) -> None:
    process = mp.Process(target=nested)
    process.start()
    process.join(30)
    assert process.exitcode == 1
    assert "functions of a cloud" in capfd.readouterr().err

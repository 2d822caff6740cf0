"""`lithops.multiprocessing` on AWS Lambda, over its stand-in: what all clouds promise, and what is sent there.

The tests of ``tests/multiprocessing`` and ``tests/concurrent_futures`` run over it too, with ``-m aws``.
"""

from __future__ import annotations

import base64
import re
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from aws_fixtures import AwsProgram
from aws_fixtures import aws as aws
from aws_fixtures import aws_program as aws_program
from botocore.endpoint import Endpoint
from cloud_processes import add_state, fill
from processes_conformance import OnACloud, PoolsOnACloud, ProcessesOnACloud, mp, run
from valkey_server import Valkey


@pytest.fixture
def configuration(aws_program: AwsProgram) -> dict[str, Any]:
    return aws_program.config(namespace="processes")


class TestLambda(ProcessesOnACloud, PoolsOnACloud):
    function_name: ClassVar[str] = "AWS_LAMBDA_FUNCTION_NAME"


class TestWhatIsSent(OnACloud):
    def test_a_map_is_one_job(self) -> None:
        with mp.Pool(4) as pool:
            executor = pool._taskqueue._executor
            with patch.object(executor, "map_apart", wraps=executor.map_apart) as sent:
                assert pool.map(add_state, range(20)) == list(range(20))
            assert sent.call_count == 1

    def test_no_key_travels(self, monkeypatch: pytest.MonkeyPatch, valkey: Valkey) -> None:
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
            assert run(mp.Process(target=fill, args=(shared, manager.list(), 3))) == [0]
            assert pool.apply(len, (shared,)) == 1
        texts = [text for body in sent for text in re.findall(rb"[A-Za-z0-9+/]{40,}={0,2}", body)]
        written = [base64.b64decode(text) for text in texts if len(text) % 4 == 0]
        assert any(b"run_process" in each for each in written), "what was sent can be read here"
        for secret in (key, valkey.password.encode()):
            assert not [each for each in (*sent, *written) if secret in each]

"""`lithops.multiprocessing` where processes have no memory and no files in common: on the stand-in for AWS Lambda."""

from __future__ import annotations

import base64
import itertools
import os
import queue
import re
from collections.abc import Iterator
from typing import Any

import pytest
from aws_fixtures import AwsProgram
from aws_fixtures import aws as aws
from aws_fixtures import aws_program as aws_program
from botocore.endpoint import Endpoint
from lambda_processes import add_state, echo, fail, fill, hold, nested, prepare, where, work
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


def test_processes_share_queues_locks_and_values() -> None:
    todo, done, lock, total = mp.Queue(), mp.Queue(), mp.Lock(), mp.Value("i", 0)
    workers = [mp.Process(target=work, args=(todo, done, lock, total)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for number in range(12):
        todo.put(number)
    for _ in workers:
        todo.put(None)
    results = [done.get(timeout=30) for _ in range(12)]
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert sorted(square for _, square in results) == [number * number for number in range(12)]
    assert total.value == sum(range(12))
    assert {name for name, _ in results} <= {worker.name for worker in workers}
    with pytest.raises(queue.Empty):
        done.get_nowait()


def test_pipes_barriers_and_events() -> None:
    here, there = mp.Pipe()
    barrier, event = mp.Barrier(2), mp.Event()
    process = mp.Process(target=echo, args=(there, barrier, event))
    process.start()
    there.close()
    barrier.wait(30)
    assert event.wait(30)
    here.send({"any": "thing"})
    assert here.poll(30)
    assert here.recv() == ("echo", {"any": "thing"})
    here.close()
    process.join(30)
    assert process.exitcode == 0


def test_managers_serve_functions() -> None:
    with mp.Manager() as manager:
        shared, names = manager.dict(), manager.list()
        processes = [mp.Process(target=fill, args=(shared, names, key)) for key in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(30)
        assert dict(shared) == {0: 0, 1: 1, 2: 4}
        assert len(names) == 3
        assert all(names)


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


def test_a_stopped_process_lets_go_of_its_lock() -> None:
    lock, event = mp.Lock(), mp.Event()
    holder = mp.Process(target=hold, args=(lock, event))
    holder.start()
    assert event.wait(30)
    holder.terminate()
    holder.join(30)
    assert lock.acquire(timeout=60)
    lock.release()


def test_functions_start_no_processes(capfd: pytest.CaptureFixture[str]) -> None:
    process = mp.Process(target=nested)
    process.start()
    process.join(30)
    assert process.exitcode == 1
    assert "functions of a cloud" in capfd.readouterr().err


def test_executors_of_the_standard_shape(aws_program: AwsProgram) -> None:
    from lithops.concurrent.futures import ProcessPoolExecutor, as_completed

    config = aws_program.config(namespace="processes")
    with ProcessPoolExecutor(4, initializer=prepare, initargs=(5,), config=config) as executor:
        assert list(executor.map(add_state, range(10), chunksize=3)) == list(range(5, 15))
        futures = [executor.submit(add_state, number) for number in range(3)]
        assert sorted(future.result() for future in as_completed(futures, timeout=60)) == [5, 6, 7]
        assert isinstance(executor.submit(fail).exception(60), ValueError)

"""Pipes of type ``direct``: the same behaviour, over sockets where they can be had."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from other_process import OtherProcess

# All that is promised of pipes is promised of these: the same tests, with ends that have gone over to a socket.
from test_pipes import *  # noqa: F403

from lithops import FunctionExecutor
from lithops.multiprocessing import config, connection, direct, inlets, program

pytestmark = [pytest.mark.ours, pytest.mark.local_only("descriptors")]


@pytest.fixture(autouse=True)
def direct_pipes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(direct, "_RETRY_S", 0.0)
    before = config.get_parameter(config.PIPE_CONNECTION_TYPE)
    config.set_parameter(config.PIPE_CONNECTION_TYPE, "direct")
    yield
    config.set_parameter(config.PIPE_CONNECTION_TYPE, before)
    assert "lithops-direct" not in {thread.name for thread in threading.enumerate()}


def connect(sender: Any, receiver: Any) -> None:
    """Until what is sent goes by a socket."""
    assert receiver.poll(0) is False
    sender.send("hello")
    assert receiver.recv() == "hello"
    sender.send("by the socket")
    assert receiver.recv() == "by the socket"
    assert sender._outlet is not None
    assert receiver._inlet.lines


@pytest.fixture  # type: ignore[no-redef] # in place of the one that was imported
def pipe(direct_pipes: None) -> Iterator[Any]:
    first, second = connection.Pipe()
    connect(first, second)
    connect(second, first)
    yield first, second
    first.close()
    second.close()


@pytest.fixture  # type: ignore[no-redef] # in place of the one that was imported
def one_way(direct_pipes: None) -> Iterator[Any]:
    reader, writer = connection.Pipe(False)
    connect(writer, reader)
    yield reader, writer
    reader.close()
    writer.close()


def test_calls_talk_by_sockets_in_order(fexec: FunctionExecutor) -> None:
    ours, theirs = connection.Pipe()

    def echo(end: Any) -> tuple[int, bool]:
        count = 0
        try:
            while True:
                end.send(end.recv())
                count += 1
        except EOFError:
            return count, end._outlet is not None

    future = fexec.call_async(echo, (theirs,))
    theirs.close()
    for number in range(300):
        ours.send(number)
    assert [ours.recv() for _ in range(300)] == [*range(300)]
    ours.send(bytes(3_000_000))
    assert ours.recv() == bytes(3_000_000)
    ours.close()
    assert future.result() == (301, True)


def test_several_senders_have_a_socket_each() -> None:
    reader, writer = connection.Pipe(False)
    assert not reader.poll(0)
    writers = [writer, *(pickle.loads(pickle.dumps(writer)) for _ in range(2))]
    for number in range(5):
        for sender, each in enumerate(writers):
            each.send((sender, number))
    for each in writers:
        each.close()
    got = [reader.recv() for _ in range(15)]
    with pytest.raises(EOFError):
        reader.recv()
    for sender in range(3):
        assert [number for each, number in got if each == sender] == [*range(5)]
    reader.close()


def test_wait_takes_sockets_and_lists() -> None:
    first, second = connection.Pipe()
    other, another = connection.Pipe()
    connect(first, second)
    assert connection.wait([second, other], 0.05) == []
    for sender, receiver in [(first, second), (another, other)] * 2:
        timer = threading.Timer(0.02, sender.send, (1,))
        timer.start()
        assert connection.wait([second, other], 10) == [receiver]
        assert receiver.recv() == 1
        timer.join()
    first.close()
    assert connection.wait([second, other], 10) == [second]
    for end in (second, other, another):
        end.close()


def test_where_no_connection_can_be_made_the_list_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def refuse(place: str) -> Any:
        tried.append(place)
        raise ConnectionRefusedError

    monkeypatch.setattr(direct, "Caller", refuse)
    reader, writer = connection.Pipe(False)
    assert not reader.poll(0)
    for number in range(5):
        writer.send(number)
    assert [reader.recv() for _ in range(5)] == [*range(5)]
    assert len(tried) == 1
    reader.close()
    writer.close()


def test_who_does_not_know_the_key_is_not_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    inlet = inlets.Inlet(program.session().server)
    wrong = inlet.place.replace(inlet._key.hex(), "00" * 32)
    with pytest.raises(inlets.FAILURES):
        inlets.Caller(wrong)
    assert not inlet.is_used
    caller = inlets.Caller(inlet.place)
    line = caller.go()
    inlet.take(caller.name)
    line.send_bytes(b"let in")
    assert inlet.lines[0].recv_bytes() == b"let in"
    line.close()
    inlet.close()


def test_an_end_in_use_cannot_be_passed_on_and_one_that_listens_can() -> None:
    reader, writer = connection.Pipe(False)
    assert not reader.poll(0)
    assert reader._inlet is not None  # type: ignore[attr-defined]
    other = pickle.loads(pickle.dumps(reader))
    reader.close()
    writer.send(1)
    assert other.recv() == 1
    connect(writer, other)
    with pytest.raises(NotImplementedError, match="reads from a socket of this process already"):
        pickle.dumps(other)
    other.close()
    writer.close()


def test_a_killed_sender_ends_its_socket_and_the_list_goes_on(
    start_program: Callable[..., Any],
) -> None:
    reader, writer = connection.Pipe(False)
    assert not reader.poll(0)
    with connection.handed_to("child"):
        source = (
            "appear_as('child'); given.send(1); given.send(2); say(given._outlet is not None); time.sleep(60)"
        )
        other = OtherProcess(start_program, source, writer)
    assert other.hear() == "True"
    other.kill()
    writer.send(3)
    writer.close()
    connection.close_handles(program.session(), "child")
    assert sorted(reader.recv() for _ in range(3)) == [1, 2, 3]
    with pytest.raises(EOFError):
        reader.recv()
    reader.close()

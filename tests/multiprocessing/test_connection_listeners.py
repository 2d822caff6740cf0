"""`Listener` and `Client`."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from other_process import OtherProcess

from lithops import FunctionExecutor
from lithops.multiprocessing import connection, program
from lithops.multiprocessing.connection import Client, Listener


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as made:
        yield made


def test_a_client_and_who_accepts_it_have_a_pipe(listener: Listener) -> None:
    client = Client(listener.address)
    client.send("before it is accepted")
    accepted = listener.accept()
    assert accepted.recv() == "before it is accepted"
    accepted.send(1)
    assert client.recv() == 1
    accepted.close()
    with pytest.raises(EOFError):
        client.recv()
    client.close()
    assert listener.last_accepted is None


def test_the_address_leads_there_from_anywhere(listener: Listener, fexec: FunctionExecutor) -> None:
    address = pickle.loads(pickle.dumps(listener.address))
    assert address == listener.address
    assert hash(address) == hash(listener.address)

    def call(number: int) -> Any:
        with Client(address, authkey=b"any") as line:
            line.send(number)
            return line.recv()

    futures = fexec.map(call, [1, 2, 3])
    for _ in range(3):
        with listener.accept() as accepted:
            accepted.send(accepted.recv() * 10)
    assert fexec.get_result(futures) == [10, 20, 30]


def test_clients_are_accepted_in_order(listener: Listener) -> None:
    clients = [Client(listener.address) for _ in range(3)]
    for number, client in enumerate(clients):
        client.send(number)
    accepted = [listener.accept() for _ in clients]
    assert [each.recv() for each in accepted] == [0, 1, 2]
    for each in clients + accepted:
        each.close()


def test_an_address_of_ones_own(fexec: FunctionExecutor) -> None:
    with Listener(("localhost", 6000), authkey=b"secret") as listener:
        assert listener.address == ("localhost", 6000)
        with pytest.raises(OSError, match="Address already in use"):
            Listener(("localhost", 6000))
        future = fexec.call_async(
            lambda address: Client(address).send("hello"),
            (connection.Address(program.session().server, listener._key.rpartition(":")[2]),),
        )
        with Client(("localhost", 6000), authkey=b"secret") as client, listener.accept() as accepted:
            accepted.send(1) if not accepted.poll(0.2) else None
            assert client is not accepted
        with listener.accept():
            pass
        future.result()
    with Listener(("localhost", 6000)):
        pass


def test_an_address_that_was_given_is_taken(listener: Listener) -> None:
    with pytest.raises(OSError, match="Address already in use"):
        Listener(listener.address)
    listener.close()
    with (
        Listener(listener.address) as another,
        Client(another.address) as client,
        another.accept() as accepted,
    ):
        client.send("again")
        assert accepted.recv() == "again"


def test_where_nobody_listens_connections_are_refused(listener: Listener) -> None:
    address = listener.address
    waiting = Client(address)
    listener.close()
    with pytest.raises(EOFError):
        waiting.recv()
    waiting.close()
    for gone in (address, ("localhost", 1)):
        with pytest.raises(ConnectionRefusedError):
            Client(gone)
    with pytest.raises(OSError, match="listener is closed"):
        listener.accept()
    listener.close()


def test_closing_wakes_all_who_accept(listener: Listener) -> None:
    failures: list[str] = []

    def accept() -> None:
        try:
            listener.accept()
        except OSError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=accept) for _ in range(3)]
    for thread in threads:
        thread.start()
    listener.close()
    for thread in threads:
        thread.join(10)
    assert failures == ["listener is closed"] * 3


def test_a_listener_that_died_refuses_and_its_address_is_free(start_program: Callable[..., Any]) -> None:
    source = "appear_as('server')\nfrom lithops.multiprocessing.connection import Listener\n"
    source += "listener = Listener('here'); say('ready'); listener.accept(); listener.accept()"
    server = program.session().server
    other = OtherProcess(
        start_program, f"import os; os.environ['LITHOPS_SHARED'] = {server.text()!r}\n" + source, 0
    )
    assert other.hear() == "ready"
    client = Client("here")
    other.kill()
    program.session().bury("server")
    connection.close_handles(program.session(), "server")
    with pytest.raises(ConnectionRefusedError):
        Client("here")
    client.close()
    with Listener("here") as listener, Client("here"), listener.accept():
        pass


def test_a_listener_that_is_forgotten_is_closed_with_a_warning() -> None:
    listener = Listener()
    address = listener.address
    with pytest.warns(ResourceWarning, match="unclosed <.*Listener object"):
        del listener
    with pytest.raises(ConnectionRefusedError):
        Client(address)


def test_the_key_has_to_be_bytes() -> None:
    with pytest.raises(TypeError, match="authkey should be a byte string"):
        Listener(authkey="text")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="authkey should be a byte string"):
        Client(("localhost", 1), authkey="text")  # type: ignore[arg-type]

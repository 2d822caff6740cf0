"""What the documentation promises of `Pipe` and `Connection`, of the standard library's and of these."""

from __future__ import annotations

import array
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Ends = tuple[Any, Any]


@pytest.fixture
def pipe(mp: Any) -> Iterator[Ends]:
    ends = mp.Pipe()
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
def one_way(mp: Any) -> Iterator[Ends]:
    ends = mp.Pipe(False)
    yield ends
    for end in ends:
        end.close()


def test_both_ends_send_and_receive(pipe: Ends) -> None:
    first, second = pipe
    for sender, receiver in [(first, second), (second, first)]:
        assert sender.readable
        assert sender.writable
        for item in [1, None, "three", [4, {"five": 6.0}], b"", range(7)]:
            sender.send(item)
            assert receiver.recv() == item


def test_messages_keep_their_order(pipe: Ends) -> None:
    first, second = pipe
    for number in range(50):
        first.send(number)
        second.send(-number)
    assert [second.recv() for _ in range(50)] == [*range(50)]
    assert [first.recv() for _ in range(50)] == [-number for number in range(50)]


def test_without_duplex_the_first_receives_and_the_second_sends(one_way: Ends) -> None:
    reader, writer = one_way
    assert (reader.readable, reader.writable, writer.readable, writer.writable) == (True, False, False, True)
    writer.send(1)
    assert reader.recv() == 1
    sends: list[Callable[[], Any]] = [lambda: reader.send(1), lambda: reader.send_bytes(b"1")]
    for use in sends:
        with pytest.raises(OSError, match="connection is read-only"):
            use()
    for use in [writer.recv, writer.recv_bytes, writer.poll, lambda: writer.recv_bytes_into(bytearray(1))]:
        with pytest.raises(OSError, match="connection is write-only"):
            use()


def test_bytes_are_sent_as_they_are(pipe: Ends) -> None:
    first, second = pipe
    for message in [b"", b"x", b"LB01" * 10, bytes(range(256)), bytes(100_000)]:
        first.send_bytes(message)
        assert second.recv_bytes() == message
    first.send_bytes(bytearray(b"0123456789"), 2)
    first.send_bytes(memoryview(b"0123456789"), 2, 3)
    first.send_bytes(b"0123456789", 10)
    first.send_bytes(array.array("i", [1, 2]))
    assert [second.recv_bytes() for _ in range(3)] == [b"23456789", b"234", b""]
    assert second.recv_bytes() == array.array("i", [1, 2]).tobytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1,), "offset is negative"),
        ((4,), "buffer length < offset"),
        ((0, -1), "size is negative"),
        ((1, 3), r"buffer length < offset \+ size"),
    ],
)
def test_wrong_parts_of_a_buffer_are_refused(pipe: Ends, arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipe[0].send_bytes(b"123", *arguments)
    assert not pipe[1].poll()


def test_bytes_are_received_into_a_buffer(pipe: Ends) -> None:
    first, second = pipe
    buffer = bytearray(b"..........")
    first.send_bytes(b"abc")
    assert second.recv_bytes_into(buffer) == 3
    first.send_bytes(b"def")
    assert second.recv_bytes_into(buffer, 5) == 3
    assert buffer == b"abc..def.."
    numbers = array.array("i", [0] * 4)
    first.send_bytes(array.array("i", [1, 2]))
    assert second.recv_bytes_into(numbers, numbers.itemsize) == 2 * numbers.itemsize
    assert [*numbers] == [0, 1, 2, 0]
    with pytest.raises(ValueError, match="negative offset"):
        second.recv_bytes_into(buffer, -1)
    with pytest.raises(ValueError, match="offset too large"):
        second.recv_bytes_into(buffer, 11)


def test_a_buffer_that_is_too_short_is_told_with_the_message(pipe: Ends) -> None:
    first, second = pipe
    first.send_bytes(b"a longer message")
    with pytest.raises(multiprocessing.BufferTooShort) as caught:
        second.recv_bytes_into(bytearray(3))
    assert caught.value.args == (b"a longer message",)
    first.send(1)
    assert second.recv() == 1


def test_a_message_that_is_too_long_ends_the_reading(pipe: Ends) -> None:
    first, second = pipe
    first.send_bytes(b"123")
    assert second.recv_bytes(3) == b"123"
    first.send_bytes(b"1234")
    with pytest.raises(OSError, match="bad message length"):
        second.recv_bytes(3)
    assert not second.readable
    assert second.writable
    with pytest.raises(ValueError, match="negative maxlength"):
        first.recv_bytes(-1)


def test_a_reader_that_cannot_write_is_closed_by_it(one_way: Ends) -> None:
    reader, writer = one_way
    writer.send_bytes(b"1234")
    with pytest.raises(OSError, match="bad message length"):
        reader.recv_bytes(3)
    assert reader.closed


def test_poll_says_whether_there_is_something(pipe: Ends) -> None:
    first, second = pipe
    assert second.poll() is False
    assert second.poll(0) is False
    assert second.poll(-1) is False
    first.send(1)
    assert second.poll() is True
    assert second.poll(10) is True
    assert second.poll(None) is True
    assert second.recv() == 1
    assert second.poll(0.0) is False


@pytest.mark.parametrize("timeout", [0.05, 0.3])
def test_poll_waits_as_long_as_it_is_told(pipe: Ends, timeout: float) -> None:
    start = time.monotonic()
    assert pipe[0].poll(timeout) is False
    assert timeout <= time.monotonic() - start + 0.002 < timeout + 1


@pytest.mark.parametrize("timeout", [None, 10])
def test_poll_ends_when_something_comes(pipe: Ends, timeout: float | None) -> None:
    timer = threading.Timer(0.05, pipe[0].send, (1,))
    timer.start()
    assert pipe[1].poll(timeout) is True
    assert pipe[1].recv() == 1
    timer.join()


def test_after_the_other_end_is_closed_comes_what_was_sent_and_then_the_end(pipe: Ends) -> None:
    first, second = pipe
    first.send(1)
    first.send_bytes(b"2")
    first.close()
    assert second.poll()
    assert second.recv() == 1
    assert second.recv_bytes() == b"2"
    for _ in range(3):
        assert second.poll()
        assert second.poll(1)
        with pytest.raises(EOFError):
            second.recv()
    with pytest.raises(EOFError):
        second.recv_bytes()


def test_the_end_wakes_who_waits_for_a_message(pipe: Ends) -> None:
    timer = threading.Timer(0.05, pipe[0].close)
    timer.start()
    with pytest.raises(EOFError):
        pipe[1].recv()
    timer.join()


def test_sending_to_a_closed_end_fails(one_way: Ends) -> None:
    reader, writer = one_way
    reader.close()
    with pytest.raises(BrokenPipeError):
        writer.send(1)
    with pytest.raises(BrokenPipeError):
        writer.send_bytes(b"1")


def test_a_closed_end_cannot_be_used(pipe: Ends) -> None:
    end = pipe[0]
    assert not end.closed
    end.close()
    end.close()
    assert end.closed
    uses = [
        end.recv, end.recv_bytes, end.poll, end.fileno, lambda: end.send(1), lambda: end.send_bytes(b""),
        lambda: end.recv_bytes_into(bytearray(1)),
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(OSError, match="handle is closed"):
            use()


def test_with_closes_it(pipe: Ends) -> None:
    with pipe[0] as end:
        assert end is pipe[0]
    assert end.closed


def test_an_end_that_nobody_has_any_more_is_closed(mp: Any) -> None:
    first, second = mp.Pipe()
    del first
    with pytest.raises(EOFError):
        second.recv()
    second.close()


def test_what_cannot_be_pickled_raises_and_sends_nothing(pipe: Ends) -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        pipe[0].send(threading.Lock())
    assert not pipe[1].poll()

"""Requests are made in threads, and heard of by one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import pytest

from lithops.invoke.runner import InlineRunner, ThreadRunner


class Inbox:
    """The monitor's: what was posted is done by whoever asks."""

    def __init__(self) -> None:
        self._messages: deque[Callable[[], None]] = deque()
        self._posted = threading.Semaphore(0)

    def post(self, message: Callable[[], None]) -> None:
        self._messages.append(message)
        self._posted.release()

    def do_one(self) -> None:
        assert self._posted.acquire(timeout=10)
        self._messages.popleft()()


def test_inline_everything_is_done_at_once() -> None:
    heard: list[int] = []
    InlineRunner().run(lambda: 7, heard.append)
    assert heard == [7]


def test_work_is_done_side_by_side_and_heard_of_in_one_thread() -> None:
    inbox = Inbox()
    runner = ThreadRunner(3, inbox.post)
    together = threading.Barrier(3)

    def meet() -> str:
        together.wait(10)
        return threading.current_thread().name

    heard: list[tuple[str, str]] = []
    for _ in range(3):
        runner.run(meet, lambda name: heard.append((name, threading.current_thread().name)))
    for _ in range(3):
        inbox.do_one()
    assert len({name for name, _ in heard}) == 3
    assert {name for _, name in heard} == {threading.current_thread().name}
    runner.close()


def test_threads_are_used_again_and_are_never_more_than_allowed() -> None:
    inbox = Inbox()
    runner = ThreadRunner(2, inbox.post)
    names: list[str] = []
    for _ in range(20):
        runner.run(lambda: threading.current_thread().name, names.append)
    for _ in range(20):
        inbox.do_one()
    assert 1 <= len(set(names)) <= 2
    runner.close()


def test_threads_end_when_the_runner_is_closed() -> None:
    inbox = Inbox()
    runner = ThreadRunner(2, inbox.post)
    threads: list[threading.Thread] = []
    for _ in range(2):
        runner.run(threading.current_thread, threads.append)
    for _ in range(2):
        inbox.do_one()
    runner.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_what_goes_wrong_is_raised_where_it_is_heard() -> None:
    inbox = Inbox()
    runner = ThreadRunner(1, inbox.post)

    def fail() -> None:
        raise ZeroDivisionError

    runner.run(fail, lambda nothing: None)
    with pytest.raises(ZeroDivisionError):
        inbox.do_one()
    runner.close()

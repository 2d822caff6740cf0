"""`wait`: for ends of pipes, which are in a server, and for whatever has a file descriptor, at the same time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from multiprocessing import connection as standard
from typing import Any

from lithops.exceptions import SharedStateError
from lithops.multiprocessing.listed import Connection
from lithops.shared.session import Session

# Which of the lists have an element. If none has, the name of the wake list goes beside each: whoever puts something
# there wakes it. | lists | expiry, wake list
_WATCH = """
local ready = {}
for i, lane in ipairs(KEYS) do
  redis.call('LREM', lane .. ':watch', 0, ARGV[2])
  if redis.call('EXISTS', lane) == 1 then ready[#ready + 1] = i end
end
if #ready > 0 then return ready end
for i, lane in ipairs(KEYS) do
  redis.call('RPUSH', lane .. ':watch', ARGV[2])
  redis.call('PEXPIRE', lane .. ':watch', ARGV[1])
end
return ready
"""
# lists | wake list
_FORGET = """
for i, lane in ipairs(KEYS) do redis.call('LREM', lane .. ':watch', 0, ARGV[1]) end
redis.call('DEL', ARGV[1])
"""


def wait(object_list: Iterable[Any], timeout: float | None = None) -> list[Any]:
    """As `multiprocessing.connection.wait`: those of the objects that are ready, as soon as one is."""
    objects = list(object_list)
    ends = [each for each in objects if isinstance(each, Connection)]
    others = [each for each in objects if not isinstance(each, Connection)]
    until = None if timeout is None else time.monotonic() + timeout
    sessions = {each.session for each in ends}
    watches = [_Watch(session, [each for each in ends if each.session is session]) for session in sessions]
    try:
        while True:
            left_s = None if until is None else max(0, until - time.monotonic())
            listed = [each for watch in watches for each in watch.begin()]
            ready: list[Any] = [
                each for each in ends if (each in listed or each.descriptors()) and each.is_ready()
            ]
            over = ready or left_s == 0 or not objects
            sockets = [each for end in ends for each in end.descriptors()]
            # What is listed and not ready was a mark on the way to a socket, and is taken.
            block = not over and not listed
            ready += _block(watches, others + sockets, left_s) if block else standard.wait(others, 0)
            ready = [each for each in ready if each not in sockets]
            if ready or over:
                return [each for each in objects if any(each is other for other in ready)]
    finally:
        for watch in watches:
            watch.end()


class _Watch:
    """Some ends whose pipes are in one server."""

    def __init__(self, session: Session, ends: Sequence[Connection]) -> None:
        self._session = session
        self._ends = ends
        self._lanes = [end.inbox for end in ends]
        self._wake = session.key("wake")

    def begin(self) -> list[Connection]:
        """The ends that are ready. If none is, they are watched from now on."""
        for end in self._ends:
            end.check_readable()
        ready = self._session.script(_WATCH, self._lanes, self._session.expiry_ms, self._wake)
        return [self._ends[index - 1] for index in ready]

    def block(self, timeout_s: float | None) -> None:
        """Until one of them may be ready, or `release` is called."""
        self._session.wait(self._wake, timeout_s, self._look)

    def release(self) -> None:
        self._session.run_all(("RPUSH", self._wake, b"1"), ("PEXPIRE", self._wake, self._session.expiry_ms))

    def end(self) -> None:
        self._session.script(_FORGET, self._lanes, self._wake)

    def _look(self) -> None:
        for end in self._ends:
            end.look()


def _block(watches: list[_Watch], others: list[Any], timeout_s: float | None) -> list[Any]:
    """Until one of all may be ready. Gives those of the others that are."""
    if not others and len(watches) == 1:
        watches[0].block(timeout_s)
        return []
    if not watches:
        return standard.wait(others, timeout_s)
    bell, rope = os.pipe()
    failures: list[SharedStateError] = []
    threads = [
        threading.Thread(target=_ring, args=(watch, timeout_s, rope, failures), name="lithops-wait")
        for watch in watches
    ]
    for thread in threads:
        thread.start()
    try:
        found = standard.wait([*others, bell], timeout_s)
    finally:
        for watch in watches:
            watch.release()
        for thread in threads:
            thread.join()
        os.close(bell)
        os.close(rope)
    if failures:
        raise failures[0]
    return [each for each in found if each is not bell]


def _ring(watch: _Watch, timeout_s: float | None, rope: int, failures: list[SharedStateError]) -> None:
    try:
        watch.block(timeout_s)
    except SharedStateError as error:
        failures.append(error)
    os.write(rope, b"1")

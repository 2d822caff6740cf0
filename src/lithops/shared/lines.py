"""Connections to the server, each lent to one request at a time.

The client's own way from a command to its answer, with its statistics and retries, takes longer than the server does.
"""

from __future__ import annotations

import os
import time
from typing import Any

_IDLE_S = 1.0
"""After so long it is worth a look whether the server has closed a connection."""


_let_others_run = getattr(os, "sched_yield", lambda: None)
"""The server, or who is to answer, may be waiting for this processor."""


class Lines:
    """The connections of one process. Safe in threads; a forked child gets others."""

    def __init__(self, redis: Any, *, spin_s: float) -> None:
        """For `spin_s` an answer is looked for before this thread sleeps."""
        self._redis = redis
        self._spin_s = spin_s
        self._pid = os.getpid()
        self._free: list[tuple[Any, float]] = []

    def ask(self, *command: Any) -> Any:
        """The server's answer, as it comes. Raises the client's errors; nothing is sent twice."""
        from redis import ResponseError

        client = self._take()
        try:
            client.connection.send_command(*command)
            if self._spin_s:
                self._spin(client.connection)
            answer = client.connection.read_response()
        except ResponseError:
            self._free.append((client, time.monotonic()))
            raise
        except BaseException:
            # An answer may be under way that nobody waits for any more.
            client.connection.disconnect()
            client.close()
            raise
        self._free.append((client, time.monotonic()))
        return answer

    def _spin(self, connection: Any) -> None:
        until = time.perf_counter() + self._spin_s
        while not connection.can_read(0) and time.perf_counter() < until:
            _let_others_run()

    def close(self) -> None:
        free, self._free = self._free, []
        for client, _ in free:
            client.close()

    def _take(self) -> Any:
        if self._pid != os.getpid():
            self._pid, self._free = os.getpid(), []
        try:
            client, used_s = self._free.pop()
        except IndexError:
            return self._redis.client()
        if time.monotonic() - used_s > _IDLE_S and _is_stale(client.connection):
            client.connection.disconnect()  # it opens again by itself
        return client


def _is_stale(connection: Any) -> bool:
    """Whether there is anything to read where nothing was asked for: the end, if not worse."""
    from redis import RedisError

    try:
        return bool(connection.can_read(0))
    except RedisError:
        return True

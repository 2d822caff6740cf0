"""A process's way to the state that its program shares.

Keys look like ``PROGRAM:KIND:NAME``. Each of them expires some time after the last process that uses it is gone: the
`Keeper` of every process puts that off for what its objects use.

Whoever waits blocks in the server, for a slice of time after the other. Between two slices it asks whether those for
whom it waits are still there, since a process that was killed tells nobody.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from lithops.exceptions import SharedStateError
from lithops.shared.keeper import Keeper
from lithops.shared.lines import Lines
from lithops.shared.server import Server

SLICE_S = 5.0
"""So long a command blocks in the server at most."""


_SPIN_S = 150e-6
"""To sleep and be woken takes longer than a server on this machine takes to answer: for so long a thread looks for the
answer first."""


class Holder(Protocol):
    """What uses keys of the server."""

    @property
    def keys(self) -> Sequence[str]:
        """All of its keys."""
        ...


class Session:
    """One process and one server. Safe in threads; a forked child makes connections of its own."""

    def __init__(self, server: Server, password: str | None = None) -> None:
        self.server = server
        self._redis: Any = server.connect(password)
        self._lines = Lines(self._redis, spin_s=_SPIN_S if server.folder else 0.0)
        self._scripts: dict[str, str] = {}
        self._holders: weakref.WeakSet[Any] = weakref.WeakSet()
        self._keeper = Keeper(self)
        self.expiry_ms = server.expiry_s * 1000

    # ------------------------------------------------------------ keys

    def key(self, kind: str, name: str = "") -> str:
        """The key of a new object, or of the one with that name."""
        return f"{self.server.program}:{kind}:{name or new_name()}"

    def keep(self, holder: Holder) -> None:
        """As long as this process has the object, its keys do not expire."""
        self._holders.add(holder)
        self._keeper.start()

    def held_keys(self) -> list[str]:
        """What the objects of this process use."""
        return [key for holder in list(self._holders) for key in holder.keys]

    # ------------------------------------------------------------ commands

    def run(self, *command: Any) -> Any:
        """One command. Raises `SharedStateError`."""
        try:
            return self._redis.execute_command(*command)
        except self._errors() as error:
            raise self._translate(error) from error

    def run_all(self, *commands: Sequence[Any]) -> list[Any]:
        """Several commands in one request, one after the other without any of others between them."""
        try:
            with self._redis.pipeline(transaction=True) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                return list(pipeline.execute())
        except self._errors() as error:
            raise self._translate(error) from error

    def script(self, lua: str, keys: Sequence[str], *arguments: Any) -> Any:
        """Run a script in the server, at once and undisturbed."""
        digest = self._scripts.get(lua)
        if digest is None:
            digest = self._scripts[lua] = hashlib.sha1(lua.encode(), usedforsecurity=False).hexdigest()
        try:
            return self._lines.ask("EVALSHA", digest, len(keys), *keys, *arguments)
        except self._errors() as error:
            if type(error).__name__ != "NoScriptError":
                raise self._translate(error) from error
        # The server has not seen it yet, or has restarted.
        return self.run("EVAL", lua, len(keys), *keys, *arguments)

    @contextlib.contextmanager
    def connection(self) -> Iterator[Any]:
        """A connection of one's own for a while, for what is too large for a request. Raises `SharedStateError`."""
        try:
            client = self._redis.client()
        except self._errors() as error:
            raise self._translate(error) from error
        try:
            yield client.connection
        except BaseException as error:
            # Answers may be under way that nobody waits for any more.
            client.connection.disconnect()
            if isinstance(error, self._errors()):
                raise self._translate(error) from error
            raise
        finally:
            client.close()

    def wait(
        self, key: str, timeout_s: float | None = None, look: Callable[[], object] | None = None
    ) -> bytes | None:
        """Block in the server until the list at `key` has an element, and take it; None when the time is up.

        `look` is called between slices of the time: it does something about others who are gone, and when it raises,
        the waiting ends.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = SLICE_S if until is None else min(SLICE_S, until - time.monotonic())
            if left_s <= 0:
                taken = self.run("LPOP", key)
                return None if taken is None else bytes(taken)
            # The server would take 0 for ever, and less than a millisecond for 0.
            try:
                found = self._lines.ask("BLPOP", key, f"{max(left_s, 0.001):.3f}")
            except self._errors() as error:
                raise self._translate(error) from error
            if found is not None:
                return bytes(found[1])
            if look is not None:
                look()

    # ------------------------------------------------------------ who is there

    def presence(self, name: str) -> str:
        """The key that is there as long as the process `name` is."""
        return f"{self.server.program}:alive:{name}"

    def grave(self, name: str) -> str:
        """The key that says of a process that it is gone for good."""
        return f"{self.server.program}:buried:{name}"

    def is_alive(self, name: str) -> bool:
        """Whether the process of that name was there a moment ago."""
        return bool(self.run("EXISTS", self.presence(name)))

    @property
    def me(self) -> str:
        """This process, to the others."""
        return _name[0]

    @property
    def can_be_stopped(self) -> bool:
        """Whether this process is one that another has started."""
        return _is_child[0]

    def appear(self) -> None:
        """Say that this process is there, under a name that it has had for a moment only."""
        self._keeper.start()
        self._keeper.tend()

    def leave(self) -> None:
        """This process ends in order: what it holds it holds for good, and nobody is to repair anything."""
        with self._keeper.lock:
            self.run("SET", self.presence(self.me), b"left", "PX", self.expiry_ms)

    def bury(self, name: str) -> None:
        """The process is known to be gone: nobody needs to wait until that is noticed, and it does not come back."""
        self.run_all(("SET", self.grave(name), b"1", "PX", self.expiry_ms), ("DEL", self.presence(name)))

    # ------------------------------------------------------------ ending

    def close(self, *, remove: bool) -> None:
        """Let go of the connections. With `remove`, the program has ended: nothing of it is left in the server.

        Raises `SharedStateError`.
        """
        self._keeper.stop()
        try:
            if remove:
                for key in self._redis.scan_iter(f"{self.server.program}:*", count=10_000):
                    self._redis.unlink(key)
        except self._errors() as error:
            raise self._translate(error) from error
        finally:
            self._lines.close()
            self._redis.close()

    def _errors(self) -> type[Exception]:
        import redis

        return redis.RedisError

    def _translate(self, error: Exception) -> SharedStateError:
        return SharedStateError(
            f"{self.server}, where the program's shared state is, has failed: {type(error).__name__}: {error}; "
            "check that it runs, and the section redis of the configuration"
        )


# ---------------------------------------------------------------- the sessions of this process

_lock = threading.RLock()
_sessions: dict[Server, Session] = {}
_name = [""]
"""Of this process: see `appear_as`."""
_is_child = [False]


def session_for(server: Server) -> Session:
    """The session with a server that another process told of."""
    with _lock:
        if server not in _sessions:
            _sessions[server] = Session(server)
        return _sessions[server]


def add_session(session: Session) -> None:
    """A session that was made with a password."""
    with _lock:
        _sessions[session.server] = session


def remove_session(session: Session) -> None:
    """It is closed: the next one to ask gets a new one."""
    with _lock:
        _sessions.pop(session.server, None)


def open_sessions() -> list[Session]:
    """All of this process."""
    with _lock:
        return list(_sessions.values())


def appear_as(name: str) -> None:
    """From now on this process is called that: a function runs one process of the user's after the other."""
    with _lock:
        _name[0], _is_child[0] = name, True
        for session in _sessions.values():
            with contextlib.suppress(SharedStateError):  # whoever uses the server next is told
                session.appear()


def leave() -> None:
    """The process of the user's that ran here has ended in order. The next one has another name."""
    with _lock:
        for session in _sessions.values():
            with contextlib.suppress(SharedStateError):  # as above
                session.leave()
        _name[0], _is_child[0] = new_name(), False


def new_name() -> str:
    """A name that nobody else has."""
    return uuid.uuid4().hex


_name[0] = new_name()

"""What the objects of one program have in common, in the process that started it: configuration, executors, server."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import uuid
from typing import Any

from lithops.config.loader import resolve
from lithops.config.model import Settings
from lithops.config.passing import UNLIMITED_S, sections_of_pool
from lithops.exceptions import ConfigError, SharedStateError
from lithops.executors import FunctionExecutor
from lithops.multiprocessing import config, output
from lithops.multiprocessing.handles import close_handles
from lithops.shared.embedded import EmbeddedServer
from lithops.shared.server import VARIABLE, Server
from lithops.shared.session import Session, add_session, open_sessions, remove_session

_MOST_PROCESSES = 512
"""At once, on this machine, where they take memory. A cloud has a bound of its own."""
_WORK = "lithops.multiprocessing.work"
"""What every process and every worker of a pool begins with."""
_EMBEDDED_EXPIRY_S = 7 * 86_400

_lock = threading.RLock()
_home: _Home | None = None
_processes: tuple[int, Any, FunctionExecutor] | None = None
"""The executor of processes, and the process and the configuration that it was made for."""
_preloaded: list[str] = []


class _Home:
    """The server of this process's program, and the way to it."""

    def __init__(self, session: Session, embedded: EmbeddedServer | None) -> None:
        self.session = session
        self._embedded = embedded
        self.pid = os.getpid()

    def close(self) -> None:
        """Leave nothing behind. In a forked child, the server is its parent's."""
        if self.pid != os.getpid():
            return
        output.close()
        remove_session(self.session)
        # A server that has failed is of no use to anybody, and what is left in it expires.
        with contextlib.suppress(SharedStateError):
            self.session.close(remove=self._embedded is None)
        if self._embedded is not None:
            self._embedded.close()


def settings() -> Settings:
    """The configuration: the parameter LITHOPS_CONFIG, or else the file's."""
    return resolve(config.get_parameter(config.LITHOPS_CONFIG))


def session() -> Session:
    """Where this program's shared objects live: the configured server, or one of its own, started once."""
    global _home
    with _lock:
        if _home is None or _home.pid != os.getpid():
            _home = _open()
        return _home.session


# From the start, so that it comes after all that is registered later: children that are waited for still need it.
@atexit.register
def close() -> None:
    """End workers and server, as the end of the program does. The next process or shared object starts others."""
    global _home, _processes
    with _lock:
        if _processes is not None and _processes[0] == os.getpid():
            _processes[2].close()
        _processes = None
        if _home is not None:
            _home.close()
            _home = None


def new_executor(workers: int | None = None, **options: Any) -> FunctionExecutor:
    """An executor as the standard library's pools and processes are: silent, and without a limit to the data. No more
    than `workers` calls run at once; None: as many as the backend has workers.

    `options` are keys of the compute backend's section.
    """
    found = settings()
    sections = sections_of_pool(found, workers)
    section = sections[found.compute_name]
    section.update(options)
    if found.compute_name == "localhost":
        section["preload"] = [*section.get("preload", ()), _WORK, *_preloaded]
    return FunctionExecutor(config=sections)


def preload(modules: list[str]) -> None:
    """Have workers on this machine start with these modules: those of pools and processes that are yet to come."""
    _preloaded[:] = modules


def process_executor() -> FunctionExecutor:
    """For all processes that this one starts, as long as the configuration is the same."""
    global _processes
    chosen = config.get_parameter(config.LITHOPS_CONFIG)
    with _lock:
        if _processes is None or _processes[:2] != (os.getpid(), chosen):
            # Each of them finds modules as they are when they are imported, and leaves nothing to the next.
            fresh = {"workers": _MOST_PROCESSES, "calls_per_worker": 1}
            here = settings().compute_name == "localhost"
            _processes = os.getpid(), chosen, new_executor(**(fresh if here else {}))
        return _processes[2]


def call_options(executor: FunctionExecutor) -> dict[str, Any]:
    """What every call of processes and pools is made with."""
    env = dict(config.get_parameter(config.ENV_VARS))
    with _lock:
        if _home is not None and _home.pid == os.getpid():
            env[VARIABLE] = _home.session.server.text()
        elif VARIABLE in os.environ:
            env[VARIABLE] = os.environ[VARIABLE]
    return {"extra_env": env, "timeout": UNLIMITED_S if executor.backend == "localhost" else None}


def note_end(name: str, *, in_order: bool) -> None:
    """A process that this one has started has ended: nobody needs to wait until that is noticed."""
    for session in open_sessions():
        # If the server has failed, whoever uses it next is told.
        with contextlib.suppress(SharedStateError):
            if not in_order:
                session.bury(name)
            close_handles(session, name)


def _open() -> _Home:
    found = settings()
    program = f"lithops:shared:{uuid.uuid4().hex}"
    expiry_s = config.get_parameter(config.REDIS_EXPIRY_TIME)
    embedded: EmbeddedServer | None = None
    redis = found.redis
    if redis.host is not None:
        server = Server(
            program, expiry_s, host=redis.host, port=redis.port, db=redis.db, username=redis.username, ssl=redis.ssl
        )  # fmt: skip
        session = Session(server, redis.password)
    elif found.compute_name == "localhost":
        embedded = EmbeddedServer()
        # It ends with the program, which may be stopped for a night and go on.
        session = Session(Server(program, max(expiry_s, _EMBEDDED_EXPIRY_S), folder=embedded.folder))
    else:
        raise ConfigError(
            f"{found.origin}: objects that processes share live in a Redis server that functions of "
            f"{found.compute_name} can reach: configure a section redis with its host"
        )
    add_session(session)
    return _Home(session, embedded)

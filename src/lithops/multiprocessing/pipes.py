"""`Pipe`: the two ends of a new pipe, of the type that is configured."""

from __future__ import annotations

from lithops.multiprocessing import config
from lithops.multiprocessing.current import current_session
from lithops.multiprocessing.direct import DirectConnection
from lithops.multiprocessing.handles import Handles
from lithops.multiprocessing.listed import Connection
from lithops.shared.session import Session

_CLASSES = {"redislist": Connection, "direct": DirectConnection}


def Pipe(duplex: bool = True) -> tuple[Connection, Connection]:  # noqa: N802 - the standard library's name
    """Two ends, as `multiprocessing.Pipe`. Without `duplex`, the first one receives and the second one sends."""
    return make_pipe(current_session(), duplex, config.get_parameter(config.PIPE_CONNECTION_TYPE))


def make_pipe(
    session: Session, duplex: bool = True, kind: str = "redislist"
) -> tuple[Connection, Connection]:
    """A pipe in the server of that session."""
    state = session.key("pipe")
    name = Handles(session, state).adopt(0, 1)
    make = _CLASSES[kind]
    return make(session, state, 0, True, duplex, name), make(session, state, 1, duplex, True, name)

"""`Manager`, and the classes of `multiprocessing.managers`: objects in one process, and proxies of them in others.

The classes are the standard library's; what travels does so by way of the program's server, in place of sockets. The
process that starts a manager has its objects, in threads: no process is started for it. So the objects live as long as
that process and its manager, and what blocks them (a lock, the get of an empty queue) blocks a thread there.
"""

from __future__ import annotations

import atexit
import contextlib
import sys
import threading
import traceback
from multiprocessing import ProcessError, util
from multiprocessing import connection as standard_connection
from multiprocessing import managers as standard
from typing import Any

from lithops.exceptions import SharedStateError
from lithops.multiprocessing import exchange
from lithops.multiprocessing.reception import ServedLine

__all__ = [
    "AcquirerProxy", "AutoProxy", "BarrierProxy", "BaseManager", "BaseProxy", "ConditionProxy", "DictProxy",
    "EventProxy", "IteratorProxy", "ListProxy", "MakeProxyType", "Manager", "Namespace", "NamespaceProxy", "PoolProxy",
    "RemoteError", "Server", "SharedMemoryManager", "SyncManager", "Token", "ValueProxy",
]  # fmt: skip

# Not all of it is in the stubs.
_standard: Any = standard
_connection: Any = standard_connection
AcquirerProxy = _standard.AcquirerProxy
AutoProxy = _standard.AutoProxy
BarrierProxy = _standard.BarrierProxy
BaseProxy = _standard.BaseProxy
ConditionProxy = _standard.ConditionProxy
DictProxy = _standard.DictProxy
EventProxy = _standard.EventProxy
IteratorProxy = _standard.IteratorProxy
ListProxy = _standard.ListProxy
MakeProxyType = _standard.MakeProxyType
Namespace = _standard.Namespace
NamespaceProxy = _standard.NamespaceProxy
PoolProxy = _standard.PoolProxy
RemoteError = _standard.RemoteError
Token = _standard.Token
ValueProxy = _standard.ValueProxy
_State = _standard.State


class Server(_standard.Server):  # type: ignore[misc] # see above
    """What has a manager's objects, and does what the proxies ask."""

    public = [*_standard.Server.public, "authenticate"]  # noqa: RUF012 - as the standard library has it

    def __init__(self, registry: dict[str, Any], *arguments: Any) -> None:
        # What makes an object may use others, for which the standard library's `create` would wait for ever.
        super().__init__({typeid: (None, *others) for typeid, (_, *others) in registry.items()}, *arguments)
        self._makers = {typeid: maker for typeid, (maker, *_) in registry.items()}
        self._making = threading.RLock()
        self.stop_event = threading.Event()

    def serve_forever(self) -> None:
        """Serve until a manager that is connected, or Ctrl-C, ends it; then end the program."""
        try:
            self.serve()
        except KeyboardInterrupt:
            pass
        finally:
            self.stop()
        sys.exit(0)

    def serve(self) -> None:
        """Serve until `stop`, in another thread."""
        threading.Thread(target=self.accepter, name="lithops-manager-accepter", daemon=True).start()
        self.stop_event.wait()
        self.stop()

    def stop(self) -> None:
        """No more requests. The threads that serve proxies end, those in the middle of a request after it."""
        self.stop_event.set()
        self.listener.close()

    def accepter(self) -> None:
        """A thread for each line."""
        while not self.stop_event.is_set():
            try:
                found = self.listener.accept()
            except OSError:
                self.stop_event.set()
                return
            if isinstance(found, str):
                self._release(found)
            else:
                threading.Thread(target=self.handle_request, args=(found,), daemon=True).start()

    def _release(self, ident: str) -> None:
        try:
            self.decref(None, ident)
        except (AssertionError, KeyError):
            util.debug("there is no object %s to release", ident)

    def _handle_request(self, c: ServedLine) -> None:
        """The first request of a line, which is often its only one."""
        try:
            _, name, args, kwds = c.recv()
            if name not in self.public:
                raise AssertionError(f"{name!r} unrecognized")
            answer = "#RETURN", getattr(self, name)(c, *args, **kwds)
        except EOFError:
            return
        except Exception:  # noqa: BLE001 - whatever it is, who has asked is told
            answer = "#TRACEBACK", traceback.format_exc()
        try:
            c.send_last(answer)
        except Exception:  # noqa: BLE001 - as above, of what cannot be pickled
            # Where the program's server has ended, there is nobody to be told.
            with contextlib.suppress(SharedStateError):
                c.send_last(("#TRACEBACK", traceback.format_exc()))

    def create(self, c: ServedLine, typeid: str, /, *args: Any, **kwds: Any) -> Any:
        """A new object, made by what is registered for the type."""
        make = self._makers[typeid]
        if make is not None:
            with self._making:
                args, kwds = (make(*args, **kwds),), {}
        return super().create(c, typeid, *args, **kwds)

    def authenticate(self, c: ServedLine) -> None:
        """Both sides show that they have the same key."""
        _connection.deliver_challenge(c, self.authkey)
        _connection.answer_challenge(c, self.authkey)


class BaseManager(_standard.BaseManager):  # type: ignore[misc] # see above
    """See `multiprocessing.managers.BaseManager`.

    Its `address` leads to it from all processes of the program. It can be given a name of its own, a text or a port,
    by which others of the program find it.
    """

    _Server = Server
    _address: Any
    _process: Any

    def __init__(
        self,
        address: Any = None,
        authkey: bytes | None = None,
        serializer: str = "pickle",
        ctx: Any = None,
        *,
        shutdown_timeout: float = 1.0,
    ) -> None:
        if serializer != "pickle":
            raise NotImplementedError(
                f"serializer={serializer!r} is for servers with sockets; here, objects travel as pickles: leave it out"
            )
        # Who reaches the program's server is of the program: the key is for managers that are to be kept apart.
        super().__init__(address, authkey or b"", exchange.SERIALIZER, ctx)
        self._shutdown_timeout = shutdown_timeout

    def get_server(self) -> Server:
        """A server for `serve_forever`, in place of `start`. Raises `ProcessError` after `start` or `shutdown`."""
        self._check_initial()
        return self._Server(self._registry, self._address, self._authkey, self._serializer)

    def connect(self) -> None:
        """Become a manager of the one that has been started at the address. Raises `AuthenticationError`."""
        line = exchange.connect(self._address)
        line.send((None, "authenticate", (), {}))
        _connection.answer_challenge(line, bytes(self._authkey))
        _connection.deliver_challenge(line, bytes(self._authkey))
        line.recv()
        self._address = exchange.find_address(self._address)
        self._state.value = _State.STARTED

    def start(self, initializer: Any = None, initargs: Any = ()) -> None:
        """Serve in threads of this process, where `initializer` is called first."""
        self._check_initial()
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if initializer is not None:
            initializer(*initargs)
        server = self.get_server()
        self._address = server.address
        self._process = threading.Thread(target=server.serve, name=type(self).__name__, daemon=True)
        self._process.start()
        self._state.value = _State.STARTED
        arguments = (server, self._process, self._state, self._shutdown_timeout)
        self.shutdown = util.Finalize(self, _end, args=arguments, exitpriority=0)
        # Before the program's server ends: what is registered later is called earlier.
        atexit.register(self.shutdown)

    def _check_initial(self) -> None:
        if self._state.value == _State.STARTED:
            raise ProcessError("Already started server")
        if self._state.value == _State.SHUTDOWN:
            raise ProcessError("Manager has shut down")


def _end(server: Server, thread: threading.Thread, state: Any, timeout_s: float) -> None:
    state.value = _State.SHUTDOWN
    server.stop()
    if thread is not threading.current_thread():
        thread.join(timeout_s)
    BaseProxy._address_to_local.pop(server.address, None)


class SyncManager(BaseManager, _standard.SyncManager):  # type: ignore[misc] # see above
    """See `multiprocessing.managers.SyncManager`."""


def _new_pool(*arguments: Any, **options: Any) -> Any:
    from lithops.multiprocessing.pool import Pool

    return Pool(*arguments, **options)


SyncManager.register("Pool", _new_pool, PoolProxy)


class SharedMemoryManager(BaseManager):
    """Cannot be had: raises `NotImplementedError`."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError(
            "shared memory is of one machine, and processes may be on others: use Array or RawArray, or send numpy "
            "arrays through a Queue"
        )


def Manager() -> SyncManager:  # noqa: N802 - as the standard library calls it
    """A started `SyncManager`. Its objects are in this process, and end with it or with `shutdown`."""
    manager = SyncManager()
    manager.start()
    return manager

"""Every exception that this library raises, in one tree.

::

    LithopsError
    ├── ConfigError (ValueError)              a configuration that cannot be used
    │   └── BackendNotInstalled               a known backend whose extra is not installed
    ├── InvalidCall (ValueError)              a call that cannot be made as it was written
    │   └── DataLimitExceeded                 more input data than `data_limit` allows
    ├── NotSerializable (TypeError)           a function, argument or result that cannot be pickled
    ├── WireError                             a message that cannot be read
    ├── StorageError                          object storage said no
    │   ├── NoSuchBucket
    │   ├── StorageNoSuchKeyError
    │   ├── AccessDenied
    │   ├── AlreadyExists                     a conditional put that came second
    │   ├── InvalidKey (ValueError)           a bucket or key name that is not allowed
    │   └── StorageUnavailable                try again later
    ├── ComputeError                          a compute backend said no
    │   ├── Throttled                         too many at once: try again later
    │   └── ResponseLost                      sent, perhaps: the connection broke before the answer
    ├── SharedStateError (ConnectionError)    the server of the objects that processes share has failed
    └── CallError                             one call did not return
        ├── RemoteError                       it raised something that could not be pickled
        ├── WorkerLost                        its worker vanished
        ├── CallTimeout (TimeoutError)        it ran, or was silent, for too long
        ├── OutOfMemory (MemoryError)         its worker was killed for memory
        └── CallCancelled (CancelledError)    it was cancelled before it returned

An exception that the user's own function raises is not in this tree: it arrives as itself, with a
`RemoteTraceback` as its cause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lithops.cancelled import CallCancelled as CallCancelled


def __getattr__(name: str) -> Any:
    # Its base is the standard library's, which workers would import for nothing: so it has a module of its own.
    if name == "CallCancelled":
        from lithops.cancelled import CallCancelled

        return CallCancelled
    raise AttributeError(f"module 'lithops.exceptions' has no attribute '{name}'")


class LithopsError(Exception):
    """The root of every exception of this library."""


class ConfigError(LithopsError, ValueError):
    """A configuration that cannot be used: the message names the file, the key and what is allowed."""


class BackendNotInstalled(ConfigError):
    """A backend that exists but whose extra is not installed: the message is the pip command."""


class InvalidCall(LithopsError, ValueError):
    """A call that cannot be made as it was written. Nothing was sent."""


class DataLimitExceeded(InvalidCall):
    """The input data of one job is larger than `lithops.data_limit` allows. Nothing was sent."""


class NotSerializable(LithopsError, TypeError):
    """A function, an argument or a result that cannot be pickled: the message says which, and why."""

    def as_pickle_raised(self) -> Exception:
        """What pickling raised, with this one as its cause: for programs that know the standard library's errors."""
        raised = self.__cause__
        if not isinstance(raised, Exception):
            return self
        # Without a circle of the two.
        self.__cause__ = self.__context__ = None
        raised.__cause__ = self
        return raised


class WireError(LithopsError):
    """A message between client and worker that cannot be read, or is of another version."""


class StorageError(LithopsError):
    """Object storage refused or failed. Every backend's own errors arrive as one of the subclasses."""


class NoSuchBucket(StorageError):
    """The bucket does not exist."""


class StorageNoSuchKeyError(StorageError):
    """The object `key` does not exist in `bucket`. `url` says which storage that is, where it is known."""

    def __init__(self, bucket: str, key: str, url: str = "") -> None:
        where = f" ({url})" if url else ""
        super().__init__(
            f"there is no object '{key}' in bucket '{bucket}'{where}; check the name, or list the bucket"
        )
        self.bucket = bucket
        self.key = key
        self.url = url

    def __reduce__(self) -> tuple[type[StorageNoSuchKeyError], tuple[str, str, str]]:
        return type(self), (self.bucket, self.key, self.url)


class AccessDenied(StorageError):
    """The storage knows who asks, or does not, and refuses."""


class AlreadyExists(StorageError):
    """A put with `if_absent` found that the object exists already."""


class InvalidKey(StorageError, ValueError):
    """A bucket or key name that this storage does not allow."""


class StorageUnavailable(StorageError):
    """The storage is out of reach or overloaded for now: trying again later may succeed."""


class ComputeError(LithopsError):
    """A compute backend refused or failed."""


class Throttled(ComputeError):
    """The backend takes no more activations for now: the invoker waits and tries again."""


class ResponseLost(ComputeError):
    """An activation may have been started, but its connection broke before it answered: it is sent once more."""


class SharedStateError(LithopsError, ConnectionError):
    """The server of the objects that processes share cannot be reached, or has refused a command."""


class CallError(LithopsError):
    """A call that did not return. Its subclasses say why."""


class RemoteError(CallError):
    """The function raised an exception that could not be pickled.

    It carries what could be saved: the exception's `type_name`, its `message`, and the traceback as text
    (in `__cause__`).
    """

    def __init__(self, type_name: str, message: str) -> None:
        super().__init__(f"{type_name}: {message}")
        self.type_name = type_name
        self.message = message

    def __reduce__(self) -> tuple[type[RemoteError], tuple[str, str]]:
        return type(self), (self.type_name, self.message)


class WorkerLost(CallError):
    """The worker that ran the call vanished without a report: the message says how it died."""


class CallTimeout(CallError, TimeoutError):
    """The call ran longer than its `timeout`, or nothing was heard of it in time."""


class OutOfMemory(CallError, MemoryError):
    """The worker that ran the call was killed because it used too much memory."""


class RemoteTraceback(Exception):
    """The traceback of the worker, as text: the `__cause__` of an exception that came from a call."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n\n{self.text}"

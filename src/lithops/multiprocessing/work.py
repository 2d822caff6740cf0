"""What a pool sends: a function that runs chunks of its tasks, in workers that the pool's initializer has prepared."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from contextlib import nullcontext
from inspect import Parameter, Signature
from multiprocessing import pool as standard
from multiprocessing import process as standard_process
from typing import Any

from lithops.multiprocessing.identity import ParentProcess, member_of
from lithops.multiprocessing.output import streamed
from lithops.multiprocessing.process import Process
from lithops.worker import NUMBER_VARIABLE
from lithops.worker.initializer import Initializer

_standard: Any = standard
_standard_process: Any = standard_process
CHUNKED = (_standard.mapstar, _standard.starmapstar)
"""The standard library's functions that run a chunk of a map: a task of theirs brings function and arguments along."""


class Setup(Initializer):
    """What makes any worker one of a pool, whose name it has."""

    def __init__(
        self,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
        stream: str | None,
        first: int,
    ) -> None:
        """`first` is the number of the first worker."""
        super().__init__(initializer, initargs)
        self.parent = ParentProcess.here()
        self.identity = tuple(_standard_process.current_process()._identity)
        self.first = first
        self.stream = stream


class Runner:
    """Runs tasks of one function. `mapper` is None, or the function of the standard library that runs a chunk."""

    __signature__ = Signature([Parameter("work", Parameter.POSITIONAL_ONLY)])
    """Given, since it takes longer to find out than all else that a small job needs."""

    def __init__(self, function: Callable[..., Any], mapper: Callable[..., Any] | None, setup: Setup) -> None:
        self.__name__ = getattr(function, "__name__", type(function).__name__)
        self._function = function
        self._mapper = mapper
        self._setup = setup
        self.namespace = setup.name
        """Functions and initializer share their globals in a worker: see `lithops.prepare.serialize`."""

    def __call__(self, work: Any) -> Any:
        setup = self._setup
        with (
            member_of(_worker_process(setup), setup.parent),
            streamed(setup.stream) if setup.stream else nullcontext(),
        ):
            # If it has failed, every task fails as it did.
            failure = setup.run_once()
            if failure is not None:
                raise failure
            if self._mapper is not None:
                return _packed(self._mapper((self._function, work)))
            arguments, named = work
            return _packed(self._function(*arguments, **named))


_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})


def _packed(value: Any) -> Any:
    """A result that can travel for sure: pickled here, where what cannot be can be shown as the standard's is."""
    if type(value) in _ATOMS or (type(value) in (list, tuple) and _ATOMS.issuperset(map(type, value))):
        return value
    import cloudpickle

    buffers: list[pickle.PickleBuffer] = []
    try:
        return _Packed(cloudpickle.dumps(value, 5, buffers.append), buffers)
    except MemoryError:
        raise
    except Exception as error:
        raise _standard.MaybeEncodingError(error, value) from error


class _Packed:
    """Is unpickled as what it was made of."""

    def __init__(self, pickled: bytes, buffers: list[pickle.PickleBuffer]) -> None:
        self._pickled = pickled
        self._buffers = buffers

    def __reduce__(self) -> Any:
        return _unpacked, (pickle.PickleBuffer(self._pickled), self._buffers)


def _unpacked(pickled: Any, buffers: list[Any]) -> Any:
    return pickle.loads(pickled, buffers=buffers)


def _number(setup: Setup) -> int:
    """The worker's among all of its pool. On a cloud, where nobody counts them, one that no other will have."""
    counted = os.environ.get(NUMBER_VARIABLE)
    return setup.first + int(counted) - 1 if counted else int.from_bytes(os.urandom(4), "big")


_processes: dict[str, Any] = {}


def _worker_process(setup: Setup) -> Any:
    """What `current_process` gives in a worker of that pool."""
    if setup.name not in _processes:
        identity = *setup.identity, _number(setup)
        process: Any = Process(name="SpawnPoolWorker-" + ":".join(map(str, identity)), daemon=True)
        process._identity = identity
        process._parent_pid = setup.parent.pid
        _processes[setup.name] = process
    return _processes[setup.name]

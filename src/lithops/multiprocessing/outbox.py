"""Where a pool puts its tasks, and what becomes of them."""

from __future__ import annotations

import collections
import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import pool as standard
from typing import Any

from lithops.exceptions import CallCancelled, NotSerializable, RemoteError
from lithops.executors import FunctionExecutor
from lithops.future import ResponseFuture
from lithops.multiprocessing import config, program
from lithops.multiprocessing.details import export
from lithops.multiprocessing.output import show
from lithops.multiprocessing.work import CHUNKED, Runner, Setup

_UNREAD = 10_000
"""So many tasks of an iterator are sent ahead of what has been read of its results: it may be endless."""
_WITHOUT_BOUND = 1 << 30

Task = tuple[int, int, Callable[..., Any], tuple[Any, ...], dict[str, Any]]
"""As the standard library has them: the number of the result, the place in it, function and arguments."""
Place = tuple[int, int]
_standard: Any = standard


class Outbox:
    """The tasks of one pool. A thread sends them, another collects what they gave; both start with the first task."""

    def __init__(
        self, executor: FunctionExecutor, setup: Setup, results: dict[int, Any], options: dict[str, Any]
    ) -> None:
        self._executor = executor
        self._setup = setup
        self._results = results
        self._options = options
        self._unsent: queue.SimpleQueue[list[Task] | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[tuple[Place, ResponseFuture] | None] = queue.SimpleQueue()
        self._inputs: list[_Input] = []
        self._threads: list[threading.Thread] = []
        self._finished: list[ResponseFuture] | None = None
        if config.get_parameter(config.EXPORT_EXECUTION_DETAILS):
            self._finished = []
        self._under_way = 0
        self._changed = threading.Condition()
        self._closed = False

    # ------------------------------------------------------------ what the pool says

    def put(self, item: tuple[Iterable[Task], Callable[[int], None] | None]) -> None:
        """Tasks; and for those of an iterator, whom to tell in the end how many there were."""
        tasks, set_length = item
        if not self._threads:
            self._start(self._send_all)
            self._start(self._collect)
        if set_length is None:
            self._send_later(list(tasks))
        else:
            self._count(1)
            self._start(self._read, _Input(tasks, set_length))

    def close(self) -> None:
        """No more tasks will come. Nobody may be left to read what comes of those that there are."""
        self._closed = True
        for each in list(self._inputs):
            each.unbound()

    def join(self) -> None:
        """Wait until all is done."""
        with self._changed:
            self._changed.wait_for(lambda: self._under_way == 0)

    def terminate(self) -> None:
        """Stop at once, and end the threads."""
        self._closed = True
        for each in list(self._inputs):
            each.stop()
        self._executor.close()
        self._unsent.put(None)
        self._ended.put(None)
        for thread in self._threads:
            # A user's iterator may take its time; and the pool may have been dropped by a result's callback.
            if thread is not threading.current_thread() and thread.name != _READER:
                thread.join()
        for result in list(self._results.values()):
            _give_up(result)
        if self._finished:
            export(self._finished, f"pool-{self._setup.pool}", pictures=True)
            self._finished = None

    # ------------------------------------------------------------ sending

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        name = _READER if arguments else "lithops-pool"
        thread = threading.Thread(target=target, args=arguments, daemon=True, name=name)
        self._threads.append(thread)
        thread.start()

    def _read(self, source: _Input) -> None:
        self._inputs.append(source)
        if self._closed:
            source.unbound()
        try:
            source.read(self._send_later)
        finally:
            self._inputs.remove(source)
            self._count(-1)

    def _send_later(self, tasks: list[Task]) -> None:
        self._count(len(tasks))
        self._unsent.put(tasks)

    def _send_all(self) -> None:
        """Send what is there, all that has come in the meantime together."""
        while (tasks := self._unsent.get()) is not None:
            with contextlib.suppress(queue.Empty):
                while (more := self._unsent.get_nowait()) is not None:
                    tasks += more
                self._unsent.put(None)
            for runner, places, work in _jobs(tasks, self._setup):
                self._send(runner, places, work)
            # The arguments are the user's, who may have let go of them.
            del tasks
            runner = places = work = None  # type: ignore[assignment]

    def _send(self, runner: Runner | BaseException, places: list[Place], work: list[Any]) -> None:
        try:
            if isinstance(runner, BaseException):
                raise runner
            options = {**program.call_options(self._executor), **self._options}
            futures = self._executor.map_apart(runner, work, options)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a task is what it gives
            for place in places:
                self._settle(place, (False, error))
            return
        for place, future in zip(places, futures, strict=True):
            future.add_done_callback(lambda future, place=place: self._ended.put((place, future)))  # type: ignore[misc]

    # ------------------------------------------------------------ collecting

    def _collect(self) -> None:
        while (ended := self._ended.get()) is not None:
            place, future = ended
            if future.logs and self._setup.stream is None:
                show(future.logs, failed=not future.success)
            if self._finished is not None:
                self._finished.append(future)
            self._settle(place, _outcome(future))
            del ended, future

    def _settle(self, place: Place, outcome: tuple[bool, Any]) -> None:
        result = self._results.get(place[0])
        if result is not None:
            result._set(place[1], outcome)
        self._count(-1)

    def _count(self, change: int) -> None:
        with self._changed:
            self._under_way += change
            if self._under_way == 0:
                self._changed.notify_all()


_READER = "lithops-pool-input"


class _Input:
    """An iterable that is read while its first results are used already, but not far ahead of them."""

    def __init__(self, tasks: Iterable[Task], set_length: Callable[[int], None]) -> None:
        self._tasks = tasks
        self._set_length = set_length
        self._room = threading.Semaphore(_UNREAD)
        self._stopped = False
        # The standard's iterator keeps its results here until they are read.
        result: Any = set_length.__self__  # type: ignore[attr-defined]
        result._items = _Unread(self._room)

    def read(self, send: Callable[[list[Task]], None]) -> None:
        count = 0
        for task in self._tasks:
            self._room.acquire()
            if self._stopped:
                return
            count += 1
            send([task])
        self._set_length(count)

    def unbound(self) -> None:
        self._room.release(_WITHOUT_BOUND)

    def stop(self) -> None:
        self._stopped = True
        self._room.release()


class _Unread(collections.deque[Any]):
    """Results that nobody has read. Each that is read makes room for a task."""

    def __init__(self, room: threading.Semaphore) -> None:
        super().__init__()
        self._room = room

    def popleft(self) -> Any:
        self._room.release()
        return super().popleft()


def _jobs(tasks: list[Task], setup: Setup) -> Iterator[tuple[Runner | BaseException, list[Place], list[Any]]]:
    """Neighbouring tasks of one function are one job. An input that has failed comes as its error."""
    places: list[Place] = []
    work: list[Any] = []
    last: tuple[Any, Any] = (None, None)
    kind: tuple[Any, Any]
    for number, index, function, arguments, named in tasks:
        if function is _standard._helper_reraises_exception:
            yield arguments[0], [(number, index)], []
            continue
        if function in CHUNKED:
            kind, element = (arguments[0][0], function), arguments[0][1]
        else:
            kind, element = (function, None), (arguments, named)
        if places and not (kind[0] is last[0] and kind[1] is last[1]):
            yield Runner(*last, setup), places, work
            places, work = [], []
        last = kind
        places.append((number, index))
        work.append((element,))
    if places:
        yield Runner(*last, setup), places, work


def _outcome(future: ResponseFuture) -> tuple[bool, Any]:
    """What a task gave, as the standard library's results want to be told."""
    try:
        return True, future.result()
    except (NotSerializable, RemoteError) as error:
        # Of the function's own errors these are none: they say that what it gave could not travel.
        encoding = _standard.MaybeEncodingError(error, f"of {future!r}")
        encoding.__cause__ = error
        return False, encoding
    except BaseException as error:  # noqa: BLE001 - SystemExit too is what the task gave
        return False, error


def _give_up(result: Any) -> None:
    """Nobody may wait for ever for what will not come."""
    error = CallCancelled("the pool was terminated before the task had ended")
    if isinstance(result, standard.IMapIterator):
        waiting: Any = result
        with waiting._cond:
            waiting._items.append((False, error))
            waiting._length = waiting._index
            waiting._cond.notify_all()
    else:
        result._number_left = 1
        result._set(0, (False, error))

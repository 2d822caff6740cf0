"""Where a pool puts its tasks, and what becomes of them."""

from __future__ import annotations

import collections
import contextlib
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import pool as standard
from typing import Any

from lithops.exceptions import CallCancelled, NotSerializable, RemoteError, RemoteTraceback
from lithops.executors import FunctionExecutor
from lithops.future import ResponseFuture
from lithops.multiprocessing import config, program
from lithops.multiprocessing.details import export
from lithops.multiprocessing.inputs import Input, Task
from lithops.multiprocessing.output import Printer, show
from lithops.multiprocessing.work import CHUNKED, Runner, Setup
from lithops.prepare.serialize import serialize_function
from lithops.wait import download

_AHEAD_BYTES = 64 << 20
"""Of an iterator's elements so many bytes may be under way: large ones are not read far ahead of the workers."""
_SENT_AT_ONCE = 4
"""Jobs of up to so many calls for each worker are sent as one task to each: that saves journeys. It is the number of
chunks into which the standard library divides a map."""
_READERS = 64
"""So many results are read from the storage at once."""

Place = tuple[int, int]
_standard: Any = standard


class Outbox:
    """The tasks of one pool. A thread sends them, another collects what they gave; both start with the first task."""

    def __init__(
        self,
        executor: FunctionExecutor,
        setup: Setup,
        results: dict[int, Any],
        options: dict[str, Any],
        *,
        workers: int,
        printer: Printer | None,
    ) -> None:
        """`options` are those of the executor's `map`. `workers` is how many processes of this machine there are, which
        give back what they do not get to; 0 on a cloud. `printer` shows what tasks print while they run."""
        self._executor = executor
        self._setup = setup
        self._results = results
        self._options = options
        self._workers = workers
        self._printer = printer
        self._unsent: queue.SimpleQueue[list[Task] | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[tuple[Place, ResponseFuture] | None] = queue.SimpleQueue()
        self._inputs: dict[int, Input] = {}
        self._element_bytes = 0.0
        self._starting = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._finished: list[ResponseFuture] | None = None
        if config.get_parameter(config.EXPORT_EXECUTION_DETAILS):
            self._finished = []
        self._under_way = 0
        self._changed = threading.Condition()
        self._closed = self._terminated = False

    # ------------------------------------------------------------ what the pool says

    def put(self, item: tuple[Iterable[Task], Callable[[int], None] | None]) -> None:
        """Tasks; and for those of an iterator, whom to tell in the end how many there were."""
        tasks, set_length = item
        with self._starting:
            if not self._threads:
                self._threads = [_start(self._send_all), _start(self._collect)]
        if set_length is None:
            self._send_later(self._complete(list(tasks)))
        else:
            self._count(1)
            source = Input(tasks, set_length, self._allowed)
            self._inputs[source.number] = source
            _start(self._read, source)

    def close(self) -> None:
        """No more tasks will come. Nobody may be left to read what comes of those that there are."""
        self._closed = True
        for each in list(self._inputs.values()):
            each.unbound()

    def join(self) -> None:
        """Wait until all is done."""
        with self._changed:
            self._changed.wait_for(lambda: self._under_way == 0)
        if self._printer is not None:
            self._printer.catch_up()

    def terminate(self) -> None:
        """Stop at once, and end the threads."""
        self._closed = self._terminated = True
        for each in list(self._inputs.values()):
            each.stop()
        self._executor.close()
        self._unsent.put(None)
        self._ended.put(None)
        for thread in self._threads:
            # The pool may have been dropped by a result's callback.
            if thread is not threading.current_thread():
                thread.join()
        for result in list(self._results.values()):
            _give_up(result)
        if self._printer is not None:
            self._printer.catch_up()
        if self._finished:
            export(self._finished, f"pool-{self._setup.name}", pictures=True)
            self._finished = None

    # ------------------------------------------------------------ sending

    def _read(self, source: Input) -> None:
        if self._closed:
            source.unbound()
        try:
            source.read(self._send_later)
        finally:
            self._forget_if_done(source.number)
            self._count(-1)

    def _allowed(self) -> int:
        """How many elements of an iterator may be under way."""
        least = 2 * self._executor.invoker.workers
        return max(least, int(_AHEAD_BYTES / self._element_bytes) if self._element_bytes else 0)

    def _complete(self, tasks: list[Task]) -> list[Task]:
        """Tasks of a `map` or `apply`. An iterable that was shorter than it said, or has failed, makes fewer of them
        than their result waits for."""
        if tasks and isinstance(result := self._results.get(tasks[0][0]), standard.MapResult):
            result._number_left = len(tasks)  # type: ignore[attr-defined]
        return tasks

    def _send_later(self, tasks: list[Task]) -> None:
        self._count(len(tasks))
        self._unsent.put(tasks)

    def _send_all(self) -> None:
        """Send what is there, all that has come in the meantime together."""
        while (tasks := self._unsent.get()) is not None:
            _gather(self._unsent, tasks.extend)
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
            if self._workers and len(work) <= _SENT_AT_ONCE * self._workers:
                options.setdefault("chunksize", -(-len(work) // self._workers))
            futures = self._executor.map_apart(runner, work, options)
        except BaseException as error:  # noqa: BLE001 - whatever is wrong with a task is what it gives
            self._note_unsent(runner, places, work, error)
            return
        self._element_bytes = futures[0].job.stats["func_data_size_bytes"] / len(futures)
        for place, future in zip(places, futures, strict=True):
            future.add_done_callback(lambda future, place=place: self._ended.put((place, future)))  # type: ignore[misc]

    def _note_unsent(
        self, runner: Runner | BaseException, places: list[Place], work: list[Any], error: BaseException
    ) -> None:
        if self._terminated:
            error = _cancelled()
        elif len(places) > 1 and isinstance(runner, Runner) and _can_travel(runner):
            # One of them is to blame, and the others are not to suffer from it.
            for place, element in zip(places, work, strict=True):
                self._send(runner, [place], [element])
            return
        if isinstance(error, NotSerializable):
            error = error.as_pickle_raised()
        for place in places:
            self._settle(place, (False, error))

    # ------------------------------------------------------------ collecting

    def _collect(self) -> None:
        while (first := self._ended.get()) is not None:
            ended = collections.deque([first])
            del first
            _gather(self._ended, ended.append)
            download([future for _, future in ended], _READERS)
            while ended:
                self._note_outcome(*ended.popleft())

    def _note_outcome(self, place: Place, future: ResponseFuture) -> None:
        if future.logs:
            show(future.logs, failed=not future.success)
        if self._finished is not None:
            self._finished.append(future)
        self._settle(place, _outcome(future))

    def _settle(self, place: Place, outcome: tuple[bool, Any]) -> None:
        result = self._results.get(place[0])
        if result is not None:
            _set(result, place[1], outcome)
        source = self._inputs.get(place[0])
        if source is not None:
            source.note_end()
            self._forget_if_done(place[0])
        self._count(-1)

    def _forget_if_done(self, number: int) -> None:
        if number not in self._results:
            self._inputs.pop(number, None)

    def _count(self, change: int) -> None:
        with self._changed:
            self._under_way += change
            if self._under_way == 0:
                self._changed.notify_all()


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


def _gather(source: queue.SimpleQueue[Any], add: Callable[[Any], object]) -> None:
    """Add what else is there. The mark of the end stays."""
    with contextlib.suppress(queue.Empty):
        while (more := source.get_nowait()) is not None:
            add(more)
        source.put(None)


def _start(target: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True, name="lithops-pool")
    thread.start()
    return thread


def _can_travel(runner: Runner) -> bool:
    try:
        serialize_function(runner)
    except NotSerializable:
        return False
    return True


def _outcome(future: ResponseFuture) -> tuple[bool, Any]:
    """What a task gave, as the standard library's results want to be told."""
    try:
        return True, future.result()
    except BaseException as error:  # noqa: BLE001 - SystemExit too is what the task gave
        if isinstance(error, RemoteError) or (isinstance(error, NotSerializable) and future.success):
            # Of the function's own errors these are none: they say that what it gave could not travel.
            encoding = _standard.MaybeEncodingError(error, future)
            encoding.__cause__ = error.__cause__
            error = encoding
        if isinstance(error.__cause__, RemoteTraceback):
            error.__cause__ = _standard.RemoteTraceback(f'\n"""\n{error.__cause__.text}"""')
        return False, error


def _set(result: Any, index: int, outcome: tuple[bool, Any]) -> None:
    """Tell a result. A callback's error is shown as that of a thread, and is nobody else's."""
    try:
        result._set(index, outcome)
    except BaseException:  # noqa: BLE001 - it is the user's
        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
        result._cache.pop(result._job, None)
        result._event.set()
        result._pool = None


def _cancelled() -> CallCancelled:
    return CallCancelled("the pool was terminated before the task had ended")


def _give_up(result: Any) -> None:
    """Nobody may wait for ever for what will not come."""
    error = _cancelled()
    if isinstance(result, standard.IMapIterator):
        waiting: Any = result
        with waiting._cond:
            waiting._items.append((False, error))
            waiting._length = waiting._index
            waiting._cond.notify_all()
    else:
        result._number_left = 1
        _set(result, 0, (False, error))

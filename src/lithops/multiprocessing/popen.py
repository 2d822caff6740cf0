"""What the standard library's `Process` asks for: a call of `run_process` behind the face of a process."""

from __future__ import annotations

import atexit
import itertools
import os
import signal
import threading
from multiprocessing import context, process, util
from typing import Any

from lithops.clock import Event
from lithops.exceptions import NotSerializable
from lithops.future import ResponseFuture
from lithops.multiprocessing import program
from lithops.multiprocessing.details import export
from lithops.multiprocessing.handles import handed_to
from lithops.multiprocessing.identity import ParentProcess, is_interrupted
from lithops.multiprocessing.output import printer, show
from lithops.multiprocessing.process import run_process
from lithops.shared.session import new_name
from lithops.wire.failures import error_of

_SYNTHETIC_PIDS = itertools.count(1 << 22)
"""Above the largest that Linux gives by default: what runs on a cloud has no pid here."""
_LOST = 1
"""The exit code of a process that was lost, for whatever reason."""
_context: Any = context


class Popen:
    """One process, from its parent's side."""

    method = "lithops"
    DupFd = int
    """What the standard library makes of a descriptor, if `duplicate_for_child` gives one."""

    def __init__(self, process_obj: process.BaseProcess) -> None:
        util._flush_std_streams()  # type: ignore[attr-defined]
        self._name = new_name()
        self._signal = signal.SIGTERM
        self._streaming = printer()
        self._code: int | None = None
        self._ended = Event()
        self._process_name = process_obj.name
        self._read_end, self._write_end = os.pipe()
        self._closing = threading.Lock()
        executor = program.process_executor()
        self._is_here = executor.backend == "localhost"
        # A cloud tells of its functions when they end.
        self._pid = None if self._is_here else next(_SYNTHETIC_PIDS)
        stream = self._streaming.key if self._streaming else None
        arguments = (process_obj, ParentProcess.here(), self._name, stream, self._is_here)
        # What is pickled now is told that it goes to a process of this machine, to which secrets may go.
        if self._is_here:
            _context.set_spawning_popen(self)
        try:
            with handed_to(self._name):
                self._future: ResponseFuture = executor.map_apart(
                    run_process, [arguments], program.call_options(executor)
                )[0]
        except NotSerializable as error:
            self.close()
            raise error.as_pickle_raised() from error
        except BaseException:
            self.close()
            raise
        finally:
            _context.set_spawning_popen(None)
        # The standard library's Process lets go of its arguments now. Objects of a manager among them would be gone
        # before the worker has asked for them.
        self._arguments: Any = vars(process_obj).get("_args"), vars(process_obj).get("_kwargs")
        self._future.add_start_callback(self._let_go)
        self._future.add_done_callback(self._note_end)

    # ------------------------------------------------------------ what the standard's Process asks for

    @property
    def pid(self) -> int:
        """The worker's. On this machine, this waits for the process to run."""
        if self._pid is None:
            known = Event()
            self._future.add_start_callback(lambda _: known.set())
            known.wait()
            # There is none of a process that was stopped before it ran.
            _, is_known, number = self._future.activation_id.partition("pid-")
            self._pid = int(number) if is_known else next(_SYNTHETIC_PIDS)
        return self._pid

    @property
    def sentinel(self) -> int:
        """A descriptor that can be read from once the process has ended."""
        return self._read_end

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        """The exit code; None while the process runs."""
        return self._code

    def wait(self, timeout: float | None = None) -> int | None:
        """The exit code; None if the process has not ended in time. What it has printed was shown before."""
        try:
            ended = self._ended.wait(timeout)
        except KeyboardInterrupt:
            interrupt()
            raise
        if ended and self._streaming:
            self._streaming.catch_up()
        return self._code

    def terminate(self) -> None:
        self._end_with(signal.SIGTERM)

    def kill(self) -> None:
        self._end_with(signal.SIGKILL)

    def close(self) -> None:
        with self._closing:
            for fd in {self._read_end, self._write_end} - {-1}:
                os.close(fd)
            self._read_end = self._write_end = -1

    def __del__(self) -> None:
        self.close()

    def duplicate_for_child(self, fd: int) -> int:
        raise NotImplementedError(
            f"descriptor {fd} is of this machine, and the process may run on another: pass a lithops Pipe or Queue, "
            "or the name of a file or an object instead"
        )

    # ------------------------------------------------------------ how it ends

    def _end_with(self, number: signal.Signals) -> None:
        if not self._future.done:
            self._signal = number
            self._future.cancel()

    def _let_go(self, _: ResponseFuture) -> None:
        self._arguments = None

    def _note_end(self, future: ResponseFuture) -> None:
        """In the monitor's thread: nothing here may wait for a call."""
        code = _LOST
        try:
            show(future.logs, failed=not future.success)
            program.note_end(self._name, in_order=future.success)
            if future.success:
                code, last_words = future.value()
            else:
                code, last_words = self._death(future)
            show(last_words, failed=True)
            export([future], self._process_name)
        finally:
            self._code = code
            self._tell_sentinel()
            self._ended.set()

    def _tell_sentinel(self) -> None:
        with self._closing:
            if self._write_end >= 0:
                # Closing it would do, if no child that this process has forked had it too.
                os.write(self._write_end, b"\0")
                os.close(self._write_end)
                self._write_end = -1

    def _death(self, future: ResponseFuture) -> tuple[int, str]:
        """The exit code of a process that has not come to its end, and what else there is to say."""
        if future.cancelled():
            return -self._signal, ""
        status = future.settled_status()
        assert status is not None
        assert status.failure is not None
        code = status.failure.exit_code
        if code is not None and self._is_here:
            return code, ""
        # What it has printed is in a cloud's own log, and quoted there.
        words = f"Process {self._process_name}: {error_of(status.failure, None)}\n"
        return _LOST if code is None else code, words


# Later than what these imports register, so it runs before executors and the server are shut down.
@atexit.register
def _end_children() -> None:
    """As the standard library at the end of a program: daemonic children are stopped, the others waited for."""
    if is_interrupted():
        interrupt()
    for child in process.active_children():
        if child.daemon:
            child.terminate()
    for child in process.active_children():
        child.join()


def interrupt() -> None:
    """Ctrl-C reaches all processes of a terminal, and so it does those elsewhere."""
    for child in process.active_children():
        popen: Any = child._popen  # type: ignore[attr-defined]
        if isinstance(popen, Popen):
            popen._end_with(signal.SIGINT)


def _forget_children() -> None:
    """In a child that this process has forked: the processes are its parent's."""
    children = process._children  # type: ignore[attr-defined]
    children -= {child for child in children if isinstance(child._popen, Popen)}


os.register_at_fork(after_in_child=_forget_children)

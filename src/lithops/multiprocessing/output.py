"""What processes print: shown here when they end, or, with STREAM_STDOUT, while they run."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TextIO

from lithops.exceptions import SharedStateError
from lithops.multiprocessing import config
from lithops.multiprocessing.current import current_session
from lithops.shared.session import Session

_LOOK_S = 1.0


def show(text: str, *, failed: bool) -> None:
    """Print what a process has printed. Of one that has failed, the last words are most likely an error."""
    if text:
        stream = sys.stderr if failed else sys.stdout
        stream.write(text)
        stream.flush()


# ---------------------------------------------------------------- in the worker


@contextmanager
def streamed(key: str) -> Iterator[None]:
    """While entered, what is printed goes line by line to the list at `key`.

    What does not go through `sys.stdout` and `sys.stderr`, as the output of other programs, is shown at the end.
    """
    session = current_session()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Line(sys.stdout, _OUT, session, key), _Line(sys.stderr, _ERR, session, key)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


_OUT, _ERR, _MARK = b"1", b"2", b"m"
"""The first byte of a message: what its text is for."""


class _Line(io.TextIOBase):
    """A stream that ends in the program, not here."""

    def __init__(self, stream: TextIO, kind: bytes, session: Session, key: str) -> None:
        self._stream = stream
        self._kind = kind
        self._session = session
        self._key = key
        self._text = ""
        self._writing = threading.RLock()

    def write(self, text: str) -> int:
        with self._writing:
            self._text += text
            if "\n" in text:
                lines, _, self._text = self._text.rpartition("\n")
                self._send(lines + "\n")
        return len(text)

    def flush(self) -> None:
        with self._writing:
            if self._text:
                self._send(self._text)
                self._text = ""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def _send(self, text: str) -> None:
        try:
            _push(self._session, self._key, self._kind + text.encode("utf-8", "backslashreplace"))
        except SharedStateError:
            # It is shown in the end, at least.
            self._stream.write(text)


def _push(session: Session, key: str, message: bytes) -> None:
    session.run_all(("RPUSH", key, message), ("PEXPIRE", key, session.expiry_ms))


# ---------------------------------------------------------------- in the program


class Printer:
    """A thread that prints what arrives."""

    def __init__(self) -> None:
        self._session = current_session()
        self.key = self._session.key("output")
        self._marks: dict[bytes, threading.Event] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True, name="lithops-output")
        self._thread.start()

    def catch_up(self) -> None:
        """Wait until everything that has been sent up to now is printed."""
        mark = _MARK + os.urandom(8)
        printed = self._marks[mark] = threading.Event()
        with contextlib.suppress(SharedStateError):
            _push(self._session, self.key, mark)
            while self._thread.is_alive() and not printed.wait(_LOOK_S):
                pass
        del self._marks[mark]

    def close(self) -> None:
        """Print what is left, and end the thread."""
        self._closing = True
        self.catch_up()
        self._thread.join(_LOOK_S)

    def _run(self) -> None:
        while not self._closing:
            try:
                message = self._session.wait(self.key)
            except SharedStateError:
                return  # the program has ended, or whoever uses the server next is told
            if message is not None:
                self._print(message)

    def _print(self, message: bytes) -> None:
        if message in self._marks:
            self._marks[message].set()
            return
        stream = sys.stderr if message[:1] == _ERR else sys.stdout
        stream.write(message[1:].decode("utf-8"))
        stream.flush()


@lru_cache(maxsize=1)
def _printer(session: Any) -> Printer:  # noqa: ARG001 - one for each server
    return Printer()


def printer() -> Printer | None:
    """Where the output of processes goes while they run; None: it is shown when they end."""
    return _printer(current_session()) if config.get_parameter(config.STREAM_STDOUT) else None


def close() -> None:
    """The server is about to end."""
    if _printer.cache_info().currsize:
        _printer(current_session()).close()
        _printer.cache_clear()

"""What processes print: shown here when they end, or, with STREAM_STDOUT, while they run."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TextIO

from lithops.exceptions import SharedStateError
from lithops.multiprocessing import config
from lithops.shared.session import Session, current_session


def show(text: str, *, failed: bool) -> None:
    """Print what a process has printed. Of one that has failed, the last words are most likely an error."""
    if text:
        stream = sys.stderr if failed else sys.stdout
        stream.write(text)
        stream.flush()


# ---------------------------------------------------------------- in the worker


@contextmanager
def streamed(key: str) -> Iterator[None]:
    """While entered, what is printed goes line by line to the list at `key`, and where it went before."""
    session = current_session()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Tee(sys.stdout, session, key), _Tee(sys.stderr, session, key)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


class _Tee(io.TextIOBase):
    """Writes to two places at once: what was printed stays with its call as well."""

    def __init__(self, stream: TextIO, session: Session, key: str) -> None:
        self._stream = stream
        self._session = session
        self._key = key
        self._line = ""

    def write(self, text: str) -> int:
        self._stream.write(text)
        self._line += text
        if "\n" in self._line:
            lines, _, self._line = self._line.rpartition("\n")
            self._send(lines + "\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()
        if self._line:
            self._send(self._line)
            self._line = ""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def _send(self, text: str) -> None:
        self._session.run_all(
            ("RPUSH", self._key, text.encode("utf-8", "backslashreplace")),
            ("PEXPIRE", self._key, self._session.expiry_ms),
        )


# ---------------------------------------------------------------- in the program


class Printer:
    """A thread that prints what arrives."""

    def __init__(self) -> None:
        self._session = current_session()
        self.key = self._session.key("output")
        threading.Thread(target=self._run, daemon=True, name="lithops-output").start()

    def _run(self) -> None:
        while True:
            try:
                text = self._session.wait(self.key)
            except SharedStateError:
                return  # the program has ended, or whoever uses the server next is told
            if text is not None:
                sys.stdout.write(text.decode("utf-8"))
                sys.stdout.flush()


@lru_cache(maxsize=1)
def _printer(session: Any) -> Printer:  # noqa: ARG001 - one for each server
    return Printer()


def printer() -> Printer | None:
    """Where the output of processes goes while they run; None: it is shown when they end."""
    return _printer(current_session()) if config.get_parameter(config.STREAM_STDOUT) else None

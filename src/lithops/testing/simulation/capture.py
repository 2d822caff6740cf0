"""What calls print, caught in this process: the streams are everybody's, so they are put back after each call."""

from __future__ import annotations

import io
import sys


class InProcessCapture:
    """Implements `Capture` for workers that share one thread."""

    def __init__(self) -> None:
        self._before = (sys.stdout, sys.stderr)
        self._output: io.StringIO | None = None

    def begin(self) -> None:
        """Catch what is written from now on."""
        if self._output is None:
            self._before = (sys.stdout, sys.stderr)
        self._output = io.StringIO()
        sys.stdout = sys.stderr = self._output

    def take(self) -> str:
        """What was written; the streams are put back."""
        text = "" if self._output is None else self._output.getvalue()
        self.restore()
        return text

    def restore(self) -> None:
        """Put the streams back, if they are caught."""
        if self._output is not None:
            sys.stdout, sys.stderr = self._before
            self._output = None

"""A progress bar for long waits."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

_SHOW_AFTER_S = 0.5
"""A wait that is over before nobody needs a bar, nor the time that it takes to import one."""
_REFRESH_S = 0.1
_QUIET_S = 3600.0


class Progress:
    """Shows how many of `total` calls have ended: on a terminal or in a notebook, once the wait has become long."""

    def __init__(self, total: int, *, shown: bool) -> None:
        self._total = total
        self._shown = shown and total > 1 and _has_viewer()
        self._since = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    @property
    def pause_s(self) -> float:
        """How long to wait before calling `show` again."""
        return _REFRESH_S if self._shown else _QUIET_S

    def show(self, ended: int) -> None:
        """Bring the bar up to date."""
        if not self._shown:
            return
        waited_s = time.monotonic() - self._since
        if self._bar is None and waited_s >= _SHOW_AFTER_S:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=self._total, unit="call", leave=True)
            self._bar.start_t -= waited_s  # what ended before there was a bar took its time too
        if self._bar is not None:
            self._bar.update(min(ended, self._total) - self._bar.n)


def _has_viewer() -> bool:
    """Whether there is a terminal, or a notebook, that shows a bar as one."""
    return "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())

"""What calls print, kept in one file for each job, for `lithops logs`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

from lithops.wire.ids import call_id
from lithops.wire.messages import CallStatus

logger = logging.getLogger(__name__)


class JobLogs:
    """Appends the output of calls to ``<folder>/<job key>.log``."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._failed = False

    def write(self, ended: Iterable[tuple[str, CallStatus]]) -> None:
        """Keep what these calls (of these functions) printed. A full disk is worth a warning, not a call."""
        texts: dict[str, list[str]] = {}
        for name, status in ended:
            end = "" if status.logs.endswith("\n") else "\n"
            header = f"--- {call_id(status.index)} {name} {status.phase.value}\n"
            texts.setdefault(status.job_key, []).append(f"{header}{status.logs}{end}")
        for job_key, parts in texts.items():
            try:
                os.makedirs(self._folder, exist_ok=True)
                with open(os.path.join(self._folder, f"{job_key}.log"), "a", encoding="utf-8") as file:
                    file.write("".join(parts))
            except OSError as error:
                if not self._failed:
                    logger.warning("what calls print is not kept, because of %s; `fut.logs` has it", error)
                self._failed = True

"""What calls print, kept in one file for each job, for `lithops logs`."""

from __future__ import annotations

import logging
import os

from lithops.wire.ids import call_id
from lithops.wire.messages import CallStatus

logger = logging.getLogger(__name__)


class JobLogs:
    """Appends the output of calls to ``<folder>/<job key>.log``."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._failed = False

    def write(self, status: CallStatus, function_name: str) -> None:
        """Keep what a call printed. A disk that is full is worth a warning, not the call."""
        try:
            os.makedirs(self._folder, exist_ok=True)
            with open(os.path.join(self._folder, f"{status.job_key}.log"), "a", encoding="utf-8") as file:
                end = "" if status.logs.endswith("\n") else "\n"
                file.write(
                    f"--- {call_id(status.index)} {function_name} {status.phase.value}\n{status.logs}{end}"
                )
        except OSError as error:
            if not self._failed:
                logger.warning("what calls print is not kept, because of %s; `fut.logs` has it", error)
            self._failed = True

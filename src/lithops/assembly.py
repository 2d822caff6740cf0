"""What an executor consists of, put together."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lithops import constants
from lithops.cleaning import Cleaner
from lithops.clock import Clock
from lithops.compute.base import ComputeBackend, SupportsDirectResults
from lithops.config.model import Settings
from lithops.exceptions import StorageError
from lithops.invoke.invoker import Invoker
from lithops.ledger import Ledger
from lithops.monitor.logs import JobLogs
from lithops.monitor.monitor import JobMonitor
from lithops.monitor.sources.storage import StorageSource
from lithops.prepare.prepare import Preparer
from lithops.storage.base import StorageBackend
from lithops.storage.client import Storage

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Core:
    """The parts of one executor. They do not refer to the executor, so that it can be collected."""

    compute: ComputeBackend
    storage: Storage
    invoker: Invoker
    monitor: JobMonitor
    preparer: Preparer
    ledger: Ledger
    cleaner: Cleaner
    keep_data: bool

    def shut_down(self) -> None:
        """Cancel what is running, stop what was started, and remove the executor's data from the storage."""
        self.monitor.close()
        self.compute.close()
        if self.preparer.has_prepared and not self.keep_data:
            try:
                self.cleaner.clean_all()
            except StorageError as error:
                # The results are safe, and this may be the interpreter's exit: no reason to fail.
                logger.warning("data is left in the storage, `lithops clean` removes it: %s", error)
        # Whoever still uses it opens its connections again.
        self.storage.storage_handler.close()


def assemble(
    executor: Any,
    settings: Settings,
    compute: ComputeBackend,
    storage: StorageBackend,
    clock: Clock,
    *,
    env: Mapping[str, str],
    threaded: bool,
) -> Core:
    """The parts of `executor`. Statuses arrive over the backend's own connection if it has one, else by storage."""
    bucket = storage.default_bucket()
    interval_s = settings.lithops.monitoring_interval
    ledger = Ledger(compute, storage)
    source = (
        compute.status_source()
        if isinstance(compute, SupportsDirectResults)
        else StorageSource(storage, bucket, interval_s=interval_s, clock=clock, ledger=ledger)
    )
    invoker = Invoker(compute, max_concurrency=settings.lithops.max_concurrency)
    logs = JobLogs(os.path.join(constants.LITHOPS_TEMP_DIR, "logs"))
    monitor = JobMonitor(
        compute, source, storage, bucket, invoker=invoker, logs=logs, ledger=ledger, clock=clock,
        threaded=threaded,
    )  # fmt: skip
    preparer = Preparer(
        executor, monitor, settings, compute=compute, storage=storage, bucket=bucket, ledger=ledger, env=env
    )
    return Core(
        compute,
        Storage.over(storage, bucket, job_key=executor.executor_id),
        invoker,
        monitor,
        preparer,
        ledger,
        Cleaner(storage, bucket, executor.executor_id, ledger),
        keep_data=not settings.lithops.data_cleaner,
    )

"""How fast a client takes statuses in, and how soon it sees the first: ``storage_intake.py CONFIG FILE``.

CONFIG is JSON: the section `minio`. What is written to FILE is JSON: rates, CPU milliseconds and latencies.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lithops.clock import SystemClock
from lithops.config.loader import resolve
from lithops.monitor.sources.storage import StorageSource
from lithops.storage import registry
from lithops.storage.base import StorageBackend
from lithops.wire.messages import CallStatus, InlineBlob, Phase
from lithops.worker.report import commit

STATUSES = 4_000
ROUNDS = 5
WRITERS = 32
RESULT_BYTES = 1_000
CALLS_S = [0.5 + 0.05 * turn for turn in range(21)]
"""How long the calls take whose first status is waited for."""


def main(section: dict[str, Any]) -> dict[str, float]:
    settings = resolve({"lithops": {"storage": "minio"}, "minio": section})
    storage = registry.create("minio", settings.storage)
    bucket = storage.default_bucket()
    storage.ensure_bucket(bucket)
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(lambda task_id: _commit(storage, bucket, "many", task_id), range(STATUSES)))
    rounds = [_take_in(storage, bucket) for _ in range(ROUNDS)]
    late_ms = [_lateness_ms(storage, bucket, call_s) for call_s in CALLS_S]
    storage.close()
    return {
        "statuses_per_s": statistics.median(STATUSES / elapsed_s for elapsed_s, _ in rounds),
        "cpu_ms_each": statistics.median(cpu_s / STATUSES * 1e3 for _, cpu_s in rounds),
        "first_ms_median": statistics.median(late_ms),
        "first_ms_longest": max(late_ms),
    }


def _commit(storage: StorageBackend, bucket: str, job_key: str, task_id: int) -> float:
    status = CallStatus(job_key, 0, Phase.RETURNED, task_id, result=InlineBlob(bytes(RESULT_BYTES)))
    commit([status], 0, bucket, storage)
    return time.perf_counter()


def _take_in(storage: StorageBackend, bucket: str) -> tuple[float, float]:
    """Seconds, and CPU seconds, of one look that finds everything."""
    source = StorageSource(storage, bucket, interval_s=2, clock=SystemClock())
    for task_id in range(STATUSES):
        source.sent("many", task_id)
    source.hurry()
    started, cpu = time.perf_counter(), time.process_time()
    found = source.receive(0.0)
    elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    if len(found) != STATUSES:
        raise SystemExit("statuses are missing: the measurement means nothing")
    return elapsed_s, cpu_s


def _lateness_ms(storage: StorageBackend, bucket: str, call_s: float) -> float:
    """From the commit of a call's status until the client has it."""
    job_key = f"late-{call_s}"
    source = StorageSource(storage, bucket, interval_s=2, clock=SystemClock())
    source.sent(job_key, 0)
    committed: list[float] = []
    call = threading.Timer(call_s, lambda: committed.append(_commit(storage, bucket, job_key, 0)))
    call.start()
    while not source.receive(10.0):
        pass
    seen = time.perf_counter()
    call.join()
    return (seen - committed[0]) * 1e3


if __name__ == "__main__":
    numbers = main(json.loads(sys.argv[1]))
    Path(sys.argv[2]).write_text(json.dumps(numbers))

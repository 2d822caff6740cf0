"""One job through object storage, in a process of its own: ``storage_job.py PEER CALLS CONFIG FILE``.

CONFIG is JSON: the section `minio`. What is written to FILE is JSON too: seconds, CPU seconds and memory of the client.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from processes import resident_bytes

WORKERS = 2
RESULT_BYTES = 1_000
WARM_CALLS = 10


def kilobyte(number: int) -> bytes:
    return bytes([number % 256]) * RESULT_BYTES


@contextmanager
def this_project(config: dict[str, Any]) -> Iterator[Any]:
    """Workers report through the storage alone, as a cloud's functions do."""
    from lithops.clock import SystemClock
    from lithops.config.loader import resolve
    from lithops.config.passing import runtime_environment
    from lithops.executors import FunctionExecutor
    from lithops.storage import registry
    from lithops.testing.functions import LocalFunctions

    settings = resolve(config, log_level=None)
    storage = registry.create(settings.storage_name, settings.storage)
    compute = LocalFunctions(
        processes=WORKERS, max_activations=1000, environment=runtime_environment(settings)
    )
    with FunctionExecutor.over(compute, storage, settings, clock=SystemClock(), threaded=True) as executor:
        yield executor


@contextmanager
def lithops_3(config: dict[str, Any]) -> Iterator[Any]:
    import lithops

    config["lithops"].update(backend="localhost", log_level="ERROR")
    config["localhost"] = {"worker_processes": WORKERS}
    with lithops.FunctionExecutor(config=config) as executor:
        yield executor


PEERS = {"lithops": this_project, "lithops38": lithops_3}


def main(peer: str, calls: int, section: dict[str, Any]) -> dict[str, float]:
    config = {"lithops": {"storage": "minio", "data_limit": False}, "minio": section}
    with PEERS[peer](config) as executor:
        _job(executor, WARM_CALLS)
        gc.collect()
        before_bytes = resident_bytes()
        started, cpu = time.perf_counter(), time.process_time()
        futures, results = _job(executor, calls)
        elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu
        if results != [kilobyte(number) for number in range(calls)]:
            raise SystemExit("a wrong result: the measurement means nothing")
        del results
        gc.collect()
        grown_bytes = resident_bytes() - before_bytes
        del futures
    return {"seconds": elapsed_s, "cpu_s": cpu_s, "bytes_per_call": grown_bytes / max(calls, 1)}


def _job(executor: Any, calls: int) -> tuple[Any, list[bytes]]:
    if not calls:
        return [], []
    futures = executor.map(kilobyte, range(calls))
    return futures, executor.get_result(futures, show_progressbar=False)


if __name__ == "__main__":
    numbers = main(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
    Path(sys.argv[4]).write_text(json.dumps(numbers))

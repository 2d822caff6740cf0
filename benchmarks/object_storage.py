"""Jobs through object storage, side by side with Lithops 3.8.0: ``python benchmarks/object_storage.py``.

Starts a SeaweedFS of its own. Requests are counted before the server by a proxy; what is timed goes without it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import environments

sys.path.insert(0, str(environments.ROOT / "tests" / "servers"))

from faulty_proxy import FaultyProxy
from seaweedfs_server import SeaweedFS, running_seaweedfs

OUTPUT = environments.ROOT / "docs" / "benchmarks" / "object_storage.md"
ENVIRONMENTS = {"lithops": "own", "lithops38": "lithops38"}
TITLES = {"lithops": "this project", "lithops38": "Lithops 3.8.0"}
COUNTED = {"lithops": (50, 1_000), "lithops38": (50,)}
MANY = 10_000
ROUNDS = 3
MINUTE_S = 60.0
WARM_CALLS = 10
_LONGEST_S = 200.0
KINDS = ("PUT", "GET", "LIST", "HEAD", "POST", "DELETE")

Numbers = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the file for the tables")
    output: Path = parser.parse_args().output
    for name in ENVIRONMENTS.values():
        environments.prepare(environments.DEFAULT_FOLDER, name)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with (
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as scratch,
        running_seaweedfs(Path(scratch)) as server,
    ):
        tables = [_requests(server, scratch), _times(server, scratch), _intake(server, scratch)]
        text = "\n".join([_heading(), *(line for table in tables for line in (*table, ""))])
    print(text)
    output.write_text(text)


def _requests(server: SeaweedFS, scratch: str) -> Iterator[str]:
    yield "| requests of one job, cleaning included | " + " | ".join(KINDS) + " |"
    yield "|---|" + "---:|" * len(KINDS)
    for peer, sizes in COUNTED.items():
        for calls in sizes:
            counts = Counter[str]()
            # What warming up costs is taken off.
            for count, sign in ((calls, 1), (0, -1)):
                with FaultyProxy(server.endpoint).running() as proxy:
                    _run(peer, count, server, proxy.endpoint, scratch)
                    for kind in KINDS:
                        counts[kind] += sign * proxy.counts[kind]
            cells = " | ".join(str(counts[kind]) for kind in KINDS)
            yield f"| {TITLES[peer]}, {calls:,} calls | {cells} |"


def _times(server: SeaweedFS, scratch: str) -> Iterator[str]:
    yield "| calls with results of 1 KB | s | ms a call | client CPU, ms a call | client memory, bytes a call |"
    yield "|---|---:|---:|---:|---:|"
    rounds = [_run("lithops", MANY, server, server.endpoint, scratch) for _ in range(ROUNDS)]
    yield _row("lithops", MANY, rounds)
    calls, last = 50, _run("lithops38", 50, server, server.endpoint, scratch)
    while 2 * last["seconds"] < MINUTE_S:
        calls *= 2
        last = _run("lithops38", calls, server, server.endpoint, scratch)
    yield _row("lithops38", calls, [last])


def _intake(server: SeaweedFS, scratch: str) -> Iterator[str]:
    numbers = _run_program("lithops", "storage_intake.py", [json.dumps(_section(server, "lithops"))], scratch)
    yield "| this project's client | |"
    yield "|---|---:|"
    yield f"| statuses taken in a second, of 4,000 that are there | {numbers['statuses_per_s']:,.0f} |"
    yield f"| … client CPU, ms each | {numbers['cpu_ms_each']:.2f} |"
    yield f"| from a first status's commit until it is seen: ms, median | {numbers['first_ms_median']:.0f} |"
    yield f"| … ms, longest of 21 | {numbers['first_ms_longest']:.0f} |"


def _row(peer: str, calls: int, rounds: list[Numbers]) -> str:
    def median(name: str) -> float:
        return statistics.median(numbers[name] for numbers in rounds)

    seconds = median("seconds")
    per_call = (
        f"{seconds / calls * 1e3:.2f} | {median('cpu_s') / calls * 1e3:.2f} | {median('bytes_per_call'):,.0f}"
    )
    return f"| {TITLES[peer]}, {calls:,} | {seconds:.1f} | {per_call} |"


def _run(peer: str, calls: int, server: SeaweedFS, endpoint: str, scratch: str) -> Numbers:
    section = json.dumps({**_section(server, peer), "endpoint": endpoint})
    return _run_program(peer, "storage_job.py", [peer, str(calls), section], scratch)


def _run_program(peer: str, name: str, arguments: list[str], scratch: str) -> Numbers:
    """A measurement, in a process of its own in the peer's environment."""
    print(f"{TITLES[peer]}: {name} {' '.join(arguments[:-1])}", file=sys.stderr)
    python = environments.interpreter(environments.DEFAULT_FOLDER, ENVIRONMENTS[peer])
    file = Path(scratch) / "numbers.json"
    command = [str(python), str(Path(__file__).with_name(name)), *arguments, str(file)]
    # Lithops 3.8.0 starts its workers with the first Python of the path.
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    subprocess.run(command, check=True, cwd=scratch, timeout=_LONGEST_S, env={**os.environ, "PATH": path})
    numbers: Numbers = json.loads(file.read_text())
    file.unlink()
    return numbers


def _section(server: SeaweedFS, peer: str) -> dict[str, str]:
    return {
        "endpoint": server.endpoint,
        "access_key_id": server.access_key_id,
        "secret_access_key": server.secret_access_key,
        "storage_bucket": f"bench-{peer}",
    }


def _heading() -> str:
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return f"""# Jobs through object storage: `python benchmarks/object_storage.py`

Made on {today} on {os.cpu_count()} cores that server, workers and client share, with two workers, over SeaweedFS by S3.
This project's workers report through the storage alone, as in a cloud (`lithops.testing.functions`); Lithops 3.8.0
runs on its localhost backend with the storage `minio`. Requests are counted by a proxy before the server, from the
executor's start to its end; those of a job of {WARM_CALLS} calls that comes first are taken off. Times: the median of
{ROUNDS} rounds, one for Lithops 3.8.0, at the most calls that it ends in a minute when their number is doubled.
"""


if __name__ == "__main__":
    main()

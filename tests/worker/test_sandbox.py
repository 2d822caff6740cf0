"""What a cloud's function does with a request, in a process as a cloud would start it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from lithops.storage.backends.localhost.backend import LocalhostStorage
from lithops.storage.backends.localhost.config import LocalhostStorageConfig
from lithops.wire.codec import statuses_from_text, task_to_text
from lithops.wire.keys import status_prefix
from lithops.wire.messages import Call, CallStatus, FailureKind, InlineBlob, JobSpec, Phase, StorageRef, Task
from lithops.wire.pickles import dump, join, load

NOWHERE = StorageRef("localhost", "bucket", {"root": "/proc/no-such-place"})
"""Whoever needs this storage fails."""

_SERVE = """
import json, os, sys
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)
from lithops.worker.sandbox import Sandbox
sandbox = Sandbox(processes={processes}, isolated={isolated})
for line in sys.stdin:
    answer = sandbox.answer(json.loads(line), "activation-1", {remaining_s})
    answers.write(json.dumps([answer, sorted(sys.modules)]) + chr(10))
"""


class Served:
    """A sandbox in a process of its own."""

    def __init__(self, *, isolated: bool = False, processes: int = 1, remaining_s: float = 600.0) -> None:
        program = _SERVE.format(isolated=isolated, processes=processes, remaining_s=remaining_s)
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `end`
        self._process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )
        self.modules: set[str] = set()
        """What the process has imported when it last answered."""

    def ask(self, message: bytes) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(message + b"\n")
        self._process.stdin.flush()
        answer, modules = json.loads(self._process.stdout.readline())
        self.modules = set(modules)
        return answer

    def run(self, task: Task) -> list[CallStatus]:
        return statuses_from_text(json.dumps(self.ask(task_to_text(task))).encode())

    def end(self) -> str:
        """Stop it; gives what went into the cloud's log."""
        if self._log.closed:
            return ""
        self._process.communicate(timeout=30)
        with self._log as log:
            log.seek(0)
            return log.read()


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(**options: Any) -> Served:
        started.append(Served(**options))
        return started[-1]

    yield start
    for each in started:
        each.end()


def task_of(
    function: Callable[..., Any],
    arguments: Sequence[tuple[Any, ...]],
    *,
    storage: StorageRef = NOWHERE,
    reply_s: float = 20.0,
    timeout_s: float = 60.0,
    job: Mapping[str, Any] | None = None,
) -> Task:
    pickled = join(dump(function, cloudpickle.dumps))
    spec = JobSpec(
        "e-0-M000", InlineBlob(pickled), str(hash(pickled)), storage, timeout_s, 1 << 20, **(job or {})
    )
    calls = [
        Call(index, (InlineBlob(join(dump((args, {}), cloudpickle.dumps))),))
        for index, args in enumerate(arguments)
    ]
    return Task(0, spec, tuple(calls), reply_s)


def value(status: CallStatus) -> Any:
    assert isinstance(status.result, InlineBlob), status
    return load(status.result.data)


def add(first: int, second: int) -> int:
    return first + second


@pytest.mark.parametrize("isolated", [False, True])
def test_small_calls_come_back_in_the_response_without_any_storage(
    serve: Callable[..., Served], isolated: bool
) -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        task = task_of(add, [(1, 2), (3, 4)])
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    served = serve(isolated=isolated)
    statuses = served.run(task)
    assert sorted((each.index, value(each), each.activation_id) for each in statuses) == [
        (0, 3, "activation-1"),
        (1, 7, "activation-1"),
    ]
    assert not served.modules & {"boto3", "google.cloud.storage", "azure.storage.blob", "obstore"}


def test_a_warm_sandbox_unpickles_a_function_once(serve: Callable[..., Served]) -> None:
    class Counted:
        def __reduce__(self) -> Any:
            code = "import builtins\nbuiltins.unpickled = getattr(builtins, 'unpickled', 0) + 1"
            return (eval, (f"[exec({code!r}), lambda: __import__('builtins').unpickled][1]",))

    task = task_of(Counted(), [()])  # type: ignore[arg-type]
    served = serve()
    assert [value(served.run(task)[0]) for _ in range(3)] == [1, 1, 1]
    assert value(served.run(task_of(lambda: __import__("builtins").unpickled, [()]))[0]) == 1


@pytest.fixture
def storage(tmp_path: Path) -> LocalhostStorage:
    storage = LocalhostStorage(LocalhostStorageConfig(root=str(tmp_path), storage_bucket="bucket"))
    storage.ensure_bucket("bucket")
    return storage


def stored(storage: LocalhostStorage) -> list[CallStatus]:
    keys = [info.key for info in storage.list("bucket", status_prefix("e-0-M000"))]
    return [status for key in keys for status in statuses_from_text(bytes(storage.get("bucket", key)))]


def test_what_nobody_waits_for_goes_through_the_storage(
    serve: Callable[..., Served], storage: LocalhostStorage
) -> None:
    task = task_of(lambda x: x, [(5,)], storage=storage.reference("bucket"), reply_s=0.0)
    assert serve().run(task) == []
    assert [value(each) for each in stored(storage)] == [5]


def test_what_ends_too_late_for_the_response_goes_through_the_storage(
    serve: Callable[..., Served], storage: LocalhostStorage
) -> None:
    def rest(duration_s: float) -> float:
        time.sleep(duration_s)
        return duration_s

    task = task_of(rest, [(0.0,), (0.6,)], storage=storage.reference("bucket"), reply_s=0.3)
    assert serve().run(task) == []
    assert [value(each) for each in stored(storage)] == [0.0, 0.6]


def test_what_is_too_much_for_a_response_goes_through_the_storage(
    serve: Callable[..., Served], storage: LocalhostStorage
) -> None:
    task = task_of(lambda n: bytes(n), [(1_000_000,)] * 4, storage=storage.reference("bucket"))
    assert serve().run(task) == []
    assert [len(value(each)) for each in stored(storage)] == [1_000_000] * 4


@pytest.mark.parametrize("isolated", [False, True])
def test_a_call_is_stopped_at_its_timeout_and_the_next_is_run(
    serve: Callable[..., Served], isolated: bool
) -> None:
    def rest(duration_s: float) -> float:
        try:
            time.sleep(duration_s)
        except Exception:  # noqa: BLE001 - a function that catches everything is stopped all the same
            return -1
        return duration_s

    statuses = serve(isolated=isolated).run(task_of(rest, [(60.0,), (0.0,)], timeout_s=0.5))
    assert [(each.index, each.phase) for each in statuses] == [(0, Phase.LOST), (1, Phase.RETURNED)]
    assert statuses[0].failure is not None
    assert statuses[0].failure.kind is FailureKind.TIMEOUT
    assert "longer than its timeout of 0.5 s" in statuses[0].failure.message


@pytest.mark.parametrize("isolated", [False, True])
def test_the_end_of_the_activation_is_the_end_of_its_call(
    serve: Callable[..., Served], isolated: bool
) -> None:
    (status,) = serve(isolated=isolated, remaining_s=1.5).run(task_of(time.sleep, [(60.0,)]))
    assert status.failure is not None
    assert status.failure.kind is FailureKind.TIMEOUT
    assert "runtime_timeout" in status.failure.message


def test_an_isolated_call_that_ends_its_process_is_lost_alone(serve: Callable[..., Served]) -> None:
    def end(number: int) -> int:
        import os
        import sys

        if number == 1:
            sys.stdout.write("last words\n")
            sys.stdout.flush()
            os._exit(3)
        return number

    served = serve(isolated=True)
    statuses = served.run(task_of(end, [(0,), (1,), (2,)]))
    assert [each.phase for each in statuses] == [Phase.RETURNED, Phase.LOST, Phase.RETURNED]
    failure = statuses[1].failure
    assert failure is not None
    assert "exit code 3" in failure.message
    assert "last words" in failure.message
    assert statuses[1].logs == "last words\n"
    assert "last words" in served.end()


def test_processes_run_calls_side_by_side(serve: Callable[..., Served], tmp_path: Path) -> None:
    def meet(number: int, folder: str) -> int:
        """Returns only if the other call runs at the same time."""
        import os
        import time

        open(f"{folder}/{number}", "w").close()
        until = time.monotonic() + 20
        while len(os.listdir(folder)) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        return len(os.listdir(folder))

    statuses = serve(isolated=True, processes=2).run(task_of(meet, [(0, str(tmp_path)), (1, str(tmp_path))]))
    assert [value(each) for each in statuses] == [2, 2]


def test_output_comes_back_and_goes_into_the_log_of_the_cloud(serve: Callable[..., Served]) -> None:
    def talk(word: str) -> None:
        import subprocess
        import sys

        sys.stdout.write(f"{word} by python\n")
        sys.stdout.flush()
        subprocess.run(["echo", f"{word} by a program"], check=True)

    served = serve()
    words = ("one", "two")
    statuses = served.run(task_of(talk, [(word,) for word in words]))
    assert [each.logs for each in statuses] == [f"{word} by python\n{word} by a program\n" for word in words]
    log = served.end()
    assert all(each.logs in log for each in statuses)


def test_a_long_output_is_cut_at_its_beginning(
    serve: Callable[..., Served], storage: LocalhostStorage
) -> None:
    def talk() -> None:
        import sys

        for number in range(300_000):
            sys.stdout.write(f"{number:09}\n")

    serve().run(task_of(talk, [()], storage=storage.reference("bucket"), reply_s=0.0))
    (status,) = stored(storage)
    assert status.logs.startswith("[the first ")
    assert status.logs.endswith("000299999\n")
    assert len(status.logs) < (1 << 20) + 100


def test_a_runtime_describes_itself(serve: Callable[..., Served]) -> None:
    described = serve().ask(b'{"describe": true}')
    assert described["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert "cloudpickle" in described["modules"]


def test_a_request_that_is_none_is_refused() -> None:
    program = textwrap.dedent(
        """
        from lithops.exceptions import WireError
        from lithops.worker.sandbox import Sandbox
        try:
            Sandbox(isolated=False).answer({"hello": "there"}, "a")
        except WireError as error:
            print("refused:", error)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("refused: ")

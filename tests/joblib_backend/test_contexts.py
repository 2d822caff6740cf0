"""What is ours alone: contexts, their executors and workers, and programs that end in the midst of a run."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest
from joblib import Parallel, delayed
from parallel_backends import Refused, pid_of_worker, refuse, square

from lithops.exceptions import BackendNotInstalled, ConfigError, NotSerializable, WorkerLost
from lithops.util.joblib import register_lithops
from lithops.util.joblib.lender import Lender

Eventually = Callable[..., None]
RunProgram = Callable[..., "subprocess.CompletedProcess[str]"]
StartProgram = Callable[..., "subprocess.Popen[str]"]
Workers = Callable[..., set[int]]

EXAMPLE = Path(__file__).parents[2] / "examples" / "transparency" / "scikit_learn.py"


@pytest.fixture(autouse=True)
def registered() -> None:
    register_lithops()


# ---------------------------------------------------------------- registering


def test_the_old_way_to_choose_a_backend_uses_all_workers() -> None:
    with joblib.parallel_backend("lithops", worker_processes=3) as (_, n_jobs):
        assert n_jobs == -1
        assert joblib.effective_n_jobs(-1) == 3
        assert Parallel()(delayed(square)(x) for x in range(5)) == [0, 1, 4, 9, 16]


def test_a_backend_can_be_named_for_one_parallel() -> None:
    assert Parallel(n_jobs=2, backend="lithops")(delayed(square)(x) for x in range(3)) == [0, 1, 4]


def test_options_of_the_executor_bound_the_workers() -> None:
    with joblib.parallel_config("lithops", n_jobs=-1, worker_processes=3):
        assert joblib.effective_n_jobs(2) == 2
        assert joblib.effective_n_jobs(100) == joblib.effective_n_jobs(-1) == 3
        assert joblib.effective_n_jobs(-2) == 2


def test_options_can_be_part_of_a_name() -> None:
    register_lithops("three", backend="localhost", worker_processes=3)
    with joblib.parallel_config("three", n_jobs=-1):
        assert joblib.effective_n_jobs(-1) == 3


def test_one_worker_is_not_worth_its_way() -> None:
    with joblib.parallel_config("lithops", n_jobs=-1, worker_processes=1):
        assert Parallel()([delayed(pid_of_worker)()]) == [os.getpid()]


def test_an_option_that_is_wrong_is_said_when_workers_are_needed() -> None:
    with (
        joblib.parallel_config("lithops", n_jobs=2, worker_processes="many"),
        pytest.raises(ConfigError, match="worker_processes"),
    ):
        Parallel()(delayed(square)(x) for x in range(2))


def test_without_joblib_the_extra_is_named(run_program: RunProgram) -> None:
    program = """
import sys
sys.modules["joblib"] = None
from lithops.exceptions import BackendNotInstalled
from lithops.util.joblib import register_lithops
try:
    register_lithops()
except BackendNotInstalled as error:
    print(error)
"""
    assert "pip install 'lithops[joblib]'" in run_program(program).stdout


def test_a_joblib_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(joblib, "parallel_config")
    with pytest.raises(BackendNotInstalled, match=r"1\.3 or later"):
        register_lithops()


def test_nothing_of_joblib_is_imported_before_it_is_registered(run_program: RunProgram) -> None:
    program = (
        "import sys, lithops.util.joblib.worker; print([m for m in ('joblib', 'numpy') if m in sys.modules])"
    )
    assert run_program(program).stdout == "[]\n"


# ---------------------------------------------------------------- executors and workers


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What ends here ends at once, and not when the garbage collector finds it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_a_context_has_its_workers_and_ends_them(workers: Workers, eventually: Eventually) -> None:
    before = workers()
    with joblib.parallel_config("lithops", n_jobs=2):
        pids = set(Parallel(batch_size=1)(delayed(pid_of_worker)() for _ in range(20)))
        pids |= set(Parallel(batch_size=1)(delayed(pid_of_worker)() for _ in range(20)))
        assert workers() - before >= pids
        assert len(pids) <= 2
    eventually(lambda: workers() == before, "the context's workers are left")


@pytest.mark.usefixtures("no_collector")
def test_a_context_ends_its_workers_after_an_error(workers: Workers, eventually: Eventually) -> None:
    before = workers()
    with joblib.parallel_config("lithops", n_jobs=2), contextlib.suppress(Refused):
        Parallel(batch_size=1)(delayed(refuse)(x) for x in range(20))
    eventually(lambda: workers() == before, "the context's workers are left")


def test_no_thread_is_left(eventually: Eventually) -> None:
    def readers() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("lithops-joblib")]

    with joblib.parallel_config("lithops", n_jobs=2):
        Parallel()(delayed(square)(x) for x in range(10))
        eventually(lambda: not readers(), "threads of a run are left")


def test_another_number_of_workers_is_another_executor() -> None:
    lender = Lender({})
    two = lender.borrow(2, {})
    lender.give_back(two)
    assert lender.borrow(2, {}) is two
    three = lender.borrow(3, {})
    assert three.compute_handler.limits.max_activations == 3
    assert two.call_async(square, 2).result() == 4, "it is still lent"
    lender.give_back(two)
    with pytest.raises(ValueError, match="closed"):
        two.call_async(square, 2)
    lender.give_back(three)
    other = lender.borrow(3, {"OMP_NUM_THREADS": "7"})
    assert other is not three
    lender.give_back(other)
    other.close()


def test_two_runs_go_on_at_once_in_one_context() -> None:
    with joblib.parallel_config("lithops", n_jobs=2):
        squares = Parallel(return_as="generator")(delayed(square)(x) for x in range(10))
        others = Parallel(return_as="generator")(delayed(square)(x) for x in range(10, 20))
        for number, (one, other) in enumerate(zip(squares, others, strict=True)):
            assert (one, other) == (number**2, (number + 10) ** 2)


def test_a_run_takes_its_calls_from_the_results_of_another() -> None:
    with joblib.parallel_config("lithops", n_jobs=2):
        squares = Parallel(return_as="generator")(delayed(square)(x) for x in range(20))
        assert Parallel()(delayed(square)(x) for x in squares) == [x**4 for x in range(20)]


def test_runs_in_threads_of_one_program() -> None:
    results: dict[int, Any] = {}

    def work(number: int) -> None:
        with joblib.parallel_config("lithops", n_jobs=2):
            results[number] = Parallel()(delayed(square)(x) for x in range(number, number + 20))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: [x * x for x in range(number, number + 20)] for number in range(3)}


def test_a_worker_that_dies_costs_the_run_and_not_the_context() -> None:
    with joblib.parallel_config("lithops", n_jobs=2):
        with pytest.raises(WorkerLost):
            Parallel(batch_size=1)(delayed(os._exit)(x) for x in range(2))
        assert Parallel()(delayed(square)(x) for x in range(3)) == [0, 1, 4]


def test_what_cannot_be_sent_is_named() -> None:
    def calls() -> Iterator[Any]:
        yield from (delayed(square)(x) for x in range(10))
        yield delayed(square)(threading.Lock())

    with joblib.parallel_config("lithops", n_jobs=2), pytest.raises(NotSerializable, match="lock"):
        Parallel(batch_size=1)(calls())


def test_local_modules_go_along(tmp_path: Path, run_program: RunProgram) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "helpers.py").write_text("import deeper\ndef double(x): return deeper.FACTOR * x\n")
    (tmp_path / "lib" / "deeper.py").write_text("FACTOR = 2\n")
    (tmp_path / "lib" / "inside.py").write_text("OFFSET = 1\n")
    program = f"""
import sys
sys.path.append({str(tmp_path / "lib")!r})
import joblib
from joblib import Parallel, delayed
from lithops.util.joblib import register_lithops
import helpers

def more(x):
    from inside import OFFSET
    return helpers.double(x) + OFFSET

register_lithops()
with joblib.parallel_config("lithops", n_jobs=2):
    print(Parallel()(delayed(helpers.double)(x) for x in range(3)), Parallel()(delayed(more)(x) for x in range(3)))
"""
    assert run_program(program).stdout == "[0, 2, 4] [1, 3, 5]\n"


# ---------------------------------------------------------------- programs that end

INTERRUPTED = """
import os, time
import joblib
from joblib import Parallel, delayed
from lithops.util.joblib import register_lithops

def work(number):
    open(f"running{number}", "w").close()
    time.sleep(60)

def square(x):
    return x * x

register_lithops()
with joblib.parallel_config("lithops", n_jobs=2):
    try:
        Parallel(batch_size=1)(delayed(work)(x) for x in range(10))
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print(Parallel()(delayed(square)(x) for x in range(3)), flush=True)
"""


def test_ctrl_c_ends_the_calls_and_the_context_goes_on(
    start_program: StartProgram, tmp_path: Path, eventually: Eventually
) -> None:
    program = start_program(INTERRUPTED)
    running = [tmp_path / f"running{number}" for number in range(2)]
    eventually(lambda: all(file.exists() for file in running), "the calls do not start", within_s=20)
    program.send_signal(2)
    output, errors = program.communicate(timeout=20)
    assert (program.returncode, output) == (0, "interrupted\n[0, 1, 4]\n"), errors
    assert errors == ""


def test_a_program_may_end_within_its_context(run_program: RunProgram) -> None:
    program = """
import joblib
from joblib import Parallel, delayed
from lithops.util.joblib import register_lithops
register_lithops()
joblib.parallel_config("lithops", n_jobs=2)
print(Parallel()(delayed(abs)(-x) for x in range(3)))
results = Parallel(return_as="generator")(delayed(abs)(-x) for x in range(100))
print(next(results))
"""
    assert run_program(program).stdout == "[0, 1, 2]\n0\n"


# ---------------------------------------------------------------- the example


def run_example(code: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *code], cwd=EXAMPLE.parent, capture_output=True, text=True,
        timeout=100, check=False,
    )  # fmt: skip


def test_the_example_finds_what_the_plain_program_finds() -> None:
    done = run_example([str(EXAMPLE), "--samples", "300", "--check"])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the best of 4 forests: {'max_depth'")


def test_the_example_notices_a_difference() -> None:
    program = """
import sys
import scikit_learn
search = scikit_learn.search
scikit_learn.search = lambda data, labels, n_jobs: search(data if n_jobs == 1 else -data[:, :5], labels, n_jobs)
scikit_learn.GridSearchCV.predict = lambda self, data: len(data)
sys.exit(scikit_learn.main())
"""
    done = run_example(["-c", program, "--samples", "300", "--check"])
    assert done.returncode == 1, done.stderr
    assert "the check failed" in done.stderr

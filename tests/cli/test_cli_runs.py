"""The commands that run functions, and the one that waits: as processes of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TIMEOUT_S = 60
COMMAND = [sys.executable, "-m", "lithops.cli.main"]

PROGRAM = """
import lithops

def speak(x):
    print("spoken", x)
    return x

if __name__ == "__main__":
    with lithops.FunctionExecutor(log_level=None) as executor:
        futures = executor.map(speak, [1, 2])
        assert executor.get_result(futures, show_progressbar=False) == [1, 2]
        print(futures[0].job_key)
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """No configuration, and a temporary folder of its own for buckets and logs."""
    names = ("LITHOPS_CONFIG", "LITHOPS_CONFIG_FILE")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {**kept, "HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PYTHONWARNINGS": "error"}


@pytest.fixture
def run(env: dict[str, str], tmp_path: Path) -> Run:
    return Run(env, tmp_path)


class Run:
    """Runs commands with an environment, in a folder."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self._env = env
        self._folder = folder

    def __call__(self, *argv: str, command: list[str] = COMMAND) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *argv],
            env=self._env,
            cwd=self._folder,
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
        )


def test_hello(run: Run) -> None:
    done = run("hello")
    assert done.returncode == 0, done.stderr
    version = re.escape(sys.version.split()[0])
    assert re.fullmatch(
        rf"Hello World! This is Python {version} on .+\. \(localhost, \d+\.\d\d s\)\n", done.stdout
    )
    assert "Traceback" not in done.stderr


def test_hello_with_a_configuration_that_cannot_be_used(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".lithops_config").write_text("localhost: {worker_processes: many}")
    done = run("hello")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "lithops: .lithops_config: localhost.worker_processes: found the text 'many'; "
        "allowed is a whole number, 1 or more, or nothing\n"
    )
    assert run("hello", "-c", os.devnull).returncode == 0


def test_hello_debug_logs(run: Run) -> None:
    done = run("hello", "-d")
    assert done.returncode == 0, done.stderr
    assert "lithops.executors" in done.stderr


def test_the_self_check(run: Run) -> None:
    done = run("test")
    assert done.returncode == 0, done.stdout + done.stderr
    first, *lines = done.stdout.splitlines()
    assert first == "compute on localhost, storage on localhost"
    assert [re.sub(r" \(\d+\.\d\d s\)$", "", line) for line in lines] == [
        "✓ call_async",
        "✓ map",
        "✓ map_reduce",
        "✓ storage put and get",
    ]
    assert "ERROR" not in done.stderr


def test_the_self_check_says_what_fails(run: Run, tmp_path: Path) -> None:
    (tmp_path / "no folder").write_text("")
    (tmp_path / ".lithops_config").write_text(f"localhost: {{root: '{tmp_path}/no folder'}}")
    done = run("test")
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("✗")]
    assert any(line.startswith("✗ storage put and get: ") for line in failed)
    assert "Traceback" not in done.stdout


def test_logs_of_a_job_that_ran(run: Run, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    ran = run(command=[sys.executable, str(program)])
    assert ran.returncode == 0, ran.stderr
    job_key = ran.stdout.splitlines()[-1]
    done = run("logs", "get", job_key)
    assert done.returncode == 0, done.stderr
    headers = re.findall(r"^--- (\d+) speak\b.*\nspoken (\d)\n", done.stdout, re.MULTILINE)
    assert sorted(headers) == [("00000", "1"), ("00001", "2")]
    assert job_key in run("logs", "get").stdout
    cleaned = run("clean", "--older-than", "0s")
    assert "logs: 1 files removed" in cleaned.stdout
    assert run("logs", "get", job_key).returncode == 1


def test_logs_poll_follows_until_ctrl_c(env: dict[str, str], tmp_path: Path) -> None:
    command = [*COMMAND, "logs", "poll"]
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            announced = re.match(r"following the logs in (.+); Ctrl-C ends it\n", process.stderr.readline())
            assert announced is not None
            folder = Path(announced[1])
            assert tmp_path in folder.parents
            folder.mkdir(parents=True)
            (folder / "3f9a1c-0-M000.log").write_text("--- 00000 f\nhello\n")
            lines = [process.stdout.readline() for _ in range(3)]
            assert lines == ["==> 3f9a1c-0-M000 <==\n", "--- 00000 f\n", "hello\n"]
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=TIMEOUT_S) == 130
            assert process.stderr.read() == ""
        finally:
            process.kill()

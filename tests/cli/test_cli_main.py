"""The command line as a whole, and the commands that need no executor."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_run import own_home as own_home
from hypothesis import given
from hypothesis import strategies as st

from lithops.cli.clean import duration_s
from lithops.cli.config import STARTER
from lithops.cli.logs import Follower, log_folder
from lithops.cli.main import main
from lithops.config import resolve
from lithops.exceptions import LithopsError
from lithops.storage import Storage
from lithops.version import __version__
from lithops.wire import keys


@pytest.fixture(autouse=True)
def home(own_home: Path) -> Path:
    """Its buckets lie below the system's temporary folder, which is there too."""
    (own_home / "settings.yaml").write_text("localhost: {storage_bucket: mine}\n")
    return own_home


@pytest.fixture
def storage(home: Path) -> Storage:
    storage = Storage()
    storage.create_bucket("mine")
    return storage


class Run:
    """Runs a command in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *argv: str) -> str:
        """What a command that succeeds prints."""
        status = main(argv)
        out, err = self._capsys.readouterr()
        assert (status, err) == (0, "")
        return str(out)

    def fails(self, *argv: str) -> str:
        """The one line that a command that fails prints."""
        assert main(argv) == 1
        out, err = self._capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return str(err).strip()

    def refused(self, *argv: str) -> str:
        """What is said of a command that is written wrongly."""
        with pytest.raises(SystemExit) as caught:
            main(argv)
        assert caught.value.code == 2
        return str(self._capsys.readouterr().err)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


# ---------------------------------------------------------------- the command itself


def test_help_names_every_command_and_loads_little() -> None:
    code = (
        "import sys; from lithops.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'yaml', 'cloudpickle', 'tqdm', 'json', 'dataclasses', 'lithops.executors'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for command in ("hello", "test", "clean", "logs", "storage", "config"):
        assert f"\n    {command} " in done.stdout
    assert done.stdout.endswith("LOADED []\n")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"lithops {__version__}\n"


def test_a_command_is_needed(run: Run) -> None:
    assert "COMMAND" in run.refused()
    assert "invalid choice: 'helo'" in run.refused("helo")
    assert "COMMAND" in run.refused("storage")


def test_options_stand_before_the_command_or_after_it(run: Run, home: Path) -> None:
    (home / "other.yaml").write_text("lithops: {retries: 7}")
    for argv in (["-c", "other.yaml", "config", "show"], ["config", "show", "--config", "other.yaml"]):
        out = run(*argv)
        assert out.startswith("# from: other.yaml\n")
        assert "retries: 7" in out


def test_errors_are_one_line(run: Run, home: Path) -> None:
    (home / "settings.yaml").write_text("lithops:\n  retries: 'x'\n")
    assert run.fails("config", "show") == (
        f"lithops: {home / 'settings.yaml'}: lithops.retries: found the text 'x'; "
        "allowed is a whole number, 0 or more"
    )
    assert run.fails("config", "show", "-c", "missing.yaml").startswith(
        "lithops: missing.yaml: the configuration"
    )
    assert "there is no compute backend 'localhots'; did you mean 'localhost'?" in run.fails(
        "storage", "list", "mine", "-c", os.devnull, "-b", "localhots"
    )


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-d", "config", "show", "-c", "missing.yaml"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):")
    assert err.rstrip().splitlines()[-1].startswith("lithops: missing.yaml: ")


def test_a_region_that_means_nothing_is_said(caplog: pytest.LogCaptureFixture, storage: Storage) -> None:
    assert main(["storage", "list", "mine", "-r", "there"]) == 0
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
        "the arguments: localhost.region: unknown key, left out"
    ]


def test_a_reader_that_leaves_early_is_no_traceback(storage: Storage) -> None:
    for number in range(3000):
        storage.put_object("mine", f"{number:0100d}", b"")
    command = [sys.executable, "-m", "lithops.cli.main", "storage", "list", "mine"]
    env = {**os.environ, "TMPDIR": str(tempfile.gettempdir())}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().endswith(b"00\n")
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 1


# ---------------------------------------------------------------- storage


def test_storage_round_trip(run: Run, storage: Storage, home: Path) -> None:
    data = os.urandom(100_000)
    (home / "data.bin").write_bytes(data)
    assert run("storage", "put", "data.bin", "mine") == "data.bin is stored as 'data.bin' in bucket 'mine'\n"
    run("storage", "put", "data.bin", "mine", "--key", "deep/er/copy.bin")
    assert storage.get_object("mine", "deep/er/copy.bin") == data

    lines = run("storage", "list", "mine").splitlines()
    assert [line.split()[0] for line in lines] == ["100000", "100000"]
    assert [line.split()[-1] for line in lines] == ["data.bin", "deep/er/copy.bin"]
    assert run("storage", "list", "mine", "--prefix", "deep/").count("\n") == 1

    assert run("storage", "get", "mine", "deep/er/copy.bin").endswith("is in copy.bin\n")
    assert (home / "copy.bin").read_bytes() == data
    run("storage", "get", "mine", "data.bin", "--out", "other.bin")
    assert (home / "other.bin").read_bytes() == data
    assert list(home.glob("*.part")) == []

    assert run("storage", "delete", "mine", "data.bin") == "1 deleted from bucket 'mine'\n"
    assert storage.list_keys("mine") == ["deep/er/copy.bin"]
    assert run("storage", "delete", "mine", "--prefix", "deep/") == "1 deleted from bucket 'mine'\n"
    assert storage.list_keys("mine") == []


def test_an_object_to_standard_output(storage: Storage, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    storage.put_object("mine", "k", b"\x00\xff\n")
    assert main(["storage", "get", "mine", "k", "--out", "-"]) == 0
    assert capfdbinary.readouterr().out == b"\x00\xff\n"


def test_storage_errors(run: Run, storage: Storage, home: Path) -> None:
    assert "there is no object 'nope' in bucket 'mine'" in run.fails("storage", "get", "mine", "nope")
    assert "No such file or directory: 'nope'" in run.fails("storage", "put", "nope", "mine")
    assert "elsewhere" in run.fails("storage", "list", "elsewhere")
    storage.put_object("mine", "folder/", b"x")
    assert "name the file with --out" in run.fails("storage", "get", "mine", "folder/")
    (home / "kept").write_bytes(b"before")
    assert run.fails("storage", "get", "mine", "nope", "--out", "kept")
    assert (home / "kept").read_bytes() == b"before"


def test_delete_needs_a_key_or_a_prefix_and_an_empty_key_is_not_everything(
    run: Run, storage: Storage
) -> None:
    storage.put_object("mine", "k", b"x")
    assert "one of the arguments KEY --prefix is required" in run.refused("storage", "delete", "mine")
    assert "not allowed with argument" in run.refused("storage", "delete", "mine", "k", "--prefix", "k")
    try:
        status = main(["storage", "delete", "mine", ""])
    except SystemExit as end:
        status = int(end.code or 0)
    assert status != 0
    assert storage.list_keys("mine") == ["k"]


# ---------------------------------------------------------------- clean


@pytest.fixture
def leftovers(storage: Storage) -> dict[str, str]:
    """One object of each kind, and one that is the user's."""
    left = {
        "job": keys.result_key("3f9a1c-0-M000", 7, "0a1b2c"),
        "function": keys.function_key("3f9a1c-0", "abc"),
        "cloud object": keys.cloudobject_key("3f9a1c-0-M000", "x"),
        "user": "data.csv",
    }
    for key in left.values():
        storage.put_object("mine", key, b"12345")
    log_folder().mkdir(parents=True)
    (log_folder() / "3f9a1c-0-M000.log").write_text("--- 00000 f\nhello\n")
    return left


def age(home: Path, key_part: str, by_s: float) -> None:
    for path in home.rglob("*"):
        if key_part in str(path) and path.is_file():
            os.utime(path, (path.stat().st_atime - by_s, path.stat().st_mtime - by_s))


def test_clean_keeps_what_is_the_users(run: Run, storage: Storage, leftovers: dict[str, str]) -> None:
    assert run("clean", "--older-than", "0s").splitlines() == [
        "jobs: 2 objects removed (0.0 MB) from bucket 'mine'",
        "logs: 1 files removed",
    ]
    assert storage.list_keys("mine") == sorted([leftovers["cloud object"], leftovers["user"]])
    assert list(log_folder().iterdir()) == []


def test_clean_all(run: Run, storage: Storage, leftovers: dict[str, str]) -> None:
    assert (
        "cloud objects: 1 objects removed (0.0 MB) from bucket 'mine'"
        in run("clean", "--all", "--older-than", "0s").splitlines()
    )
    assert storage.list_keys("mine") == [leftovers["user"]]


def test_clean_spares_what_is_young(
    run: Run, storage: Storage, leftovers: dict[str, str], home: Path
) -> None:
    out = run("clean", "--all")
    assert "jobs: 0 objects removed" in out
    assert "2 younger ones stay (--older-than 0s removes them)" in out
    assert len(storage.list_keys("mine")) == 4
    age(home, "results", 3700)
    age(home, "3f9a1c-0-M000.log", 3700)
    assert "jobs: 0 objects removed" in run("clean")
    out = run("clean", "--older-than", "1h", "--all")
    assert "jobs: 1 objects removed (0.0 MB) from bucket 'mine'; 1 younger ones stay" in out
    assert "logs: 1 files" in out
    assert leftovers["job"] not in storage.list_keys("mine")


def test_clean_without_a_bucket(run: Run) -> None:
    assert "jobs: 0 objects removed" in run("clean")
    assert not Storage().storage_handler.bucket_exists("mine")


def test_clean_takes_many_objects(run: Run, storage: Storage) -> None:
    for index in range(2500):
        storage.put_object("mine", keys.result_key("3f9a1c-0-M000", index, "0a1b2c"), b"")
    assert "jobs: 2500 objects removed" in run("clean", "--older-than", "0s")
    assert storage.list_keys("mine") == []


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("1.5m", 90), ("12h", 43_200), ("7d", 604_800), ("2w", 1_209_600)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@given(st.text(max_size=8))
def test_any_duration_is_seconds_or_refused(text: str) -> None:
    try:
        assert duration_s(text) >= 0
    except ArgumentTypeError:
        return


def test_a_wrong_duration(run: Run) -> None:
    assert "'7 days' is not a duration; write 90s, 30m" in run.refused("clean", "--older-than", "7 days")


# ---------------------------------------------------------------- logs


@pytest.fixture
def logs(home: Path) -> Path:
    folder = log_folder()
    folder.mkdir(parents=True)
    (folder / "3f9a1c-0-M000.log").write_text("--- 00000 f\nhéllo\n", encoding="utf-8")
    (folder / "3f9a1c-0-M001.log").write_text("--- 00000 g\nthere\n")
    os.utime(folder / "3f9a1c-0-M000.log", (1e9, 1e9))
    return folder


def test_logs_get(run: Run, logs: Path) -> None:
    assert run("logs", "get", "3f9a1c-0-M000") == "--- 00000 f\nhéllo\n"


def test_logs_get_lists_the_newest_first(run: Run, logs: Path) -> None:
    lines = run("logs", "get").splitlines()
    assert [line.split()[-1] for line in lines] == ["3f9a1c-0-M001", "3f9a1c-0-M000"]
    assert lines[1].startswith("2001-09-")


def test_logs_of_an_unknown_job(run: Run, logs: Path) -> None:
    message = run.fails("logs", "get", "3f9a1c-0-M007")
    assert message.startswith("lithops: there is no log of a job '3f9a1c-0-M007'; did you mean 3f9a1c-0-M00")
    assert message.endswith("'lithops logs get' alone lists the jobs that have one")
    assert "did you mean" not in run.fails("logs", "get", "../../../etc/passwd")


def test_logs_without_any(run: Run) -> None:
    assert run("logs", "get") == ""
    assert "there is no log of a job 'x'" in run.fails("logs", "get", "x")


def test_the_follower_gives_what_is_new(logs: Path) -> None:
    follower = Follower(logs)
    assert list(follower.read_new()) == []
    with (logs / "3f9a1c-0-M001.log").open("ab") as file:
        file.write(b"more\nh\xc3")
    (logs / "3f9a1c-0-M002.log").write_text("first\n")
    assert list(follower.read_new()) == [("3f9a1c-0-M001", "more\nh"), ("3f9a1c-0-M002", "first\n")]
    with (logs / "3f9a1c-0-M001.log").open("ab") as file:
        file.write(b"\xa9\n")
    (logs / "3f9a1c-0-M002.log").unlink()
    assert list(follower.read_new()) == [("3f9a1c-0-M001", "é\n")]


# ---------------------------------------------------------------- config


def test_config_show_is_complete_and_can_be_used_again(run: Run, home: Path) -> None:
    out = run("config", "show", "-b", "localhost")
    assert out.startswith(f"# from: {home / 'settings.yaml'}\n")
    shown = yaml.safe_load(out)
    assert list(shown) == ["lithops", "localhost", "rabbitmq", "redis"]
    assert shown["localhost"]["storage_bucket"] == "mine"
    assert shown == resolve().raw
    assert resolve(shown).raw == shown


def test_config_show_names_other_sections_and_keeps_them_to_itself(run: Run, home: Path) -> None:
    (home / "settings.yaml").write_text("minio: {secret_access_key: hush}\nredis: {password: hush}\n")
    out = run("config", "show")
    assert "# sections that are not used: minio\n" in out
    assert "hush" not in out


def test_config_init(run: Run, home: Path) -> None:
    assert run("config", "init").startswith(str(home / ".lithops/config"))
    written = home / ".lithops/config"
    assert written.stat().st_mode & 0o777 == 0o600
    assert resolve(config_file=written).raw == resolve({}).raw
    written.write_text("mine")
    assert "there is a file already" in run.fails("config", "init")
    assert written.read_text() == "mine"
    run("config", "init", "here.yaml")
    assert (home / "here.yaml").read_text() == STARTER


def test_the_lines_of_the_starter_are_the_defaults(caplog: pytest.LogCaptureFixture) -> None:
    lines = [line for line in STARTER.splitlines() if not line.lstrip().startswith("##")]
    switched_on = "\n".join(line.replace("  # ", "  ", 1) for line in lines)
    sections: dict[str, Any] = yaml.safe_load(switched_on)
    assert sorted(sections["localhost"]) == ["storage_bucket", "worker_processes"]
    assert resolve(sections).raw == resolve({}).raw
    assert caplog.records == []


# ---------------------------------------------------------------- how a command ends


def test_ctrl_c_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lithops.config.resolve", interrupted)
    assert main(["config", "show"]) == 130


def test_long_messages_stay_on_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*arguments: Any, **named: Any) -> None:
        raise LithopsError("first\n  second")

    monkeypatch.setattr("lithops.config.resolve", failing)
    assert run.fails("config", "show") == "lithops: first second"

"""What processes print, and the settings of `lithops.multiprocessing.config`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import output_functions
import pool_functions as functions
import pytest

import lithops.multiprocessing as lithops_mp
from lithops.exceptions import ConfigError
from lithops.multiprocessing import config

pytestmark = pytest.mark.ours


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, Any], None]]:
    """Change settings for one test."""
    before = dict(config._values)
    yield config.set_parameter
    config._values.update(before)


def _run(mp: Any, target: Callable[..., object], *args: Any) -> Any:
    process = mp.Process(target=target, args=args)
    process.start()
    process.join()
    return process


def test_output_is_shown_when_a_process_has_ended(mp: Any, capfd: pytest.CaptureFixture[str]) -> None:
    _run(mp, output_functions.say, "one", "two")
    output, _ = capfd.readouterr()
    assert "one\ntwo\n" in output
    for part in ("to stderr\n", "logged", "from a program\n"):
        assert part in output


def test_output_of_one_that_failed(mp: Any, capfd: pytest.CaptureFixture[str]) -> None:
    _run(mp, output_functions.say_and_fail)
    output, errors = capfd.readouterr()
    assert output == "said\n"
    assert errors.endswith("ValueError: no luck\n")


@pytest.mark.local_only("last words")
def test_output_of_one_that_died(mp: Any, capfd: pytest.CaptureFixture[str]) -> None:
    assert _run(mp, output_functions.say_and_die).exitcode
    output, errors = capfd.readouterr()
    assert output == ""
    assert "said\n" in errors


def _start_nested(word: str) -> None:
    child = lithops_mp.Process(target=output_functions.say, args=(word,))
    child.start()
    child.join()


def test_output_of_nested_processes(capfd: pytest.CaptureFixture[str]) -> None:
    _run(lithops_mp, _start_nested, "from inside")
    assert "from inside\n" in capfd.readouterr().out


def test_output_of_a_pool(mp: Any, capfd: pytest.CaptureFixture[str]) -> None:
    with mp.Pool(2) as pool:
        pool.map(functions.say, ["a", "b", "c"], chunksize=1)
        pool.close()
        pool.join()
    assert sorted(capfd.readouterr().out.split()) == ["a", "b", "c"]


def test_live_output_comes_before_the_process_has_ended(
    mp: Any,
    settings: Callable[[str, Any], None],
    capfd: pytest.CaptureFixture[str],
    place: Any,
    eventually: Callable[..., None],
) -> None:
    settings(config.STREAM_STDOUT, True)
    go = place / "go"
    process = mp.Process(target=output_functions.say_and_wait, args=("word", go))
    process.start()
    seen = ""

    def arrived() -> bool:
        nonlocal seen
        seen += capfd.readouterr().out
        return seen == "word\nno end of line"

    eventually(arrived, within_s=30)
    assert process.is_alive()
    go.touch()
    process.join()
    assert process.exitcode == 0
    assert capfd.readouterr() == ("", "")


def test_live_output_of_a_pool(
    mp: Any,
    settings: Callable[[str, Any], None],
    capfd: pytest.CaptureFixture[str],
    place: Any,
    eventually: Callable[..., None],
) -> None:
    settings(config.STREAM_STDOUT, True)
    go = place / "go"
    seen = ""

    def arrived() -> bool:
        nonlocal seen
        seen += capfd.readouterr().out
        return "word\n" in seen

    with mp.Pool(1) as pool:
        result = pool.apply_async(output_functions.say_and_wait, ("word", go))
        eventually(arrived, within_s=30)
        assert not result.ready()
        go.touch()
        result.get()
        # What it said last comes by itself.
        eventually(lambda: arrived() and seen.endswith("no end of line"), within_s=30)
        for number in range(100):
            pool.apply_async(functions.say, (str(number),))
        pool.close()
        pool.join()
    # All of it is there when join returns.
    assert capfd.readouterr().out.split() == list(map(str, range(100)))


def test_live_output_keeps_its_streams_and_loses_nothing(
    mp: Any, settings: Callable[[str, Any], None], capfd: pytest.CaptureFixture[str]
) -> None:
    settings(config.STREAM_STDOUT, True)
    _run(mp, output_functions.say, "one", "two")
    output, errors = capfd.readouterr()
    assert output.startswith("one\ntwo\n")
    assert "from a program\n" in output
    assert errors.startswith("to stderr\n")
    # Where logs go is for those to say who have set up logging in the worker.
    assert "logged" in output + errors
    _run(mp, output_functions.say_and_fail)
    output, errors = capfd.readouterr()
    assert output == "said\n"
    assert errors.endswith("ValueError: no luck\n")


def test_the_last_live_output_is_there_when_a_program_ends(run_program: Callable[..., Any]) -> None:
    program = run_program(
        """
import lithops.multiprocessing as mp
from lithops.multiprocessing import config

def say():
    for number in range(200):
        print(number)

if __name__ == "__main__":
    config.set_parameter(config.STREAM_STDOUT, True)
    mp.Process(target=say).start()
"""
    )
    assert program.stdout.split() == list(map(str, range(200)))
    assert program.stderr == ""


def test_environment_variables(mp: Any, settings: Callable[[str, Any], None], place: Any) -> None:
    settings(config.ENV_VARS, {"COLOUR": "blue"})
    path = place / "value"
    assert _run(mp, output_functions.get_variable, "COLOUR", path).exitcode == 0
    assert path.read_text() == "blue"
    with mp.Pool(1) as pool:
        assert pool.apply(os.getenv, ("COLOUR",)) == "blue"
    settings(config.ENV_VARS, {})
    _run(mp, output_functions.get_variable, "COLOUR", path)
    assert path.read_text() == "none"
    assert "COLOUR" not in os.environ


def test_execution_details(mp: Any, settings: Callable[[str, Any], None], tmp_path: Path) -> None:
    folder = tmp_path / "new" / "details"
    settings(config.EXPORT_EXECUTION_DETAILS, str(folder))
    process = mp.Process(target=abs, args=(-1,), name="Ada")
    process.start()
    process.join()
    (row,) = json.loads((folder / "Ada.json").read_text())
    assert row["worker_func_end_tstamp"] >= row["worker_func_start_tstamp"] > 1e9
    with mp.Pool(2) as pool:
        pool.map(functions.square, range(8), chunksize=2)
    (path,) = folder.glob("pool-*.json")
    assert len(json.loads(path.read_text())) == 4


def test_a_configuration_as_a_dict(settings: Callable[[str, Any], None]) -> None:
    settings(config.LITHOPS_CONFIG, {"localhost": {"worker_processes": 3}})
    with lithops_mp.Pool() as pool:
        assert "pool_size=3" in repr(pool)
        assert pool.map(functions.square, range(4)) == [0, 1, 4, 9]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (config.STREAM_STDOUT, 1),
        (config.REDIS_EXPIRY_TIME, 1),
        (config.REDIS_EXPIRY_TIME, True),
        (config.PIPE_CONNECTION_TYPE, "pigeon"),
        (config.ENV_VARS, {"A": 1}),
        (config.LITHOPS_CONFIG, "a.yaml"),
        (config.EXPORT_EXECUTION_DETAILS, 3),
    ],
)
def test_settings_are_checked(key: str, value: Any) -> None:
    before = config.get_parameter(key)
    with pytest.raises(ConfigError, match=key):
        config.set_parameter(key, value)
    assert config.get_parameter(key) == before


def test_unknown_settings() -> None:
    with pytest.raises(ConfigError, match="no parameter 'COLOUR'"):
        config.set_parameter("COLOUR", 1)
    with pytest.raises(ConfigError, match="no parameter 'COLOUR'"):
        config.get_parameter("COLOUR")

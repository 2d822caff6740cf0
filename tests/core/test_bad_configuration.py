"""A configuration, a bucket or a key that cannot be used: told at once, with what is allowed."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from lithops import FunctionExecutor, Storage
from lithops.compute import registry as compute_registry
from lithops.exceptions import (
    BackendNotInstalled,
    ConfigError,
    InvalidKey,
)
from lithops.registry import Row


def refusal(kind: type[Exception], **arguments: Any) -> str:
    with pytest.raises(kind) as caught:
        FunctionExecutor(log_level=None, **arguments)
    return str(caught.value)


def test_an_unknown_backend_names_the_nearest() -> None:
    assert refusal(ConfigError, backend="localhos") == (
        "the arguments: lithops.backend: there is no compute backend 'localhos'; did you mean 'localhost'? "
        "known: aws_lambda, azure_functions, gcp_functions, localhost"
    )
    assert "there is no storage backend 'local'" in refusal(ConfigError, storage="local")


def test_a_backend_whose_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pip command is the message. A row of the registry stands for a cloud whose SDK is not there."""
    row = Row(
        "lithops.compute.backends.localhost.config:LocalhostConfig",
        "no_such_sdk.client:Client",
        extra="cloud",
    )
    monkeypatch.setitem(compute_registry._registry.rows, "some_cloud", row)
    assert refusal(BackendNotInstalled, backend="some_cloud") == (
        "compute backend 'some_cloud' needs the package 'no_such_sdk', which is not installed; "
        "run: pip install 'lithops[cloud]'"
    )
    assert "localhost, some_cloud" in refusal(ConfigError, backend="any_cloud")


def test_a_value_of_the_wrong_type() -> None:
    config = {"localhost": {"worker_processes": "4"}}
    assert refusal(ConfigError, config=config) == (
        "the argument config: localhost.worker_processes: found the text '4'; allowed is a whole number, 1 or more, "
        "or nothing; write it without quotes"
    )
    assert refusal(ConfigError, worker_processes=0).startswith(
        "the arguments: localhost.worker_processes: found the number 0; allowed is a whole number, 1 or more"
    )


def test_an_unknown_key_is_a_warning_that_names_the_nearest(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("lithops"), "propagate", True)
    with FunctionExecutor(config={"localhost": {"worker_proceses": 4}}, log_level=None):
        pass
    assert caplog.messages[0] == (
        "the argument config: localhost.worker_proceses: unknown key, left out; did you mean 'worker_processes'?"
    )


def test_broken_yaml_names_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "lithops.yaml"
    file.write_text("lithops:\n  backend: localhost\n storage: [\n")
    message = refusal(ConfigError, config_file=str(file))
    assert re.fullmatch(rf"{re.escape(str(file))}: not YAML, line 3, column 2: .+", message), message
    assert "the configuration file cannot be read: No such file" in refusal(
        ConfigError, config_file=str(tmp_path / "none.yaml")
    )


def test_a_python_that_is_not_there() -> None:
    with (
        FunctionExecutor(log_level=None, runtime="/no/such/python") as fexec,
        pytest.raises(
            ConfigError, match=r"localhost: runtime: found '/no/such/python', which is no program on this"
        ),
    ):
        fexec.call_async(len, "ab")


@pytest.mark.parametrize("bucket", ["..", "a/../b", "up..up", "", "a/b", "a\0b"])
def test_a_bucket_that_is_none(bucket: str, tmp_path: Path) -> None:
    storage = Storage({"localhost": {"root": str(tmp_path / "root")}})
    with pytest.raises(
        InvalidKey, match="cannot be the name of a bucket: take 1 to 250 printable characters"
    ):
        storage.create_bucket(bucket)
    with pytest.raises(InvalidKey):
        storage.put_object(bucket or "..", "key", b"")
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("key", ["../key", "a/../../key", "/key", "..", "a\0b"])
def test_a_key_that_leaves_its_bucket(key: str, tmp_path: Path) -> None:
    storage = Storage({"localhost": {"root": str(tmp_path / "root")}})
    storage.create_bucket("bucket")
    for use in (
        lambda: storage.put_object("bucket", key, b"out"),
        lambda: storage.get_object("bucket", key),
        lambda: storage.delete_object("bucket", key),
    ):
        with pytest.raises(
            InvalidKey, match=r"is not allowed: take one without a leading '/', NUL, or '\.\.'"
        ):
            use()
    assert [path.name for path in tmp_path.iterdir()] == ["root"]

"""`lithops doctor`: what it looks at, what it says of what is not well, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_run import Command, Done
from cli_run import command as command
from cli_run import own_home as own_home
from seaweedfs_server import SeaweedFS
from some_cloud import Cloud
from some_cloud import cloud as cloud

from lithops.compute import registry
from lithops.compute.base import Finding
from lithops.registry import Row
from lithops.storage import Storage
from lithops.storage.backends.localhost.backend import LocalhostStorage
from lithops.version import __version__

HINT = "the least rights that suffice, as JSON: the same command with --policy > policy.json"
OBJECT = ["write an object", "write it again", "read it", "list it", "delete it"]


class Report:
    """What a run of the command has printed."""

    def __init__(self, done: Done) -> None:
        self.status = done.status
        *lines, self.end = [line for line in done.out.splitlines() if line != HINT]
        self.has_hint = done.out.endswith(f"{HINT}\n")
        self.marks = {line[4:].partition(": ")[0]: line[:4] for line in lines}
        self.says = {line[4:].partition(": ")[0]: line.partition(": ")[2] for line in lines}

    @property
    def failed(self) -> list[str]:
        assert set(self.marks.values()) <= {"ok  ", "!!  "}
        return [what for what, mark in self.marks.items() if mark == "!!  "]


@pytest.fixture
def doctor(command: Command) -> Callable[..., Report]:
    """Runs the command, which may print nothing but its report."""

    def run(*argv: str) -> Report:
        done = command("doctor", *argv)
        assert done.err == ""
        report = Report(done)
        assert report.status == int(bool(report.failed))
        assert report.end == (
            f"{len(report.failed)} of these are not well" if report.failed else "all is well"
        )
        return report

    return run


def on_s3(server: SeaweedFS, **section: Any) -> dict[str, Any]:
    """A configuration of functions whose objects are on a server."""
    lithops = {"backend": "some_cloud", "storage": "minio"}
    return {"lithops": lithops, "minio": {**server.settings, "storage_bucket": "doctor", **section}}


# ---------------------------------------------------------------- all is well


def test_this_machine_is_well(doctor: Callable[..., Report], own_home: Path) -> None:
    report = doctor()
    assert list(report.marks) == [
        "configuration", "versions", "compute on localhost", "storage on localhost", *OBJECT, "a call",
    ]  # fmt: skip
    assert report.failed == []
    settings = own_home / "settings.yaml"
    assert report.says["configuration"] == f"{settings}: compute on localhost, storage on localhost"
    assert report.says["versions"].startswith(f"Lithops {__version__}, Python {sys.version.split()[0]} (")
    assert report.says["storage on localhost"] == "bucket 'mine' was not there, and is now"
    assert report.says["a call"].startswith("returns from Python ")
    assert f"process {os.getpid()} " not in report.says["a call"]
    assert not report.has_hint
    assert Storage().list_keys("mine") == []
    assert doctor().says["storage on localhost"] == "bucket 'mine' is there"


def test_without_a_file_the_defaults_hold(
    doctor: Callable[..., Report], own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LITHOPS_CONFIG_FILE")
    assert doctor().says["configuration"] == "the defaults: compute on localhost, storage on localhost"


def test_a_cloud_that_is_well(
    doctor: Callable[..., Report], command: Command, cloud: Cloud, seaweedfs: SeaweedFS
) -> None:
    command.configure(on_s3(seaweedfs))
    cloud.findings.append(Finding("role", True, "one that functions\n may take"))
    report = doctor()
    assert report.failed == []
    assert list(report.marks)[2:] == [
        "compute on some_cloud",
        "storage on minio",
        *OBJECT,
        "identity",
        "role",
    ]
    assert report.says["compute on some_cloud"] == "region here"
    assert report.says["role"] == "one that functions may take"
    assert report.has_hint
    assert cloud.deployments == 0
    assert cloud.closed == 1
    assert Storage(backend="minio").list_keys("doctor") == []


def test_colours_are_for_a_terminal(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\033" not in command("doctor").out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert command("doctor", "-b", "localhost").out.startswith("\033[32mok\033[0m  configuration: ")
    assert "\033[31m!!\033[0m  configuration: " in command("doctor", "-b", "nowhere").out


# ---------------------------------------------------------------- what is not well


def test_a_configuration_that_cannot_be_used(doctor: Callable[..., Report], command: Command) -> None:
    command.configure("localhost: {worker_processes: many}")
    report = doctor()
    assert list(report.marks) == ["configuration", "versions"]
    assert report.failed == ["configuration"]
    assert "localhost.worker_processes: found the text 'many'" in report.says["configuration"]


def test_an_extra_that_is_not_installed(
    doctor: Callable[..., Report], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row("some_cloud:SomeCloudConfig", "no_such_sdk:Client", extra="cloud")
    monkeypatch.setitem(registry._registry.rows, "some_cloud", row)
    report = doctor("-b", "some_cloud")
    assert "compute on some_cloud" in report.failed
    assert report.says["compute on some_cloud"].endswith("run: pip install 'lithops[cloud]'")
    assert "storage on localhost" in report.marks, "the rest is looked at all the same"
    assert not report.has_hint


def test_functions_of_a_cloud_do_not_see_the_files_of_this_machine(
    doctor: Callable[..., Report], cloud: Cloud
) -> None:
    report = doctor("-b", "some_cloud")
    assert report.failed == ["storage on localhost"]
    assert report.says["storage on localhost"].startswith(
        "functions of some_cloud cannot reach the files of this machine; set lithops: storage, or give -s, to one of "
    )
    assert report.marks["identity"] == "ok  "


def test_wrong_credentials_of_the_storage(
    doctor: Callable[..., Report], command: Command, cloud: Cloud, seaweedfs: SeaweedFS
) -> None:
    command.configure(on_s3(seaweedfs, secret_access_key="guessed"))
    report = doctor()
    assert report.failed == ["storage on minio"]
    assert "guessed" not in str(report.says)
    assert not set(OBJECT) & set(report.marks)


def test_an_identity_that_may_only_read(
    doctor: Callable[..., Report], command: Command, cloud: Cloud, seaweedfs: SeaweedFS
) -> None:
    command.configure(on_s3(seaweedfs))
    doctor()
    key, secret = seaweedfs.read_only
    command.configure(on_s3(seaweedfs, access_key_id=key, secret_access_key=secret))
    report = doctor()
    assert report.failed == ["write an object"]
    assert not set(OBJECT[1:]) & set(report.marks), "there is nothing to read, list or delete"


def test_a_storage_that_cannot_be_reached(
    doctor: Callable[..., Report], command: Command, own_home: Path
) -> None:
    (own_home / "file").write_text("")
    command.configure(f"localhost: {{root: '{own_home}/file'}}")
    report = doctor()
    assert "storage on localhost" in report.failed
    assert not set(OBJECT) & set(report.marks)


def replaced(storage: LocalhostStorage, bucket: str, key: str, body: Any, *, if_absent: bool = False) -> None:
    put(storage, bucket, key, body)


def denied(storage: LocalhostStorage, bucket: str, keys: Any) -> None:
    raise PermissionError(13, "Permission denied")


put = LocalhostStorage.put
FAULTS: dict[str, tuple[str, Callable[..., Any], str]] = {
    "write it again": ("put", replaced, "knows conditional writes"),
    "read it": ("get", lambda *arguments: b"something else", "has other bytes than were written"),
    "list it": ("list", lambda *arguments: iter(()), "is not listed"),
    "delete it": ("delete", denied, "Permission denied"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_storage_with_one_fault(
    doctor: Callable[..., Report], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """It is named, and the others are looked at."""
    method, fault, words = FAULTS[what]
    with monkeypatch.context() as patch:
        patch.setattr(LocalhostStorage, method, fault)
        report = doctor("-b", "localhost")
    # The call that follows needs the same storage.
    assert [failed for failed in report.failed if failed in OBJECT] == [what]
    assert words in report.says[what]
    assert set(OBJECT) <= set(report.marks)


def test_a_worker_that_does_not_start(
    doctor: Callable[..., Report], command: Command, own_home: Path
) -> None:
    python = own_home / "python"
    python.write_text("#!/bin/sh\necho no module named anything >&2; exit 3\n")
    python.chmod(0o755)
    command.configure(f"localhost: {{runtime: '{python}', root: '{own_home}/buckets'}}")
    report = doctor()
    assert report.failed == ["a call"]
    assert "no module named anything" in report.says["a call"]


def test_what_the_backend_finds(
    doctor: Callable[..., Report], command: Command, cloud: Cloud, seaweedfs: SeaweedFS
) -> None:
    command.configure(on_s3(seaweedfs))
    cloud.findings = [
        Finding("role", False, "there is none; make one"),
        Finding("region", True, "here"),
    ]
    report = doctor()
    assert report.failed == ["role"]
    assert report.says["role"] == "there is none; make one"
    cloud.findings = []
    report = doctor()
    assert report.failed == ["diagnosis of some_cloud"]
    assert report.says["diagnosis of some_cloud"] == "nobody answers; check the network"


# ---------------------------------------------------------------- rights


def test_the_policy_is_all_that_is_printed(command: Command, cloud: Cloud) -> None:
    done = command.succeeds("doctor", "--policy", "-b", "some_cloud", "-r", "there")
    assert json.loads(done.out) == {"Statement": [{"Action": "functions:*", "Resource": "there"}]}
    assert cloud.closed == 1


def test_a_backend_without_rights_has_no_policy(command: Command) -> None:
    assert "the compute backend 'localhost' needs no rights of a cloud" in command.fails("doctor", "--policy")

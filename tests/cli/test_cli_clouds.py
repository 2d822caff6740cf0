"""One journey through the commands on each cloud: check, deploy, look, run, update, clean, delete."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from aws_fixtures import AwsProgram
from aws_fixtures import aws as aws
from aws_fixtures import aws_program as aws_program
from azure_fixtures import azure as azure
from azure_service import Azure
from cli_run import Command
from cli_run import command as command
from cli_run import own_home as own_home
from google_fixtures import Configure
from google_fixtures import configure as configure
from google_fixtures import google_cloud as google_cloud
from google_fixtures import key as key
from some_cloud import PYTHON

from lithops.compute.backends.azure_functions import backend as azure_backend
from lithops.version import __version__


def journey(command: Command, config: Mapping[str, Any], *, memory: int) -> None:
    """With the cloud's own language runtime, through its real SDK."""
    backend = config["lithops"]["backend"]
    command.configure({**config, "lithops": {**config["lithops"], "log_level": "INFO"}})
    assert f"no runtime is deployed on {backend}" in command.succeeds("runtime", "list").out
    command.succeeds("clean", "--older-than", "0s")  # what other tests have left

    checked = command("doctor")
    assert [line for line in checked.out.splitlines() if line.startswith("!!")] == []
    assert checked.status == 0
    assert checked.out.count("\nok  delete it: ") == 1
    assert checked.out.endswith("--policy > policy.json\n")
    policy = json.loads(command.succeeds("doctor", "--policy").out)
    assert len(policy) == 2, "for whoever deploys and calls, and for the functions"
    assert f"no runtime is deployed on {backend}" in command.succeeds("runtime", "list").out

    ready = command.succeeds("runtime", "deploy")
    assert f" is ready on {backend} (" in ready.out
    assert f"[INFO] lithops.compute.backends.{backend}" in ready.err
    name, python, size, unit = command.succeeds("runtime", "list").out.splitlines()[1].split()
    assert (python, size, unit) == (PYTHON, str(memory), "MB")
    assert ready.out.startswith(f"{name}, Python {PYTHON}, {memory} MB is ready")

    hello = command.succeeds("hello")
    assert hello.out.startswith(f"Hello World! This is Python {PYTHON}.")
    assert "lithops.compute" not in hello.err, "what was deployed was found"
    updated = command.succeeds("runtime", "update").out
    assert updated == f"{name}, Python {PYTHON}, {memory} MB is ready, with Lithops {__version__}\n"

    assert "jobs: 0 objects removed" in command.succeeds("clean", "--older-than", "0s").out
    assert command.succeeds("runtime", "delete", name).out == f"{name} is deleted from {backend}\n"
    assert f"no runtime is deployed on {backend}" in command.succeeds("runtime", "list").out
    assert name in command.fails("runtime", "delete", name)


def test_aws(command: Command, aws_program: AwsProgram) -> None:
    aws_program.aws.set(pending_s=0.05, role_delay_s=0.05)
    journey(command, aws_program.config(namespace="cli"), memory=256)


def test_google(command: Command, configure: Configure) -> None:
    journey(command, configure({"namespace": "cli"}), memory=256)


def test_azure(command: Command, azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure_backend, "_POLL_S", 0.02)
    azure.reset()
    config = {
        "lithops": {"backend": "azure_functions", "storage": "azure_storage"},
        "azure": azure.account,
        "azure_storage": azure.storage,
        "azure_functions": {**azure.functions, "max_workers": azure.instances, "namespace": "cli"},
    }
    journey(command, config, memory=2048)


def test_aws_without_a_region(command: Command, aws_program: AwsProgram) -> None:
    config = aws_program.config()
    config["aws"] = {key: value for key, value in config["aws"].items() if key != "region"}
    command.configure(config)
    done = command("doctor")
    assert done.status == 1
    assert "\n!!  compute on aws_lambda: aws.region: found nothing; set it to the region" in done.out

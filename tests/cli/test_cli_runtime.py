"""`lithops runtime`, and the commands that run functions and clean up, on a backend that deploys."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_run import Command
from cli_run import command as command
from cli_run import own_home as own_home
from some_cloud import DEFAULT, PYTHON, Cloud
from some_cloud import cloud as cloud

from lithops.compute.base import RuntimeInfo
from lithops.storage import Storage
from lithops.version import __version__

ON = ("-b", "some_cloud")
OTHER = "3.9"


@pytest.fixture(autouse=True)
def requirements(own_home: Path) -> Path:
    file = own_home / "requirements.txt"
    file.write_text("numpy\n")
    return file


# ---------------------------------------------------------------- build


def test_build_says_what_was_made_and_how_to_use_it(command: Command, cloud: Cloud) -> None:
    done = command.succeeds("runtime", "build", "mine", "-f", "requirements.txt", *ON)
    first, second = done.out.splitlines()
    assert first.startswith("mine is built on some_cloud: a layer of requirements.txt (")
    assert second.endswith("{some_cloud: {runtime: mine}}")
    assert "[INFO] lithops.compute.some_cloud -- building mine" in done.err
    assert cloud.built == {"mine": "numpy\n"}
    assert cloud.closed == 1


def test_build_takes_the_name_of_the_configuration(command: Command, cloud: Cloud, own_home: Path) -> None:
    command.configure("some_cloud: {runtime: ours}")
    done = command.succeeds("runtime", "build", "-f", "requirements.txt", *ON)
    assert done.out.count("\n") == 1
    assert list(cloud.built) == ["ours"]


def test_what_cannot_be_built_is_said_before_anything_is_sent(command: Command, cloud: Cloud) -> None:
    said = command.fails("runtime", "build", "-f", "requirements.txt", *ON)
    assert said == (
        "lithops: the runtime has no name: give it one, as in 'lithops runtime build -f requirements.txt my-runtime', "
        "or set some_cloud: runtime in the configuration"
    )
    assert "there is no file 'none.txt'" in command.fails("runtime", "build", "mine", "-f", "none.txt", *ON)
    assert "-f/--file" in command.refused("runtime", "build", "mine", *ON)
    assert cloud.built == {}


def test_a_backend_that_cannot_build_says_what_to_do_instead(command: Command) -> None:
    assert command.fails("runtime", "build", "mine", "-f", "requirements.txt") == (
        "lithops: the compute backend 'localhost' builds no runtimes: install the packages where its functions run, "
        "and name that place in the configuration, localhost: runtime"
    )


# ---------------------------------------------------------------- deploy and list


def test_deploy_and_list(command: Command, cloud: Cloud) -> None:
    nothing = command.succeeds("runtime", "list", *ON).out
    assert nothing == (
        "no runtime is deployed on some_cloud; the first call deploys one, and so does: "
        "lithops runtime deploy -b some_cloud\n"
    )
    done = command.succeeds("runtime", "deploy", *ON)
    assert done.out.startswith(f"{DEFAULT}, Python {PYTHON}, 256 MB is ready on some_cloud (")
    assert f"deploying {DEFAULT} to here" in done.err
    again = command.succeeds("runtime", "deploy", *ON)
    assert again.err == ""
    assert cloud.deployments == 1

    command.succeeds("runtime", "build", "a-runtime-of-ours", "-f", "requirements.txt", *ON)
    command.succeeds("runtime", "deploy", "a-runtime-of-ours", *ON, "-m", "1024")
    lines = command.succeeds("runtime", "list", *ON).out.splitlines()
    assert lines == [
        "runtime            Python   memory",
        f"a-runtime-of-ours  {PYTHON:<6}  1024 MB",
        f"{DEFAULT:<17}  {PYTHON:<6}   256 MB",
    ]


def test_the_options_reach_the_backend(command: Command, cloud: Cloud, own_home: Path) -> None:
    (own_home / "other.yaml").write_text(
        "lithops: {backend: some_cloud, log_level: WARNING}\nsome_cloud: {runtime: ours}"
    )
    cloud.built["ours"] = ""
    done = command.succeeds("runtime", "deploy", "-c", "other.yaml", "-m", "512")
    assert done.out.startswith("ours, ")
    assert done.err == "", "the log is as the configuration says"
    assert [(info.name, info.memory_mb) for info in cloud.deployed] == [("ours", 512)]
    done = command.succeeds("-d", "runtime", "deploy", *ON, "-r", "there")
    assert f"deploying {DEFAULT} to there" in done.err


def test_a_runtime_that_is_not_there(command: Command, cloud: Cloud) -> None:
    assert command.fails("runtime", "deploy", "mine", *ON) == (
        "lithops: there is no runtime 'mine'; run: lithops runtime build -b some_cloud -f FILE mine"
    )
    assert cloud.closed == 1
    assert "nope" in command.fails("runtime", "list", "-b", "nope")


# ---------------------------------------------------------------- update


def test_update_deploys_what_is_there_with_this_release(command: Command, cloud: Cloud) -> None:
    assert "no runtime is deployed" in command.succeeds("runtime", "update", *ON).out
    elsewhere = RuntimeInfo("python3.9", 256, OTHER)
    cloud.built = {"ours": ""}
    cloud.deployed = {
        elsewhere: "old",
        RuntimeInfo("ours", 512, PYTHON): "old",
        RuntimeInfo(DEFAULT, 256, PYTHON): "old",
        RuntimeInfo(DEFAULT, 2048, PYTHON): "new",
    }
    lines = command.succeeds("runtime", "update", *ON).out.splitlines()
    assert lines == [
        f"ours, Python {PYTHON}, 512 MB is ready, with Lithops {__version__}",
        f"{DEFAULT}, Python {PYTHON}, 256 MB is ready, with Lithops {__version__}",
        f"{DEFAULT}, Python {PYTHON}, 2048 MB is ready, with Lithops {__version__}",
        f"python3.9, Python {OTHER}, 256 MB is left alone: this command updates it when Python {OTHER} runs it",
    ]
    assert cloud.deployments == 2
    assert {release for info, release in cloud.deployed.items() if info != elsewhere} == {"new"}
    assert cloud.deployed[elsewhere] == "old"


def test_update_of_one(command: Command, cloud: Cloud) -> None:
    cloud.built = {"ours": ""}
    cloud.deployed = {RuntimeInfo("ours", 512, PYTHON): "old", RuntimeInfo(DEFAULT, 256, PYTHON): "old"}
    assert command.succeeds("runtime", "update", "ours", *ON).out.count("\n") == 1
    assert sorted(cloud.deployed.values()) == ["new", "old"]
    assert "there is no runtime 'theirs' on some_cloud to update" in command.fails(
        "runtime", "update", "theirs", *ON
    )


def test_one_that_cannot_be_updated_does_not_keep_the_others_from_it(command: Command, cloud: Cloud) -> None:
    cloud.deployed = {RuntimeInfo("gone", 512, PYTHON): "old", RuntimeInfo(DEFAULT, 256, PYTHON): "old"}
    done = command("runtime", "update", *ON)
    assert done.status == 1
    assert done.out == f"{DEFAULT}, Python {PYTHON}, 256 MB is ready, with Lithops {__version__}\n"
    said = [line for line in done.err.splitlines() if line.startswith("lithops: ")]
    assert said == [
        f"lithops: gone, Python {PYTHON}, 512 MB: there is no runtime 'gone'; "
        "run: lithops runtime build -b some_cloud -f FILE gone"
    ]


# ---------------------------------------------------------------- delete


def test_delete(command: Command, cloud: Cloud) -> None:
    cloud.deployed = {
        RuntimeInfo("ours", 512, PYTHON): "new",
        RuntimeInfo("ours", 1024, PYTHON): "new",
        RuntimeInfo("theirs", 1024, OTHER): "new",
        RuntimeInfo(DEFAULT, 256, PYTHON): "new",
    }
    assert command.succeeds("runtime", "delete", "ours", *ON).out == "ours is deleted from some_cloud\n"
    assert {info.name for info in cloud.deployed} == {"theirs", DEFAULT}
    assert "there is no runtime 'ours'" in command.fails("runtime", "delete", "ours", *ON)
    lines = command.succeeds("runtime", "delete", "--all", *ON).out.splitlines()
    assert lines == [f"{DEFAULT} is deleted from some_cloud", "theirs is deleted from some_cloud"]
    assert cloud.deployed == {}
    assert "no runtime is deployed" in command.succeeds("runtime", "delete", "--all", *ON).out


def test_what_to_delete_has_to_be_said(command: Command, cloud: Cloud) -> None:
    cloud.deployed = {RuntimeInfo(DEFAULT, 256, PYTHON): "new"}
    assert "one of the arguments NAME --all is required" in command.refused("runtime", "delete", *ON)
    assert "not allowed with argument" in command.refused("runtime", "delete", "mine", "--all", *ON)
    assert command("runtime", "delete", "", *ON).status != 0
    assert list(cloud.deployed)


# ---------------------------------------------------------------- localhost


def test_localhost_has_one_runtime_that_needs_nothing(command: Command) -> None:
    titles, line = command.succeeds("runtime", "list").out.splitlines()
    assert titles.split() == ["runtime", "Python", "memory"]
    assert line.split()[1:] == [PYTHON, "-"]
    assert " is ready on localhost (" in command.succeeds("runtime", "deploy").out
    assert f"is ready, with Lithops {__version__}" in command.succeeds("runtime", "update").out
    assert "localhost has deployed nothing" in command.fails("runtime", "delete", "mine")


def test_localhost_names_what_is_no_runtime(command: Command) -> None:
    command.configure("localhost: {runtime: /no/python}")
    assert "localhost: runtime: found '/no/python'" in command.fails("runtime", "deploy")


# ---------------------------------------------------------------- the commands that run functions


def test_hello_deploys_runs_and_leaves_nothing(command: Command, cloud: Cloud) -> None:
    done = command.succeeds("hello", *ON)
    assert done.out.startswith("Hello World! This is Python ")
    assert "(some_cloud, " in done.out
    assert f"deploying {DEFAULT} to here" in done.err
    assert [info.memory_mb for info in cloud.deployed] == [256]
    assert Storage().list_keys("mine") == []
    assert "deploying" not in command.succeeds("hello", *ON).err
    assert cloud.deployments == 1


def test_hello_takes_the_options(command: Command, cloud: Cloud) -> None:
    done = command.succeeds("hello", *ON, "-m", "512", "-r", "there")
    assert f"deploying {DEFAULT} to there" in done.err
    assert [info.memory_mb for info in cloud.deployed] == [512]


def test_hello_that_may_not_deploy_is_one_line(command: Command, cloud: Cloud) -> None:
    cloud.refused = {DEFAULT}
    done = command("hello", *ON)
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines()[-1] == f"lithops: {DEFAULT} may not be deployed; ask for the right to"
    assert "Traceback" not in done.err


def test_the_self_check(command: Command, cloud: Cloud) -> None:
    first, *lines = command.succeeds("test", *ON).out.splitlines()
    assert first == "compute on some_cloud, storage on localhost"
    assert [line.partition(" (")[0] for line in lines] == [
        "✓ call_async",
        "✓ map",
        "✓ map_reduce",
        "✓ storage put and get",
    ]


def test_clean_leaves_what_is_deployed(command: Command, cloud: Cloud) -> None:
    cloud.deployed = {RuntimeInfo(DEFAULT, 256, PYTHON): "new"}
    Storage().put_object("mine", "lithops.jobs/3f9a1c-0-M000/status/00000000.0000", b"x")
    out = command.succeeds("clean", "--older-than", "0s", *ON).out
    assert "jobs: 1 objects removed (0.0 MB) from bucket 'mine'" in out
    assert list(cloud.deployed)

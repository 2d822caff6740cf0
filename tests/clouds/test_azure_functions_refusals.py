"""Azure Functions as a backend: what is refused, custom runtimes, and where no secret may be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient
from azure_fixtures import Execute, Make, app_of, azure, calm, config_of, execute, looks_often, make
from azure_service import Azure

from lithops import FunctionExecutor
from lithops.compute.backends.azure_functions import deploying, plan
from lithops.compute.backends.azure_functions.backend import AzureFunctions
from lithops.compute.backends.azure_functions.config import AzureFunctionsConfig
from lithops.compute.base import ComputeError, Surroundings
from lithops.config.loader import resolve
from lithops.exceptions import ConfigError

__all__ = ["azure", "calm", "execute", "looks_often", "make"]

_SURROUNDINGS = Surroundings("azure_storage")
_PATIENCE_S = 40.0


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("runtime_memory", 0, "from 1 to 4096"),
        ("runtime_memory", 4097, "from 1 to 4096"),
        ("runtime_timeout", 0, "from 1 to 86400"),
        ("trigger", "http", "https, pub/sub"),
        ("max_workers", 1001, "from 1 to 1000"),
        ("max_workers", 0, "from 1 to 1000"),
        ("worker_processes", 17, "from 1 to 16"),
        ("namespace", "Upper", "small letters"),
        ("env_vars", {"FUNCTIONS_WORKER_RUNTIME": "x"}, "keep for themselves"),
        ("env_vars", {"1A": "x"}, "letters, digits and _"),
        ("user_tags", {"a<b": "x"}, "without <>"),
        ("user_tags", {"lithops-ready": "x"}, "do not begin with lithops"),
        ("vpc", {"subnets": "x"}, "subnet: the resource ID"),
        ("identity", "me", "the resource ID of a user-assigned"),
        ("application_insights", "a b", "letters, digits"),
        ("resource_manager", "http://here", "begins with https://"),
        ("runtime", "a/b", "1 to 60 letters"),
    ],
)
def test_wrong_values_are_refused_with_what_is_allowed(
    azure: Azure, key: str, value: Any, allowed: str
) -> None:
    with pytest.raises(ConfigError, match=f"azure_functions.{key}: found .*{re.escape(allowed)}"):
        resolve(config_of(azure, **{key: value}))


def test_where_it_shall_be_has_to_be_said(azure: Azure) -> None:
    config = AzureFunctionsConfig(**{**azure.account, **azure.functions, "resource_group": None})
    with pytest.raises(ConfigError, match=r"azure\.resource_group"):
        AzureFunctions(config, _SURROUNDINGS)


def test_a_wrong_resource_group_or_account_is_said_so(azure: Azure, make: Make) -> None:
    with pytest.raises(ComputeError, match="check the sections azure"):
        make(resource_group="another").deploy("", 0, 60)
    with pytest.raises(ComputeError, match="no storage account 'other'"):
        make()._cloud().resources.account_id("other")


def test_missing_rights_are_said_so(azure: Azure, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "of nobody")
    with pytest.raises(ComputeError, match="az login"):
        make().deploy("", 0, 60)


# ---------------------------------------------------------------- custom runtimes


def test_a_runtime_is_built_of_requirements_and_found_again(
    azure: Azure, make: Make, execute: Execute, tmp_path: Path
) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("# what the functions import\nnumpy>=1.26\n")
    said = make().build("science", file)
    assert "'science'" in said
    compute = make()
    info = compute.deploy("science", 0, 60)
    assert info.name == "science"
    assert info in compute.runtimes()
    executor = execute(runtime="science")

    def total(number: int) -> int:
        import numpy

        return int(numpy.arange(number).sum())

    executor.map(total, [10, 20])
    assert executor.get_result(timeout=_PATIENCE_S) == [45, 190]
    name = app_of(azure, compute).name
    compute.remove("science")
    assert name not in azure.apps
    assert "science" not in {each.name for each in compute.runtimes()}
    with pytest.raises(ComputeError, match="lithops runtime build"):
        make().deploy("science", 0, 60)
    with pytest.raises(ComputeError, match="there is no runtime 'science'"):
        compute.remove("science")


def test_a_build_that_fails_shows_its_log(azure: Azure, make: Make, tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("there-is-no-such-package==1.0\n")
    with pytest.raises(ComputeError, match="No matching distribution found for there-is-no-such-package"):
        make().build("failing", file)
    with pytest.raises(ComputeError, match="lithops runtime build"):
        make().deploy("failing", 0, 60)


@pytest.mark.parametrize(
    ("name", "file", "text", "complaint"),
    [
        ("image", "Dockerfile", "FROM python", "runs no images"),
        ("python3.11", "requirements.txt", "", "cannot be the name"),
        ("a/b", "requirements.txt", "", "cannot be the name"),
        ("local", "requirements.txt", "-e .", "line 1.*names a file of this machine"),
    ],
)
def test_what_cannot_be_built_is_refused(
    make: Make, tmp_path: Path, name: str, file: str, text: str, complaint: str
) -> None:
    path = tmp_path / file
    path.write_text(text)
    with pytest.raises(ComputeError, match=complaint):
        make().build(name, path)


def test_a_package_that_cannot_be_imported_is_found_before_the_first_call(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_ENTRY", "import not_in_the_package  # {processes} {timeout_s} {queue}\n")
    with pytest.raises(ComputeError, match=r"cannot be loaded.*No module named 'not_in_the_package'"):
        make().deploy("", 0, 60)


def test_an_app_of_another_version_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploying, "__version__", "4.99")
    with pytest.raises(ComputeError, match="lithops runtime delete -b azure_functions"):
        make(env_vars={"ANOTHER": "version"}).deploy("", 0, 60)


def test_a_python_that_azure_has_not_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "PYTHONS", ("2.7",))
    with pytest.raises(ComputeError, match=r"run it with one of 2\.7"):
        make().deploy("", 0, 60)


# ---------------------------------------------------------------- secrets


@pytest.mark.parametrize("trigger", ["https", "pub/sub"])
def test_no_secret_is_in_what_is_sent(azure: Azure, trigger: str) -> None:
    key = azure.world.azurite.account_key
    config = config_of(azure, trigger=trigger, storage_account_key=key)
    config["azure_storage"] = {**azure.storage, "storage_account_key": key}
    with FunctionExecutor(config=config, log_level=None) as executor:
        executor.map(lambda text: text * 2, ["here", "there", "x" * 300_000])
        executor.get_result(timeout=_PATIENCE_S)
        app = app_of(azure, executor.compute_handler)
        stored = _stored(azure)
    sent = [each.body for each in [*azure.resources.asked, *app.requests]]
    sent += azure.deployments[app.name].packages
    everything = b"\n".join([*sent, *stored, repr(app.settings).encode()])
    assert len(stored) > 2
    secrets = [key, app.keys["default"], app.master_key]
    for secret in secrets:
        assert secret.encode() not in everything
    assert b"Bearer " not in everything
    assert "AzureWebJobsStorage" not in app.settings
    assert "LITHOPS_CREDENTIALS" not in app.settings
    assert key not in repr(vars(executor.compute_handler))


def _stored(azure: Azure) -> list[bytes]:
    account = azure.world.azurite
    key = {"account_name": account.account_name, "account_key": account.account_key}
    with BlobServiceClient(account.endpoint, key) as client:
        return [
            container_client.download_blob(blob.name).readall()
            for container in client.list_containers()
            for container_client in [client.get_container_client(container.name)]
            for blob in container_client.list_blobs()
        ]

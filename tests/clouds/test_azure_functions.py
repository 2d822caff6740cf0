"""Azure Functions as a backend: what is deployed and when, and what is found out about it."""

from __future__ import annotations

import io
import logging
import re
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from azure_fixtures import Make, app_of, azure, calm, looks_often, make
from azure_service import Azure

from lithops.compute.backends.azure_functions import plan
from lithops.compute.base import (
    ComputeError,
    RuntimeInfo,
    SupportsBuild,
    SupportsDiagnosis,
    SupportsHealth,
    SupportsPricing,
    SupportsResponses,
    Surroundings,
)
from lithops.compute.serverless import package

__all__ = ["azure", "calm", "looks_often", "make"]


def _packages(azure: Azure) -> int:
    return sum(len(each.packages) for each in azure.deployments.values())


def test_it_has_the_capabilities_that_it_says(make: Make) -> None:
    compute = make()
    for protocol in (SupportsResponses, SupportsHealth, SupportsBuild, SupportsPricing, SupportsDiagnosis):
        assert isinstance(compute, protocol)


# ---------------------------------------------------------------- deployments


def test_the_first_program_deploys_and_the_second_finds_it(
    azure: Azure, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lithops")
    compute = make(env_vars={"ONCE": "1"})
    info = compute.deploy("", 0, 60)
    assert info == RuntimeInfo(info.name, 2048, info.python)
    assert re.search(r"deploying the runtime .* 2048 MB, the next size to 1536", caplog.text)
    assert "deployed the runtime" in caplog.text
    before = _packages(azure)
    azure.resources.asked.clear()
    caplog.clear()
    compute.deploy("", 0, 60)
    assert azure.resources.asked == []
    make(env_vars={"ONCE": "1"}).deploy("", 0, 60)
    assert [each.method for each in azure.resources.asked] == ["GET", "POST"]
    assert _packages(azure) == before
    assert caplog.text == ""
    make(env_vars={"ONCE": "1"}, trigger="pub/sub").deploy("", 0, 60)
    azure.resources.asked.clear()
    make(env_vars={"ONCE": "1"}, trigger="pub/sub").deploy("", 0, 60)
    assert [each.method for each in azure.resources.asked] == ["GET"]


def test_two_at_once_deploy_one_app(azure: Azure, make: Make) -> None:
    backends = [make(env_vars={"AT": "ONCE"}) for _ in range(2)]
    before = set(azure.apps)
    threads = [threading.Thread(target=each.deploy, args=("", 0, 60)) for each in backends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(azure.apps) - before) == 1
    assert all(each.describe()["function apps"] for each in backends)


@pytest.mark.parametrize(
    "change",
    [
        {"env_vars": {"A": "2"}},
        {"user_tags": {"team": "other"}},
        {"runtime_memory": 512},
        {"runtime_timeout": 301},
        {"worker_processes": 2},
        {"trigger": "pub/sub"},
        {"namespace": "others"},
        {"max_workers": 41},
    ],
)
def test_what_is_changed_gets_an_app_of_its_own(azure: Azure, make: Make, change: dict[str, Any]) -> None:
    first, second = make(), make(**change)
    names = {each._plan("", 0).name for each in (first, second, make())}
    assert len(names) == 2


def test_a_changed_library_is_deployed_anew(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = make()._plan("", 0)

    def changed(entry: Any, **options: Any) -> Any:
        return package.build({**entry, "lithops/wire/ids.py": b"changed"}, **options)

    monkeypatch.setattr(plan, "build", changed)
    assert make()._plan("", 0).name != before.name


def test_the_package_is_small_and_the_same_every_time(make: Make) -> None:
    one, two = make()._plan("", 0).package, make()._plan("", 0).package
    assert one == two
    assert len(one.data) < 200_000
    with zipfile.ZipFile(io.BytesIO(one.data)) as archive:
        names = set(archive.namelist())
    assert {"function_app.py", "host.json", "requirements.txt"} <= names
    assert "lithops/compute/backends/azure_functions/entry.py" in names
    assert not any("backend.py" in name and "azure_functions" in name for name in names)


def test_settings_reach_azure(azure: Azure, make: Make) -> None:
    subnet = (
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/n/subnets/functions"
    )
    compute = make(
        Surroundings("azure_storage", {"LITHOPS_RABBITMQ_URL": "amqp://there"}),
        runtime_memory=513,
        runtime_timeout=3700,
        max_workers=77,
        worker_processes=3,
        namespace="team-a",
        env_vars={"COLOUR": "blue"},
        user_tags={"cost centre": "42"},
        vpc={"subnet": subnet},
        trigger="pub/sub",
    )
    compute.deploy("", 0, 60)
    app = app_of(azure, compute)
    site = azure.resources.sites[app.name]
    scale = site["properties"]["functionAppConfig"]["scaleAndConcurrency"]
    assert scale["instanceMemoryMB"] == 2048
    assert scale["maximumInstanceCount"] == 77
    assert scale["triggers"] == {"http": {"perInstanceConcurrency": 1}}
    assert site["properties"]["virtualNetworkSubnetId"] == subnet
    assert site["tags"]["cost centre"] == "42"
    assert azure.resources.plans[app.name]["tags"] == {"cost centre": "42"}
    assert app.name.startswith("team-a-")
    assert (app.settings["COLOUR"], app.settings["LITHOPS_RABBITMQ_URL"]) == ("blue", "amqp://there")
    assert app.host["functionTimeout"] == "0.01:01:40"
    assert app.host["extensions"]["queues"]["batchSize"] == 1
    assert make(max_workers=3)._plan("", 0).most_instances == 40


def test_memory_of_a_job_is_the_next_size(make: Make) -> None:
    compute = make()
    sizes = [compute._plan("", memory_mb).memory_mb for memory_mb in (1, 512, 513, 2048, 2049, 4096)]
    assert sizes == [512, 512, 2048, 2048, 4096, 4096]
    with pytest.raises(ComputeError, match="4096 MB at most"):
        compute.deploy("", 4097, 60)


def test_an_identity_of_the_user_needs_no_roles_from_us(azure: Azure, make: Make) -> None:
    identity = (
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/me"
    )
    compute = make(identity=identity)
    for role in ("b7e6dc6d-f1e8-4753-8033-0f276bb0955b", "974c5e8b-45b9-4653-ba55-5f855dd0fb88"):
        azure.world.roles[identity, role] = time.monotonic()
    before = dict(azure.resources.assignments)
    compute.deploy("", 0, 60)
    app = app_of(azure, compute)
    assert azure.resources.assignments == before
    assert app.settings["AzureWebJobsStorage__clientId"] == app.settings["AZURE_CLIENT_ID"] == "client-of-me"


def test_roles_that_take_a_while_are_waited_for(
    azure: Azure, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lithops")
    azure.rules.roles_s = 1.0
    make(env_vars={"ROLES": "slow"}).deploy("", 0, 60)
    assert caplog.text.count("its new roles are not known everywhere yet") == 1


def test_without_a_region_the_resource_groups_is_taken(azure: Azure, make: Make) -> None:
    compute = make(region=None)
    compute.deploy("", 0, 60)
    assert azure.resources.sites[app_of(azure, compute).name]["location"] == "westeurope"


# ---------------------------------------------------------------- doctor and prices


def test_the_doctor_finds_everything_well(make: Make) -> None:
    compute = make()
    compute.deploy("", 0, 60)
    findings = list(compute.diagnose())
    assert [each.what for each in findings if not each.ok] == []
    assert {"identity", "resource group", "permissions", "storage account", "region"} <= {
        each.what for each in findings
    }


def test_the_doctor_says_what_is_missing(azure: Azure, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure.resources, "actions", ["Microsoft.Web/*", "*/read"])
    findings = {each.what: each for each in make().diagnose()}
    assert not findings["permissions"].ok
    assert "Microsoft.Authorization/roleAssignments/write" in findings["permissions"].says
    assert "Microsoft.Web" not in findings["permissions"].says
    findings = {each.what: each for each in make(resource_group="other").diagnose()}
    assert not findings["resource group"].ok


def test_the_policy_is_a_role_definition(make: Make) -> None:
    role = make().policy()["user"]
    assert role["IsCustom"]
    assert role["AssignableScopes"][0].endswith("/resourceGroups/lithops-tests")
    assert "Microsoft.Web/sites/write" in role["Actions"]
    identity = (
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/me"
    )
    assert not any("roleAssignments" in each for each in make(identity=identity).policy()["user"]["Actions"])


def test_prices_follow_the_memory(make: Make) -> None:
    small, large = (make().prices(RuntimeInfo("r", memory_mb, "3.11")) for memory_mb in (512, 4096))
    assert large.second == pytest.approx(8 * small.second)
    assert large.second == pytest.approx(4 * 0.000026)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", small.as_of)

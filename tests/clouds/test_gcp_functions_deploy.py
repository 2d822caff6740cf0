"""How functions get to Google Cloud, and what they are made of."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from fake_gcs_server import FakeGcs
from google_fixtures import PERMISSIONS, REGION, Configure, configure, google_cloud, key
from google_identity import PROJECT
from google_stand_in import Google

from lithops import FunctionExecutor
from lithops.compute.backends.gcp_functions import naming
from lithops.compute.backends.gcp_functions.backend import GcpFunctions
from lithops.compute.backends.gcp_functions.config import GcpFunctionsConfig
from lithops.compute.base import RuntimeInfo, Surroundings
from lithops.config.check import check_section
from lithops.exceptions import ComputeError, ConfigError

__all__ = ["configure", "google_cloud", "key"]

OWN = "python{}{}".format(*sys.version_info)


@pytest.fixture(autouse=True)
def nothing_deployed(google_cloud: Google) -> None:
    for name in list(google_cloud.functions.functions):
        del google_cloud.functions.functions[name]
    for service in list(google_cloud.run.services):
        google_cloud.run.remove(service)
    google_cloud.functions.created = 0
    google_cloud.functions.requests.clear()


def backend(key: Path, *, surroundings: Surroundings | None = None, **section: Any) -> GcpFunctions:
    values = {
        "project_name": PROJECT,
        "region": REGION,
        "credentials_path": str(key),
        "max_workers": 4,
        **section,
    }
    config = check_section(GcpFunctionsConfig, values, section="gcp_functions", origin="test")
    return GcpFunctions(config, surroundings or Surroundings("gcp_storage"))


def test_the_first_program_deploys_and_says_so_and_the_second_finds_it(
    google_cloud: Google, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    def work(number: int) -> int:
        return number + 1

    logger = "lithops.compute.backends.gcp_functions"
    for turn in range(2):
        caplog.clear()
        google_cloud.functions.requests.clear()
        with caplog.at_level(logging.INFO, logger), FunctionExecutor(config=configure()) as executor:
            executor.map(work, range(3))
            assert executor.get_result(timeout=60) == [1, 2, 3]
        said = [record.getMessage() for record in caplog.records if record.name.startswith(logger)]
        if turn == 0:
            assert said[0].startswith(f"deploying function lithops-{OWN}-256-")
            assert re.search(r"deployed function \S+ in \d+ s", said[-1])
        else:
            assert said == []
            (request,) = google_cloud.functions.requests
            assert request.startswith("GET ")
    assert google_cloud.functions.created == 1


def test_what_changes_is_deployed_beside_what_was_there(google_cloud: Google, key: Path) -> None:
    for section in ({}, {}, {"env_vars": {"A": "1"}}, {"runtime_timeout": 100}, {"runtime_memory": 512}, {}):
        made = backend(key, **section)
        made.deploy("", 0, 0)
        made.close()
    assert google_cloud.functions.created == 4
    found = backend(key)
    assert [(each.name, each.memory_mb) for each in found.runtimes()] == [(OWN, 256), (OWN, 512)]
    found.remove(OWN)
    assert google_cloud.shown() == []
    assert google_cloud.services == []
    with pytest.raises(ComputeError, match="no runtime"):
        found.remove(OWN)
    found.close()


def test_settings_arrive_as_google_wants_them(google_cloud: Google, key: Path) -> None:
    made = backend(
        key,
        surroundings=Surroundings("gcp_storage", {"LITHOPS_RABBITMQ_URL": "amqp://u:p@h"}),
        runtime_memory=1024,
        runtime_timeout=900,
        max_workers=7,
        worker_processes=2,
        namespace="team",
        service_account="worker@project.iam.gserviceaccount.com",
        env_vars={"COLOUR": "blue"},
        user_tags={"cost-center": "7"},
        vpc={"connector": "wire", "egress": "all-traffic"},
    )
    google_cloud.identities.permissions["worker@project.iam.gserviceaccount.com"] = set()
    info = made.deploy("", 0, 0)
    made.close()
    assert info.memory_mb == 1024
    (function,) = google_cloud.shown()
    assert function["name"].rpartition("/")[2].startswith(f"lithops-team-{OWN}-1024-")
    assert function["buildConfig"]["runtime"] == OWN
    service = function["serviceConfig"]
    assert (service["availableMemory"], service["availableCpu"]) == ("1024Mi", "0.583")
    assert (service["timeoutSeconds"], service["maxInstanceCount"]) == (900, 7)
    assert service["maxInstanceRequestConcurrency"] == 1
    assert service["serviceAccountEmail"] == "worker@project.iam.gserviceaccount.com"
    assert service["vpcConnector"] == f"projects/{PROJECT}/locations/{REGION}/connectors/wire"
    assert service["vpcConnectorEgressSettings"] == 2  # ALL_TRAFFIC
    assert service["environmentVariables"] == {
        "COLOUR": "blue",
        "LITHOPS_RABBITMQ_URL": "amqp://u:p@h",
        "LITHOPS_TIMEOUT": "900",
        "LITHOPS_WORKER_PROCESSES": "2",
    }
    assert function["labels"]["cost-center"] == "7"
    assert function["labels"]["lithops-namespace"] == "team"


@pytest.mark.parametrize(
    ("key_name", "value", "allowed"),
    [
        ("runtime", "Upper_case", "small letters"),
        ("runtime_memory", 64, "from 128 to 32768"),
        ("runtime_memory", 40_000, "from 128 to 32768"),
        ("runtime_timeout", 3601, "from 1 to 3600"),
        ("trigger", "carrier pigeon", "'https' or 'pub/sub'"),
        ("max_workers", 0, "1 or more"),
        ("worker_processes", 0, "from 1 to 64"),
        ("service_account", "me", "email address"),
        ("namespace", "much-too-long-a-name", "1 to 12"),
        ("env_vars", {"K_SERVICE": "x"}, "keep for themselves"),
        ("env_vars", {"BIG": "x" * 17_000}, "16384"),
        ("user_tags", {"Upper": "x"}, "labels of small letters"),
        ("vpc", {"network": "x"}, "connector"),
        ("vpc", {"connector": "x", "egress": "none"}, "all-traffic"),
    ],
)
def test_wrong_settings_are_refused_with_what_is_allowed(key_name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigError, match=allowed) as caught:
        check_section(GcpFunctionsConfig, {key_name: value}, section="gcp_functions", origin="file")
    assert str(caught.value).startswith(f"file: gcp_functions.{key_name}: found ")


def test_events_have_nine_minutes() -> None:
    GcpFunctionsConfig(trigger="pub/sub", runtime_timeout=540)
    with pytest.raises(ConfigError, match="from 1 to 540"):
        GcpFunctionsConfig(trigger="pub/sub", runtime_timeout=541)


def test_only_who_deployed_may_call(google_cloud: Google, key: Path) -> None:
    made = backend(key)
    made.deploy("", 0, 0)
    (service,) = google_cloud.services
    member = "serviceAccount:client@project.iam.gserviceaccount.com"
    assert service.policy["bindings"] == [{"role": "roles/run.invoker", "members": [member]}]
    made.close()
    # Who may call all services of the project needs no policy.
    made = backend(google_cloud.account("chief", [*PERMISSIONS, "run.routes.invoke"]), namespace="other")
    made.deploy("", 0, 0)
    assert google_cloud.services[-1].policy["bindings"] == []
    made.close()


def test_the_rights_that_are_named_suffice_and_each_is_needed(google_cloud: Google) -> None:
    for missing in (
        "cloudfunctions.functions.create",
        "run.services.setIamPolicy",
        "iam.serviceAccounts.actAs",
    ):
        poor = backend(google_cloud.account("poor", {*PERMISSIONS} - {missing}), namespace="poor")
        with pytest.raises(ComputeError, match=re.escape(missing)):
            poor.deploy("", 0, 0)
        poor.close()


def test_the_package_is_small_and_the_same_each_time(google_cloud: Google, key: Path) -> None:
    made = backend(key)
    info = made.deploy("", 0, 0)
    made.close()
    (function,) = [each for each in google_cloud.functions.functions.values() if info.name in each["name"]]
    source = google_cloud.functions.uploads[function["buildConfig"]["source"]["storageSource"]["object"]]
    assert len(source) < 200_000
    with zipfile.ZipFile(io.BytesIO(source)) as archive:
        names = archive.namelist()
        assert archive.read("requirements.txt").decode().split() == [
            "functions-framework>=3.8",
            "google-cloud-storage>=3.0",
        ]
    assert {"main.py", "lithops/worker/sandbox.py", "lithops/compute/backends/gcp_functions/entry.py"} <= {
        *names
    }
    assert not [name for name in names if "gcp_functions/backend" in name or "executors" in name]
    config = GcpFunctionsConfig(project_name=PROJECT, region=REGION)
    again = [naming.wanted(config, Surroundings("gcp_storage"), PROJECT, OWN, 256, "") for _ in range(2)]
    assert again[0].package.data == again[1].package.data == source
    assert again[0].id == again[1].id


# ---------------------------------------------------------------- custom runtimes


def test_a_runtime_is_built_of_requirements_and_found_again(
    google_cloud: Google, configure: Configure, key: Path, tmp_path: Path
) -> None:
    assert importlib.util.find_spec("numpy")
    file = tmp_path / "requirements.txt"
    file.write_text("# for sums\nnumpy>=1.20\n")
    builder = backend(key)
    assert "runtime sums" in builder.build("sums", file)
    assert google_cloud.functions.created == 1
    builder.close()

    def total(count: int) -> float:
        import numpy

        return float(numpy.arange(count).sum())

    with FunctionExecutor(config=configure({"runtime": "sums", "max_workers": 4})) as executor:
        executor.call_async(total, 5)
        assert executor.get_result(timeout=60) == 10.0
        assert google_cloud.functions.created == 1
        executor.call_async(total, 4, runtime_memory=512)
        assert executor.get_result(timeout=60) == 6.0
    assert google_cloud.functions.created == 2
    last = google_cloud.shown()[-1]["serviceConfig"]
    assert last["environmentVariables"]["LITHOPS_REQUIREMENTS"] == file.read_text()


def test_what_cannot_be_built_says_why(google_cloud: Google, key: Path, tmp_path: Path) -> None:
    builder = backend(key)
    file = tmp_path / "requirements.txt"
    file.write_text("no-such-package==1\n")
    with pytest.raises(ComputeError, match="No matching distribution found for no-such-package==1"):
        builder.build("broken", file)
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("FROM python:3.11\n")
    with pytest.raises(ComputeError, match=r"takes no image.*requirements\.txt"):
        builder.build("image", dockerfile)
    with pytest.raises(ComputeError, match="another name"):
        builder.build("python311", file)
    # What failed is in nobody's way.
    file.write_text("numpy\n")
    builder.build("broken", file)
    builder.close()


def test_a_function_that_cannot_start_quotes_its_log(
    google_cloud: Google, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "_MAIN", b"import no_such_module\n")
    made = backend(key, namespace="broken")
    with pytest.raises(ComputeError, match=r"(?s)Healthcheck failed.*No module named 'no_such_module'"):
        made.deploy("", 0, 0)
    made.close()


def test_runtimes_of_another_python_are_refused_before_the_first_call(
    google_cloud: Google, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backend(key)
    with pytest.raises(ComputeError, match="python39 is another Python"):
        made.deploy("python39", 0, 0)
    with pytest.raises(
        ComputeError, match=r"lithops runtime build -b gcp_functions -f requirements\.txt missing"
    ):
        made.deploy("missing", 0, 0)
    file = tmp_path / "requirements.txt"
    file.write_text("")
    made.build("mine", file)
    made.close()
    monkeypatch.setattr(sys, "version_info", (3, 13))
    later = backend(key)
    with pytest.raises(
        ComputeError, match=r"is for Python 3\.\d+, and this program runs on 3\.13; .*runtime build"
    ):
        later.deploy("mine", 0, 0)
    monkeypatch.setattr(sys, "version_info", (3, 4))
    with pytest.raises(ComputeError, match=r"has no Python 3\.4"):
        later.deploy("", 0, 0)
    later.close()


# ---------------------------------------------------------------- what travels, and what is said


def test_no_secret_travels(google_cloud: Google, configure: Configure, key: Path, fake_gcs: FakeGcs) -> None:
    google_cloud.bodies.clear()
    with FunctionExecutor(config=configure()) as executor:
        executor.map(lambda number, storage: storage.put_cloudobject(b"x") and number, range(3))
        executor.get_result(timeout=60)
        storage = executor.storage
        stored = [storage.get_object(storage.bucket, name) for name in storage.list_keys(storage.bucket)]
    secret = json.loads(key.read_text())["private_key"].splitlines()[1].encode()
    sent = [body for body in google_cloud.bodies if not body.startswith((b"assertion=", b"grant_type="))]
    assert len(sent) > 5
    for body in [*sent, *stored]:
        whole = body + (b"" if not body.startswith(b"PK") else b"".join(_unzipped(body)))
        assert secret not in whole
        assert str(key).encode() not in whole
        assert b"ya29." not in whole


def _unzipped(body: bytes) -> list[bytes]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return [archive.read(name) for name in archive.namelist()]


def test_the_doctor_finds_what_is_wrong(google_cloud: Google, key: Path, tmp_path: Path) -> None:
    good = backend(key)
    assert [(each.what, each.ok) for each in good.diagnose()] == [
        ("identity", True), ("region", True), ("functions", True), ("logs", True)
    ]  # fmt: skip
    good.close()
    poor = backend(google_cloud.account("patient", []))
    findings = {each.what: each for each in poor.diagnose()}
    assert [each.ok for each in findings.values()] == [True, False, False, False]
    assert "logging.logEntries.list" in findings["logs"].says
    poor.close()
    (missing,) = backend(tmp_path / "nothing.json").diagnose()
    assert not missing.ok
    assert "credentials_path" in missing.says
    roles = good.policy()
    assert "run.services.setIamPolicy" in roles["client"]["includedPermissions"]
    assert json.dumps(roles)


def test_prices_grow_with_memory_and_by_region(key: Path) -> None:
    made = backend(key)
    info = RuntimeInfo(OWN, 2048, "3.11")
    prices = made.prices(info)
    assert prices.second == pytest.approx(0.000024 + 2 * 0.0000025)
    assert prices.activation == pytest.approx(0.4e-6)
    dear = backend(key, region="southamerica-east1").prices(info)
    assert dear.second == pytest.approx(1.4 * prices.second)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", prices.as_of)

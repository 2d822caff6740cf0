"""The stand-in for Azure enforces what it says it does: seen through the real SDK, as the backend sees it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure_app import FunctionApp
from azure_fixtures import Call, Manager, azure, call, calm, manager, package
from azure_service import Azure
from azure_world import BLOB_OWNER, GROUP

__all__ = ["azure", "call", "calm", "manager"]

Eventually = Callable[..., None]

_HTTP = """
import azure.functions as func, json, os, sys, time

app = func.FunctionApp()
_calls = []

@app.route(route="go", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
def go(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    _calls.append(1)
    body = req.get_body().decode()
    if body.startswith("sleep "):
        time.sleep(float(body.split()[1]))
    if body.startswith("eat "):
        eaten = bytearray(int(body.split()[1]) * 1000000)
        eaten[::1000] = bytes([1]) * len(eaten[::1000])
        time.sleep(5)
    if body == "raise":
        raise ValueError("on purpose")
    if body == "exit":
        os._exit(3)
    if body == "import":
        import lithops
    told = {"pid": os.getpid(), "calls": len(_calls), "setting": os.environ.get("SETTING"), "path": sys.path}
    return func.HttpResponse(json.dumps({**told, "id": context.invocation_id}), status_code=201)
"""


@pytest.fixture(scope="module")
def http_app(manager: Manager) -> FunctionApp:
    app = manager.app("http-app", settings={"SETTING": "here"})
    assert manager.publish(app, _HTTP)["status"] == 4
    return app


# ---------------------------------------------------------------- the resource manager


def test_who_has_no_token_is_refused(azure: Azure) -> None:
    answer = requests.get(f"{azure.url}/subscriptions/x?api-version=2025-05-01", timeout=10)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "AuthenticationFailed")


def test_a_token_is_good_for_its_audience_alone(azure: Azure, manager: Manager) -> None:
    token = manager.credential.get_token("https://storage.azure.com/.default").token
    url = f"{azure.url}/subscriptions/x?api-version=2025-05-01"
    answer = requests.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert answer.json()["error"]["code"] == "InvalidAuthenticationTokenAudience"


def test_what_is_not_there_is_not_found(manager: Manager) -> None:
    with pytest.raises(ResourceNotFoundError, match="missing"):
        manager.web.web_apps.get(GROUP, "missing")
    with pytest.raises(ResourceNotFoundError):
        manager.web.web_apps.get("another-group", "missing")


def test_operations_take_a_while_and_the_sdk_waits(azure: Azure, manager: Manager) -> None:
    azure.rules.operation_s = 0.3
    started = time.monotonic()
    manager.make_plan("slow")
    assert time.monotonic() - started > 0.3
    manager.web.app_service_plans.delete(GROUP, "slow")


def test_a_plan_is_of_flex_consumption(manager: Manager) -> None:
    with pytest.raises(HttpResponseError, match="sku"):
        manager.make_plan("dear", sku={"name": "EP1", "tier": "ElasticPremium"})
    with pytest.raises(HttpResponseError, match="reserved"):
        manager.make_plan("windows", properties={"reserved": False})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"memory_mb": 1536}, "instanceMemoryMB"),
        ({"instances": 39}, "maximumInstanceCount"),
        ({"instances": 1001}, "maximumInstanceCount"),
        ({"python": "3.8"}, "runtime"),
        ({"settings": {"FUNCTIONS_WORKER_RUNTIME": "python"}}, "FUNCTIONS_WORKER_RUNTIME"),
        ({"settings": {"SCM_DO_BUILD_DURING_DEPLOYMENT": "1"}}, "SCM_DO_BUILD"),
    ],
)
def test_a_function_app_is_as_flex_consumption_has_them(
    manager: Manager, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(HttpResponseError, match=complaint):
        manager.make_site("refused", **changes)


def test_a_plan_with_an_app_stays(manager: Manager, http_app: FunctionApp) -> None:
    with pytest.raises(HttpResponseError, match="cannot be deleted"):
        manager.web.app_service_plans.delete(GROUP, http_app.name)


# ---------------------------------------------------------------- packages


def test_a_package_is_built_with_its_requirements(manager: Manager) -> None:
    app = manager.app("built")
    deployment = manager.publish(app, _HTTP, requirements="azure-storage-blob>=12 # objects\n\n")
    assert deployment["status"] == 4
    assert "Collecting azure-storage-blob" in deployment["log"]
    assert "Collecting azure-core" in deployment["log"]
    assert len(app.functions) == 1


@pytest.mark.parametrize(
    ("requirements", "complaint"),
    [
        ("no-such-package", "No matching distribution found for no-such-package"),
        ("azure-storage-blob<1", "from versions: 12"),
        ("== what", "Invalid requirement"),
    ],
)
def test_a_requirement_that_is_not_there_fails_the_build(
    manager: Manager, requirements: str, complaint: str
) -> None:
    deployment = manager.publish(manager.app("unbuilt"), _HTTP, requirements=requirements)
    assert deployment["status"] == 3
    assert complaint in deployment["log"]


def test_a_package_needs_a_role_for_its_storage_which_takes_a_while_to_be_known(
    azure: Azure, manager: Manager
) -> None:
    app = manager.app("unable", roles=())
    assert "AuthorizationPermissionMismatch" in manager.publish(app, _HTTP)["log"]
    azure.rules.roles_s = 60.0
    azure.world.roles[app.principal, BLOB_OWNER] = time.monotonic()
    assert manager.publish(app, _HTTP)["status"] == 3
    azure.rules.roles_s = 0.0
    assert manager.publish(app, _HTTP)["status"] == 4


def test_a_package_comes_as_a_zip_from_somebody_known(manager: Manager, http_app: FunctionApp) -> None:
    data = package(_HTTP)
    assert manager.send(http_app, data, **{"Content-Type": "application/octet-stream"}).status_code == 415
    assert manager.send(http_app, data, Authorization="Bearer other").status_code == 401


def test_an_app_that_cannot_be_imported_has_no_functions(azure: Azure, manager: Manager, call: Call) -> None:
    app = manager.app("broken")
    assert manager.publish(app, "import not_there\n")["status"] == 4
    assert call(app).status_code == 404
    said = [each["outerMessage"] for each in azure.world.telemetry.records("exceptions")]
    assert any("not_there" in words for words in said)


# ---------------------------------------------------------------- requests


def test_a_function_needs_its_key(http_app: FunctionApp, call: Call) -> None:
    assert call(http_app).status_code == 201
    assert call(http_app, key="wrong").status_code == 401
    assert call(http_app, key="").status_code == 401
    assert call(http_app, route="other").status_code == 404


def test_instances_stay_warm_and_have_what_was_set(http_app: FunctionApp, call: Call) -> None:
    first, second = call(http_app).json(), call(http_app).json()
    assert (first["pid"], first["calls"] + 1) == (second["pid"], second["calls"])
    assert first["setting"] == "here"


def test_lithops_is_not_installed_in_an_instance(azure: Azure, http_app: FunctionApp, call: Call) -> None:
    assert call(http_app, "import").status_code == 500
    last = azure.world.telemetry.records("exceptions")[-1]
    assert "No module named 'lithops'" in last["innermostMessage"]
    assert not any("site-packages" in path for path in call(http_app).json()["path"][2:])


def test_an_instance_takes_one_request_at_a_time(http_app: FunctionApp, call: Call) -> None:
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: call(http_app, "sleep 0.5").json(), range(3)))
    assert len({each["pid"] for each in answers}) == 3


def test_there_are_no_more_instances_than_allowed(azure: Azure, http_app: FunctionApp, call: Call) -> None:
    azure.rules.instances = 2
    http_app.recycle()
    with ThreadPoolExecutor(5) as pool:
        statuses = list(pool.map(lambda _: call(http_app, "sleep 0.5", route="go").status_code, range(5)))
    assert statuses.count(201) <= 2
    assert statuses.count(429) >= 3


def test_the_gateway_gives_up_and_the_function_goes_on(
    azure: Azure, http_app: FunctionApp, call: Call, eventually: Eventually
) -> None:
    call(http_app)
    azure.rules.gateway_s = 0.3
    assert call(http_app, "sleep 0.8").status_code == 504

    def succeeded() -> bool:
        last = azure.world.telemetry.records("requests")[-1]
        return bool(last["success"] == "True" and last["duration"] >= 800)

    eventually(succeeded)


def test_requests_may_not_be_too_large(azure: Azure, http_app: FunctionApp, call: Call) -> None:
    azure.rules.body_bytes = 1000
    assert call(http_app, b"x" * 1001).status_code == 413


def test_an_exception_is_an_error_and_recorded(azure: Azure, http_app: FunctionApp, call: Call) -> None:
    assert call(http_app, "raise").status_code == 500
    last = azure.world.telemetry.records("exceptions")[-1]
    assert last["innermostMessage"] == "ValueError: on purpose"
    assert call(http_app).status_code == 201


def test_a_process_that_exits_is_replaced(azure: Azure, http_app: FunctionApp, call: Call) -> None:
    before = call(http_app).json()["pid"]
    assert call(http_app, "exit").status_code == 500
    assert (
        azure.world.telemetry.records("exceptions")[-1]["innermostMessage"]
        == "python exited with code 3 (0x3)"
    )
    assert call(http_app).json()["pid"] != before


def test_an_instance_that_needs_too_much_memory_is_killed(
    azure: Azure, http_app: FunctionApp, call: Call
) -> None:
    azure.rules.memory_scale = 0.1
    http_app.recycle()
    assert call(http_app, "eat 20").status_code == 201
    assert call(http_app, "eat 400").status_code == 502
    assert "code 137" in azure.world.telemetry.records("exceptions")[-1]["innermostMessage"]
    http_app.recycle()


def test_the_timeout_of_functions_ends_them(azure: Azure, manager: Manager, call: Call) -> None:
    app = manager.app("short")
    manager.publish(app, _HTTP, functionTimeout="00:00:01")
    started = time.monotonic()
    assert call(app, "sleep 30").status_code == 500
    assert time.monotonic() - started < 10
    last = azure.world.telemetry.records("exceptions")[-1]
    assert last["innermostMessage"] == "Timeout value of 00:00:01 was exceeded by function: Functions.go"


def test_a_storm_refuses_most_requests(azure: Azure, http_app: FunctionApp, call: Call) -> None:
    azure.faults.start_storm(60)
    statuses = [call(http_app).status_code for _ in range(60)]
    assert {201, 429, 503} == set(statuses)
    assert statuses.count(201) < 20
    azure.faults.start_storm(0)
    assert call(http_app).status_code == 201


def test_a_response_may_get_lost(azure: Azure, http_app: FunctionApp, call: Call) -> None:
    azure.faults.lost_responses = 1
    with pytest.raises(requests.ConnectionError):
        call(http_app)
    assert call(http_app).status_code == 201


# ---------------------------------------------------------------- identities and records


def test_an_identity_without_a_role_gets_no_token_for_the_storage(azure: Azure) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in azure.world.identities.variables("nobody").items():
            patch.setenv(name, value)
        with DefaultAzureCredential() as credential:
            assert credential.get_token(f"{azure.url}/.default").token
            with pytest.raises(Exception, match="Token request error"):
                credential.get_token("https://storage.azure.com/.default")


def _ask(azure: Azure, manager: Manager, query: str) -> requests.Response:
    azure.resources.components["records"] = {"properties": {"AppId": "app-id"}}
    url = f"{azure.url}/v1/apps/app-id/query"
    return requests.post(url, json={"query": query}, headers=manager.bearer(), timeout=10)


def test_records_are_found_by_a_query_when_they_are_old_enough(
    azure: Azure, manager: Manager, http_app: FunctionApp, call: Call
) -> None:
    call(http_app, "raise")
    operation = azure.world.telemetry.records("exceptions")[-1]["operation_Id"]
    query = (
        f'union exceptions, traces | where operation_Id in ("{operation}") | where timestamp > ago(1h) '
        '| where message has "executed" | project operation_Id, message | take 5'
    )
    ((found, message),) = _ask(azure, manager, query).json()["tables"][0]["rows"]
    assert found == operation
    assert "Failed" in message
    azure.world.telemetry.lag_s = 60.0
    assert _ask(azure, manager, query).json()["tables"][0]["rows"] == []


@pytest.mark.parametrize(
    "query",
    ["secrets", "traces | where nothing", 'traces | where wrong == "x"', "traces | summarize count()"],
)
def test_a_query_with_a_mistake_is_refused(azure: Azure, manager: Manager, query: str) -> None:
    assert _ask(azure, manager, query).status_code == 400


def test_records_are_not_for_everybody(azure: Azure) -> None:
    azure.resources.components["records"] = {"properties": {"AppId": "app-id"}}
    answer = requests.post(f"{azure.url}/v1/apps/app-id/query", json={"query": "traces"}, timeout=10)
    assert answer.status_code == 401


def test_nothing_is_left_of_an_app_that_was_deleted(manager: Manager, call: Call) -> None:
    app = manager.app("gone")
    manager.publish(app, _HTTP)
    pid = call(app).json()["pid"]
    manager.web.web_apps.delete(GROUP, app.name)
    assert not os.path.exists(f"/proc/{pid}")
    # A connection that is open, and a new one.
    assert call(app).status_code == 404
    with pytest.raises(requests.ConnectionError):
        requests.post(app.front.url, timeout=10)

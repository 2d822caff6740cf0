"""The stand-in for Google Cloud enforces what the cloud enforces: seen through Google's own libraries."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from google.api_core.exceptions import (
    BadRequest,
    Conflict,
    Forbidden,
    GoogleAPICallError,
    NotFound,
    Unauthorized,
)
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import Request as AuthRequest
from google.cloud import functions_v2
from google.oauth2 import service_account
from google_client import PARENT, SCOPES, Client
from google_fixtures import PERMISSIONS
from google_fixtures import google_cloud as google_cloud
from google_fixtures import key as key
from google_identity import PROJECT, WORKER
from google_stand_in import Google

Eventually = Callable[..., None]


@pytest.fixture(scope="module")
def client(google_cloud: Google, key: Path) -> Client:
    return Client(google_cloud, key)


@pytest.fixture(scope="module")
def function(client: Client) -> functions_v2.Function:
    made = client.deploy("plain")
    client.allow(made, "serviceAccount:client@project.iam.gserviceaccount.com")
    return made


@pytest.fixture
def said(google_cloud: Google) -> Callable[[str], list[str]]:
    """What the logs say that was not there before."""
    before = len(google_cloud.logs.entries())

    def texts(name: str) -> list[str]:
        new = google_cloud.logs.entries()[before:]
        return [entry.get("textPayload", "") for entry in new if entry["logName"].endswith(name)]

    return texts


# ---------------------------------------------------------------- identity


def test_a_forged_key_gets_no_token(google_cloud: Google, key: Path, tmp_path: Path) -> None:
    stranger = json.loads(google_cloud.account("stranger", []).read_text())
    forged = {**json.loads(key.read_text()), "private_key": stranger["private_key"]}
    credentials: Any = service_account.Credentials.from_service_account_info(forged, scopes=SCOPES)  # type: ignore[no-untyped-call]
    with pytest.raises(RefreshError, match="invalid_grant"):
        credentials.refresh(AuthRequest())
    path = tmp_path / "forged.json"
    path.write_text(json.dumps(forged))
    with pytest.raises(Unauthorized):
        Client(google_cloud, path).functions.get_function(request={"name": f"{PARENT}/functions/plain"})


def test_each_right_is_asked_for(google_cloud: Google, function: functions_v2.Function) -> None:
    poor = Client(google_cloud, google_cloud.account("poor", []))
    with pytest.raises(Forbidden, match=r"cloudfunctions\.functions\.get"):
        poor.functions.get_function(request={"name": function.name})
    with pytest.raises(Forbidden, match=r"cloudfunctions\.functions\.list"):
        list(poor.functions.list_functions(request={"parent": PARENT}))
    half = Client(google_cloud, google_cloud.account("half", {*PERMISSIONS} - {"iam.serviceAccounts.actAs"}))
    with pytest.raises(Forbidden, match="actAs"):
        half.deploy("half")
    for path in ("v1/projects/project/topics/t", "v2/entries:list"):
        method = poor.session.put if path.startswith("v1") else poor.session.post
        answer = method(f"{google_cloud.endpoint}/{path}", json={"resourceNames": ["projects/project"]})
        assert answer.status_code == 403


def test_only_invited_callers_with_a_token_for_this_function_may_call(
    google_cloud: Google, client: Client, function: functions_v2.Function
) -> None:
    url = function.service_config.uri
    assert client.call(function, what="echo").status_code == 200
    assert requests.post(url, json={}, timeout=10).status_code == 403
    for token in ("nonsense", client.token("https://another.a.run.app")):
        headers = {"Authorization": f"Bearer {token}"}
        assert requests.post(url, json={}, headers=headers, timeout=10).status_code == 401
    stranger = Client(google_cloud, google_cloud.account("uninvited", PERMISSIONS))
    assert stranger.call(function, what="echo").status_code == 403


def test_functions_have_an_identity_of_their_own(client: Client, function: functions_v2.Function) -> None:
    assert client.call(function, what="identity").json() == [WORKER, PROJECT]


# ---------------------------------------------------------------- the control plane


def test_functions_are_made_listed_and_removed(client: Client) -> None:
    made = client.deploy("passing", available_memory="1Gi")
    assert made.state == functions_v2.Function.State.ACTIVE
    assert made.service_config.available_cpu == "0.583"
    with pytest.raises(Conflict):
        client.deploy("passing")
    names = [
        each.name for each in client.functions.list_functions(request={"parent": PARENT, "page_size": 1})
    ]
    assert made.name in names
    removal: Any = client.functions.delete_function(request={"name": made.name})
    removal.result(timeout=20)
    with pytest.raises(NotFound):
        client.functions.get_function(request={"name": made.name})
    assert client.call(made, what="echo").status_code == 404


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "Upper"}, "name"),
        ({"available_memory": "64Mi"}, "memory"),
        ({"available_memory": "40Gi"}, "memory"),
        ({"timeout_seconds": 3601}, "3600"),
        ({"max_instance_request_concurrency": 2, "available_cpu": "0.5"}, "concurrency"),
        ({"available_memory": "2Gi", "available_cpu": "0.333"}, "CPU cannot have"),
        ({"max_instance_count": 500, "available_memory": "2Gi"}, "200 or fewer"),
        ({"environment_variables": {"K_SERVICE": "x"}}, "reserved"),
        ({"labels": {"Upper": "x"}}, "Label"),
        ({"runtime": "python27"}, "python27"),
        ({"service_account_email": "nobody@project.iam.gserviceaccount.com"}, "does not exist"),
    ],
)
def test_wrong_settings_are_refused(client: Client, options: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        client.deploy(**{"name": "wrong", **options})


def test_events_have_less_time(client: Client) -> None:
    trigger = {
        "event_type": "google.cloud.pubsub.topic.v1.messagePublished",
        "pubsub_topic": f"projects/{PROJECT}/topics/late",
    }
    with pytest.raises(BadRequest, match="540"):
        client.deploy("late", trigger=trigger, timeout_seconds=600)


def test_a_requirement_that_is_not_there_fails_the_build(client: Client, google_cloud: Google) -> None:
    with pytest.raises(GoogleAPICallError, match="Build failed"):
        client.deploy("unbuilt", {"requirements.txt": "no-such-package==1\n"})
    build = google_cloud.logs.entries('resource.type="build"')
    assert any(
        "No matching distribution found for no-such-package==1" in each["textPayload"] for each in build
    )


def test_a_function_that_does_not_start_is_not_deployed(
    client: Client, said: Callable[[str], list[str]]
) -> None:
    with pytest.raises(GoogleAPICallError, match="Healthcheck failed"):
        client.deploy("unstarted", {"main.py": "import no_such_module"})
    assert "ModuleNotFoundError: No module named 'no_such_module'" in said("stderr")


# ---------------------------------------------------------------- running


def test_source_and_requirements_are_all_that_a_function_finds(
    client: Client, function: functions_v2.Function
) -> None:
    found = {
        name: client.call(function, what="import", module=name).text
        for name in ("google.auth", "flask", "lithops", "numpy", "google.cloud.storage", "pytest")
    }
    assert found.pop("google.auth") == found.pop("flask") == "found"
    assert all("No module named" in text for text in found.values())


def test_the_environment_is_the_clouds(client: Client, function: functions_v2.Function) -> None:
    variables = client.call(function, what="environment").json()
    assert variables["K_SERVICE"] == "plain"
    assert variables["FUNCTION_TARGET"] == "serve"
    assert not {"GOOGLE_APPLICATION_CREDENTIALS", "PYTHONPATH", "VIRTUAL_ENV"} & variables.keys()


def test_instances_stay_warm_and_are_no_more_than_allowed(
    client: Client, google_cloud: Google, function: functions_v2.Function
) -> None:
    first = int(client.call(function, what="count").text)
    assert int(client.call(function, what="count").text) == first + 1
    service = google_cloud.run.services["plain"]
    service.most_busy = 0
    with ThreadPoolExecutor(6) as pool:
        answers = [*pool.map(lambda _: client.call(function, what="sleep", s=2.5).status_code, range(6))]
    assert service.most_busy == 2
    # Those who wait too long for one of them are refused.
    assert sorted(answers) == [200, 200, 429, 429, 429, 429]


def test_memory_has_a_limit_that_kills(
    client: Client, function: functions_v2.Function, said: Callable[[str], list[str]]
) -> None:
    for what in ("eat", "fill"):
        assert client.call(function, what=what).status_code == 503
    assert [text[:31] for text in said("varlog%2Fsystem")] == ["Memory limit of 256 MiB exceede"] * 2
    assert client.call(function, what="echo").status_code == 200


def test_time_has_a_limit(client: Client, said: Callable[[str], list[str]]) -> None:
    made = client.deploy("hasty", timeout_seconds=1)
    client.allow(made, "serviceAccount:client@project.iam.gserviceaccount.com")
    assert client.call(made, what="sleep", s=30).status_code == 504
    assert "maximum request timeout" in " ".join(said("requests"))


def test_an_instance_that_dies_costs_its_request(
    client: Client,
    google_cloud: Google,
    function: functions_v2.Function,
    said: Callable[[str], list[str]],
    eventually: Eventually,
) -> None:
    assert client.call(function, what="exit").status_code == 503
    assert "the last words" in said("stderr")
    assert "connection to the instance had an error" in " ".join(said("requests"))
    assert client.call(function, what="raise").status_code == 500
    # The instance lives on, and its output comes through a pipe that nobody waits for.
    eventually(lambda: "ValueError: of no use" in said("stderr"))
    google_cloud.kill_instances()
    assert client.call(function, what="echo").status_code == 200


def test_requests_and_responses_have_a_largest_size(client: Client, function: functions_v2.Function) -> None:
    assert client.call(function, what="large", bytes=20 << 20).status_code == 200
    assert client.call(function, what="large", bytes=33 << 20).status_code == 500
    assert client.call(function, what="echo", padding="x" * (33 << 20)).status_code == 413


def test_a_storm_spares_some(client: Client, google_cloud: Google, function: functions_v2.Function) -> None:
    storms = google_cloud.storm(429, for_s=60, spares=4)
    try:
        answers = [client.call(function, what="echo").status_code for _ in range(8)]
    finally:
        google_cloud.calm()
    assert answers.count(200) == 2
    assert sum(storm.refused for storm in storms) == 6


# ---------------------------------------------------------------- logs and events


def test_logs_are_found_by_trace_and_instance(
    client: Client, google_cloud: Google, function: functions_v2.Function
) -> None:
    trace = "ab" * 16
    whole = f"projects/{PROJECT}/traces/{trace}"
    url = function.service_config.uri
    headers = {"Authorization": f"Bearer {client.token(url)}", "Traceparent": f"00-{trace}-{trace[:16]}-00"}
    assert trace in requests.post(url, json={"what": "echo"}, headers=headers, timeout=20).json()["trace"]
    asked = {
        "resourceNames": [f"projects/{PROJECT}"],
        "filter": f'resource.type="cloud_run_revision" AND (trace="{whole}" OR severity>=ALERT)',
    }
    google_cloud.logs.delay_s, before = 0.0, google_cloud.logs.delay_s
    try:
        requests.post(url, json={"what": "echo"}, headers=headers, timeout=20)
        found = client.session.post(f"{google_cloud.endpoint}/v2/entries:list", json=asked).json()["entries"]
    finally:
        google_cloud.logs.delay_s = before
    assert {entry["httpRequest"]["status"] for entry in found} == {200}
    assert all(entry["labels"]["instanceId"] for entry in found)


def test_logs_may_be_read_so_often(client: Client, google_cloud: Google) -> None:
    asked = {"resourceNames": [f"projects/{PROJECT}"], "filter": "severity>=ALERT"}
    google_cloud.logs.reads_per_minute = 1
    try:
        answers = [
            client.session.post(f"{google_cloud.endpoint}/v2/entries:list", json=asked) for _ in range(2)
        ]
    finally:
        google_cloud.logs.reads_per_minute = 60
    assert answers[1].status_code == 429


@pytest.mark.parametrize("retries", [False, True])
def test_events_are_pushed_and_brought_again_where_the_trigger_says_so(
    client: Client, google_cloud: Google, retries: bool, said: Callable[[str], list[str]]
) -> None:
    name = f"events-{retries}".lower()
    topic = f"projects/{PROJECT}/topics/{name}"
    url = f"{google_cloud.endpoint}/v1/{topic}"
    assert client.session.post(f"{url}:publish", json={"messages": [{"data": ""}]}).status_code == 404
    assert client.session.put(url, json={}).status_code == 200
    assert client.session.put(url, json={}).status_code == 409
    policies = functions_v2.EventTrigger.RetryPolicy
    made = client.deploy(
        name,
        {"main.py": _EVENTS},
        trigger={
            "event_type": "google.cloud.pubsub.topic.v1.messagePublished",
            "pubsub_topic": topic,
            "retry_policy": policies.RETRY_POLICY_RETRY if retries else policies.RETRY_POLICY_DO_NOT_RETRY,
        },
        max_instance_count=1,
    )
    client.allow(made, f"serviceAccount:{WORKER}")
    google_cloud.pubsub.duplicate_every = 0
    answer = client.session.post(f"{url}:publish", json={"messages": [{"data": "YQ=="}, {"data": "Yg=="}]})
    assert len(answer.json()["messageIds"]) == 2
    twice = 2 if retries else 1
    expected = ["got YQ=="] * twice + ["got Yg=="] * twice
    until = time.monotonic() + 40
    while sorted(line for line in said("stdout") if line.startswith("got")) != expected:
        assert time.monotonic() < until
        time.sleep(0.02)


_EVENTS = """
import functions_framework

seen = set()

@functions_framework.cloud_event
def serve(event):
    data = event.data["message"]["data"]
    print("got", data, flush=True)
    if data not in seen:
        seen.add(data)
        raise ValueError("of the first time")
"""

"""What a user of Google's own libraries does: deploys functions to the stand-in, and calls them."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import requests
from google.auth.transport.requests import AuthorizedSession
from google.auth.transport.requests import Request as AuthRequest
from google.cloud import functions_v2
from google.oauth2 import service_account
from google_fixtures import REGION
from google_identity import PROJECT
from google_stand_in import Google

PARENT = f"projects/{PROJECT}/locations/{REGION}"
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
_SOURCE = """
import functions_framework, json, os, signal, sys, time

@functions_framework.http
def serve(request):
    order = json.loads(request.get_data())
    what = order["what"]
    if what == "event":
        what = "echo"
    if what == "exit":
        print("the last words", file=sys.stderr, flush=True)
        os.kill(os.getppid(), signal.SIGKILL)
        os._exit(3)
    if what == "eat":
        hog = b"x" * (400 << 20)
    if what == "fill":
        with open(os.path.join(os.environ["TMPDIR"], "file"), "wb") as file:
            file.write(bytes(300 << 20))
        time.sleep(5)
    if what == "sleep":
        time.sleep(order["s"])
    if what == "large":
        return b"x" * order["bytes"]
    if what == "raise":
        raise ValueError("of no use")
    if what == "environment":
        return dict(os.environ)
    if what == "import":
        try:
            __import__(order["module"])
        except ImportError as error:
            return str(error)
        return "found"
    if what == "identity":
        import google.auth, google.auth.transport.requests
        credentials, project = google.auth.default()
        credentials.refresh(google.auth.transport.requests.Request())
        return [credentials.service_account_email, project]
    if what == "count":
        counts = globals().setdefault("counts", [])
        counts.append(1)
        return str(len(counts))
    return {"said": order, "trace": request.headers.get("Traceparent")}
"""


def _zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


class Client:
    """What a user of Google's libraries has."""

    def __init__(self, google_cloud: Google, key: Path) -> None:
        self.endpoint = google_cloud.endpoint
        self.key = str(key)
        credentials: Any = service_account.Credentials.from_service_account_file(self.key, scopes=SCOPES)  # type: ignore[no-untyped-call]
        self.functions = functions_v2.FunctionServiceClient(
            credentials=credentials, transport="rest", client_options={"api_endpoint": google_cloud.endpoint}
        )
        self.session: Any = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]

    def deploy(
        self,
        name: str,
        files: dict[str, str] | None = None,
        trigger: dict[str, Any] | None = None,
        runtime: str = "",
        labels: dict[str, str] | None = None,
        **service: Any,
    ) -> functions_v2.Function:
        url = self.functions.generate_upload_url(request={"parent": PARENT})
        body = _zipped({"main.py": _SOURCE, "requirements.txt": "google-auth\nrequests\n", **(files or {})})
        put = requests.put(url.upload_url, body, headers={"Content-Type": "application/zip"}, timeout=10)
        assert put.status_code == 200
        python = "python{}{}".format(*sys.version_info)
        function: dict[str, Any] = {
            "name": f"{PARENT}/functions/{name}",
            "build_config": {
                "runtime": runtime or python,
                "entry_point": "serve",
                "source": {"storage_source": url.storage_source},
            },
            "service_config": {
                "available_memory": "256Mi", "timeout_seconds": 20, "max_instance_count": 2, **service
            },
            "labels": labels or {},
        }  # fmt: skip
        if trigger:
            function["event_trigger"] = trigger
        operation: Any = self.functions.create_function(
            request={"parent": PARENT, "function": functions_v2.Function(function), "function_id": name}
        )
        looks = 0
        while not operation.done():
            looks += 1
        assert looks >= 1  # nothing is done at once
        made: functions_v2.Function = operation.result(timeout=1)
        return made

    def allow(self, function: functions_v2.Function, *members: str) -> None:
        service = function.service_config.service
        bindings = [{"role": "roles/run.invoker", "members": list(members)}]
        url = f"{self.endpoint}/v2/{service}:setIamPolicy"
        self.session.post(url, json={"policy": {"bindings": bindings}}).raise_for_status()

    def token(self, audience: str) -> str:
        identity: Any = service_account.IDTokenCredentials.from_service_account_file(  # type: ignore[no-untyped-call]
            self.key, target_audience=audience
        )
        identity.refresh(AuthRequest())
        return str(identity.token)

    def call(self, function: functions_v2.Function, **order: Any) -> requests.Response:
        url = function.service_config.uri
        headers = {"Authorization": f"Bearer {self.token(url)}"}
        return requests.post(url, json=order, headers=headers, timeout=60)

"""The SCM site of a function app of the flex consumption plan: takes a package, builds it, and tells how far it is."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient
from azure_app import FunctionApp
from azure_build import BuildFailed, build
from azure_http import Refused, Reply, Request, Server, json_reply
from azure_world import BLOB_OWNER

PENDING, BUILDING, FAILED, SUCCESS = 0, 1, 3, 4


class Deployments:
    """Answers `/api/publish` and `/api/deployments/...`."""

    def __init__(self, app: FunctionApp, container: str, published: Callable[[Path], None]) -> None:
        self._app = app
        self._container = container
        self._published = published
        self._deployments: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.packages: list[bytes] = []
        """Everything that was published."""
        self.site = Server(self._answer, app.world.certificate)

    def close(self) -> None:
        self.site.close()
        for thread in self._threads:
            thread.join()

    def _answer(self, request: Request) -> Reply:
        self._app.world.identities.principal_of(request, *self._app.world.audiences)
        parts = request.path.strip("/").split("/")
        if (request.method, parts) == ("POST", ["api", "publish"]):
            return self._publish(request)
        if request.method == "GET" and parts[:2] == ["api", "deployments"] and len(parts) in (3, 4, 5):
            return self._tell(parts[2], parts[3:])
        raise Refused(404, "NotFound", request.path)

    def _publish(self, request: Request) -> Reply:
        if request.headers.get("content-type") != "application/zip":
            return Reply(415)
        with self._lock:
            if any(each["status"] in (PENDING, BUILDING) for each in self._deployments.values()):
                return Reply(409, b"There is a deployment currently in progress.")
            deployment = {"id": str(uuid.uuid4()), "status": PENDING, "log": [], "complete": False}
            self._deployments[str(deployment["id"])] = deployment
            self.packages.append(request.body)
        remote = request.query.get("RemoteBuild", "").lower() == "true"
        thread = threading.Thread(
            target=self._deploy, args=(deployment, request.body, remote), daemon=True, name="azure-build"
        )
        self._threads.append(thread)
        thread.start()
        return json_reply(deployment["id"], 202)

    def _deploy(self, deployment: dict[str, Any], package: bytes, remote: bool) -> None:
        deployment["status"] = BUILDING
        folder = self._app.world.folder / "sites" / self._app.name / str(deployment["id"])
        folder.mkdir(parents=True)
        try:
            if not remote:
                raise BuildFailed(["The package has no .python_packages, and no remote build was asked for"])
            self._store(package)
            deployment["log"] = build(package, folder)
            self._published(folder)
            deployment["status"] = SUCCESS
        except BuildFailed as failed:
            deployment["log"] = failed.log
            deployment["status"] = FAILED
        deployment["complete"] = True

    def _store(self, package: bytes) -> None:
        world = self._app.world
        if not world.may(self._app.principal, BLOB_OWNER):
            words = "Failed to upload blob to storage account: AuthorizationPermissionMismatch"
            raise BuildFailed([f"InaccessibleStorageException: {words}"])
        account = world.azurite
        credential = {"account_name": account.account_name, "account_key": account.account_key}
        trusted = str(world.certificate.authority)
        with BlobServiceClient(account.endpoint, credential, connection_verify=trusted) as client:
            blob = client.get_blob_client(self._container, "released-package.zip")
            try:
                blob.upload_blob(package, overwrite=True)
            except ResourceNotFoundError:
                words = f"Failed to upload blob: the container '{self._container}' does not exist"
                raise BuildFailed([f"InaccessibleStorageException: {words}"]) from None

    def _tell(self, name: str, rest: list[str]) -> Reply:
        with self._lock:
            if name == "latest" and self._deployments:
                name = list(self._deployments)[-1]
            deployment = self._deployments.get(name)
        if deployment is None:
            raise Refused(404, "NotFound", f"there is no deployment {name}")
        entries = [
            {"log_time": _now(), "id": f"{number}", "message": line, "type": 2 if "ERROR" in line else 0}
            for number, line in enumerate(deployment["log"])
        ]
        if not rest:
            public = {key: deployment[key] for key in ("id", "status", "complete")}
            return json_reply({**public, "status_text": "", "progress": ""})
        if rest == ["log"]:
            # The lines of the build are one level below.
            details = f"{self.site.url}/api/deployments/{name}/log/build"
            first = {"log_time": _now(), "id": "build", "message": "Running oryx build...", "type": 0}
            return json_reply([{**first, "details_url": details}])
        return json_reply(entries)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()

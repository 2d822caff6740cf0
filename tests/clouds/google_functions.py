"""Cloud Functions' control plane, version 2: functions, uploads, long-running operations, as REST."""

from __future__ import annotations

import copy
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from google_build import BuildFailed, build
from google_checks import RUNTIMES, check, cpu_of, memory_mib_of
from google_identity import PROJECT, WORKER, Identities
from google_instances import Container, NotStarted
from google_logs import Logs
from google_pubsub import PubSub
from google_run import CloudRun, Service
from google_sources import BUCKET, Sources
from google_web import Answer, Refused, Request, as_json

_ANY = "type.googleapis.com/google.cloud.functions.v2."
_FUNCTIONS = re.compile(r"/v2/(projects/[^/]+/locations/([^/]+))/functions(?:/([^/:]+))?(?::(\w+))?")
_OPERATION = re.compile(r"/v2/(projects/[^/]+/locations/[^/]+/operations/[^/]+)")
_RUNTIMES = re.compile(r"/v2/(projects/[^/]+/locations/[^/]+)/runtimes")


@dataclass(slots=True)
class Operation:
    """What goes on in the background; pending for so many looks at least."""

    name: str
    metadata: dict[str, Any]
    looks: int
    thread: threading.Thread | None = None
    result: dict[str, Any] = field(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        pending = {"name": self.name, "metadata": self.metadata, "done": False}
        self.looks -= 1
        if self.looks >= 0 or self.thread is None or self.thread.is_alive():
            return pending
        return {**pending, "done": True, **self.result}


class CloudFunctions:
    """All functions of the project."""

    def __init__(
        self, folder: Path, logs: Logs, identities: Identities, run: CloudRun, pubsub: PubSub,
        sources: Sources, *, looks: int,
    ) -> None:  # fmt: skip
        self.functions: dict[str, dict[str, Any]] = {}
        self.uploads = sources
        self.environment: dict[str, str] = {}
        """Variables of every container, that stand for what only the cloud's own network has."""
        self.requests: list[str] = []
        """The method and path of each request to this API, in their order."""
        self.created = 0
        self._folder = folder
        self._logs = logs
        self._identities = identities
        self._run = run
        self._pubsub = pubsub
        self._looks = looks
        self._operations: dict[str, Operation] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        for operation in list(self._operations.values()):
            if operation.thread is not None:
                operation.thread.join()

    def upload(self, request: Request, base: str) -> Answer:
        """A signed URL: who has it may put, and only what the signature says."""
        if request.headers.get("Content-Type") != "application/zip" or request.headers.get("Authorization"):
            return Answer(403, b"<Code>SignatureDoesNotMatch</Code>")
        self.uploads[request.path.rpartition("/")[2]] = request.body
        return Answer()

    def api(self, request: Request, base: str) -> Answer:
        self.requests.append(f"{request.method} {request.path}")
        email = self._identities.who(request)
        operation = _OPERATION.fullmatch(request.path)
        if operation:
            self._identities.demand(email, "cloudfunctions.operations.get", operation[1])
            if operation[1] not in self._operations:
                raise Refused(404, f"Operation {operation[1]} not found")
            return as_json(self._operations[operation[1]].shown())
        if _RUNTIMES.fullmatch(request.path):
            self._identities.demand(email, "cloudfunctions.runtimes.list", request.path)
            shown = [{"name": name, "environment": "GEN_2", "stage": "GA"} for name in RUNTIMES]
            return as_json({"runtimes": shown})
        found = _FUNCTIONS.fullmatch(request.path)
        if found is None:
            raise Refused(404, f"Not found: {request.path}")
        parent, location, name, verb = found.groups()
        if not parent.startswith(f"projects/{PROJECT}/"):
            raise Refused(403, f"Permission denied on resource project {parent.split('/')[1]}.")
        resource = f"{parent}/functions/{name}" if name else parent
        if verb == "generateUploadUrl":
            self._identities.demand(email, "cloudfunctions.functions.sourceCodeSet", resource)
            token = os.urandom(12).hex()
            source = {"bucket": BUCKET, "object": f"{token}.zip"}
            return as_json({"uploadUrl": f"{base}/upload/{token}.zip", "storageSource": source})
        act = {
            ("GET", True): self._get,
            ("GET", False): self._list,
            ("POST", False): self._create,
            ("PATCH", True): self._update,
            ("DELETE", True): self._delete,
        }[request.method, name is not None]
        return act(request, email, resource, location, base)

    def _get(self, request: Request, email: str, resource: str, location: str, base: str) -> Answer:
        self._identities.demand(email, "cloudfunctions.functions.get", resource)
        return as_json(self._existing(resource))

    def _list(self, request: Request, email: str, resource: str, location: str, base: str) -> Answer:
        self._identities.demand(email, "cloudfunctions.functions.list", resource)
        all_of_them = sorted(name for name in self.functions if name.startswith(f"{resource}/"))
        start = int(request.query.get("pageToken") or 0)
        stop = start + int(request.query.get("pageSize") or 100)
        page: dict[str, Any] = {"functions": [self.functions[name] for name in all_of_them[start:stop]]}
        if stop < len(all_of_them):
            page["nextPageToken"] = str(stop)
        return as_json(page)

    def _create(self, request: Request, email: str, resource: str, location: str, base: str) -> Answer:
        self._identities.demand(email, "cloudfunctions.functions.create", resource)
        name = f"{resource}/functions/{request.query['functionId']}"
        with self._lock:
            if name in self.functions:
                raise Refused(
                    409,
                    f"Could not create Cloud Run functions {name}. A function with this name already exists",
                )
            function = self._accept(request.json(), name, email)
            self.functions[name] = function
        self.created += 1
        return self._deploy(name, location, base, "create")

    def _update(self, request: Request, email: str, resource: str, location: str, base: str) -> Answer:
        self._identities.demand(email, "cloudfunctions.functions.update", resource)
        self._existing(resource)
        function = self._accept(request.json(), resource, email)
        self.functions[resource] = function
        return self._deploy(resource, location, base, "update")

    def _delete(self, request: Request, email: str, resource: str, location: str, base: str) -> Answer:
        self._identities.demand(email, "cloudfunctions.functions.delete", resource)
        function = self._existing(resource)

        def act(operation: Operation) -> dict[str, Any]:
            service = resource.rpartition("/")[2]
            if service in self._run.services:
                self._run.remove(service)
            if "eventTrigger" in function:
                self._pubsub.unsubscribe(service)
            del self.functions[resource]
            return {"response": {"@type": "type.googleapis.com/google.protobuf.Empty"}}

        return self._start(resource, "delete", act)

    def _existing(self, resource: str) -> dict[str, Any]:
        if resource not in self.functions:
            raise Refused(404, f"Resource '{resource}' was not found")
        return self.functions[resource]

    def _accept(self, asked: dict[str, Any], name: str, email: str) -> dict[str, Any]:
        """The function as it will be shown. Raises `Refused` for what the cloud does not take."""
        function = copy.deepcopy(asked)
        function["name"] = name
        check(function, uploads=self.uploads)
        service = function["serviceConfig"]
        account = service.setdefault("serviceAccountEmail", WORKER)
        if account not in self._identities.permissions:
            raise Refused(400, f"Service account {account} does not exist.")
        self._identities.demand(email, "iam.serviceAccounts.actAs", account)
        service.setdefault("availableCpu", str(cpu_of(memory_mib_of(service["availableMemory"]))))
        function["state"] = "DEPLOYING"
        function["environment"] = "GEN_2"
        function["updateTime"] = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
        return function

    def _deploy(self, name: str, location: str, base: str, verb: str) -> Answer:
        def act(operation: Operation) -> dict[str, Any]:
            function = self.functions[name]
            try:
                service = self._service(function, location, base)
                self._run.put(service)
            except BuildFailed as failed:
                function["state"] = "FAILED"
                number = os.urandom(4).hex()
                operation.metadata["buildName"] = f"projects/123456/locations/{location}/builds/{number}"
                self._logs.write_build(number, str(failed))
                return _error(
                    "Build failed with status: FAILURE. For more details see the logs at https://console.cloud.google"
                    f".com/cloud-build/builds;region={location}/{number}?project=123456."
                )
            except NotStarted:
                function["state"] = "FAILED"
                return _error(
                    f"Could not create or update Cloud Run service {name.rpartition('/')[2]}, Container Healthcheck "
                    "failed. The user-provided container failed to start and listen on the port defined provided by "
                    "the PORT=8080 environment variable. Logs for this revision might contain more information."
                )
            trigger = function.get("eventTrigger")
            if trigger is not None:
                trigger.setdefault("serviceAccountEmail", WORKER)
                self._pubsub.subscribe(trigger["pubsubTopic"], service.name, trigger)
            function["state"] = "ACTIVE"
            function["url"] = function["serviceConfig"]["uri"] = service.url
            function["serviceConfig"]["revision"] = service.revision
            function["serviceConfig"]["service"] = (
                f"projects/{PROJECT}/locations/{location}/services/{service.name}"
            )
            return {"response": {"@type": f"{_ANY}Function", **function}}

        return self._start(name, verb, act)

    def _service(self, function: Mapping[str, Any], location: str, base: str) -> Service:
        name = function["name"].rpartition("/")[2]
        config, target = function["serviceConfig"], function["buildConfig"]
        image = build(
            self.uploads[target["source"]["storageSource"]["object"]],
            target["runtime"],
            self._folder / "builds",
        )
        revision = f"{name}-{os.urandom(3).hex()}"
        resource = {"service_name": name, "location": location, "revision_name": revision}
        timeout_s = config["timeoutSeconds"]
        environment = {
            "K_SERVICE": name,
            "K_REVISION": revision,
            "K_CONFIGURATION": name,
            "FUNCTION_TARGET": target["entryPoint"],
            "FUNCTION_SIGNATURE_TYPE": "cloudevent" if "eventTrigger" in function else "http",
            "CLOUD_RUN_TIMEOUT_SECONDS": str(timeout_s),
            **self.environment,
            **config.get("environmentVariables", {}),
        }

        def write_line(instance_id: str, stream: str, line: str) -> None:
            self._logs.write_line(stream, resource, {"instanceId": instance_id}, line)

        memory_mib = memory_mib_of(config["availableMemory"])
        container = Container(image.python, image.source, environment, memory_mib, write_line)
        return Service(
            name, location, f"{base}/run/{name}", container, revision, timeout_s,
            config.get("maxInstanceCount", 100), self._folder / "instances",
        )  # fmt: skip

    def _start(self, target: str, verb: str, act: Callable[[Operation], dict[str, Any]]) -> Answer:
        parent = target.partition("/functions/")[0]
        metadata = {
            "@type": f"{_ANY}OperationMetadata",
            "target": target,
            "verb": verb,
            "stages": [{"name": "BUILD", "state": "IN_PROGRESS", "message": "Build in progress"}],
        }
        operation = Operation(f"{parent}/operations/operation-{os.urandom(6).hex()}", metadata, self._looks)

        def work() -> None:
            operation.result = act(operation)

        operation.thread = threading.Thread(target=work)
        operation.thread.start()
        self._operations[operation.name] = operation
        return as_json({"name": operation.name, "metadata": metadata, "done": False})


def _error(message: str) -> dict[str, Any]:
    return {"error": {"code": 3, "message": message}}

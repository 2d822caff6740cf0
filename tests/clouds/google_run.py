"""Cloud Run's services: who may call, instances that are scaled out, time and size limits, and what is logged of it."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from google_identity import PROJECT, Identities
from google_instances import Container, Died, Instance, NotStarted, TookTooLong
from google_logs import Logs, stamp
from google_web import LARGEST_BYTES, Answer, Refused, Request, as_json

_TRACE = re.compile(r"(?:[0-9a-f]{2}-)?(?P<trace>[0-9a-f]{32})")
_DOCS = "https://cloud.google.com/run/docs"
_ABORTED = "The request was aborted because there was no available instance."
_MALFORMED = (
    "The request failed because either the HTTP response was malformed or connection to the instance had an error. "
    "Additional troubleshooting documentation can be found at: "
    f"{_DOCS}/troubleshooting#malformed-response-or-connection-error"
)
_TERMINATED = (
    "The request has been terminated because it has reached the maximum request timeout. To change this limit, see "
    f"{_DOCS}/configuring/request-timeout"
)
_TOO_LARGE = "Response size was too large. Please consider reducing response size."


@dataclass(slots=True)
class Storm:
    """Requests that are refused, whatever they are: every one but each `spares`-th, until `until`."""

    status: int
    spares: int
    until: float
    refused: int = 0
    seen: int = 0


@dataclass(slots=True)
class Service:
    """One service: its revision, its instances, and its policy."""

    name: str
    location: str
    url: str
    container: Container
    revision: str
    timeout_s: float
    max_instances: int
    folder: Path
    policy: dict[str, Any] = field(default_factory=lambda: {"etag": "ACAB", "bindings": []})
    idle: list[Instance] = field(default_factory=list)
    busy: list[Instance] = field(default_factory=list)
    starting: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)
    storm: Storm | None = None
    breaks: int = 0
    """So many of the next answers get lost on their way."""
    answered: int = 0
    most_busy: int = 0

    @property
    def resource(self) -> dict[str, str]:
        return {"service_name": self.name, "location": self.location, "revision_name": self.revision}


class CloudRun:
    """All services of the project."""

    def __init__(self, logs: Logs, identities: Identities, *, queue_s: float) -> None:
        self.services: dict[str, Service] = {}
        self._logs = logs
        self._identities = identities
        self._queue_s = queue_s

    def put(self, service: Service) -> None:
        """Start the revision's first instance, as the cloud does before it sends requests there."""
        self._start(service)
        before = self.services.get(service.name)
        if before is not None:
            service.policy = before.policy
            self._stop(before)
        self.services[service.name] = service

    def remove(self, name: str) -> None:
        self._stop(self.services.pop(name))

    def close(self) -> None:
        for name in list(self.services):
            self.remove(name)

    def api(self, request: Request) -> Answer:
        """Run's own REST, as far as it is about who may call."""
        found = re.fullmatch(r"/v2/(projects/[^/]+/locations/([^/]+)/services/([^/:]+)):(\w+)", request.path)
        service = self.services.get(found[3]) if found else None
        email = self._identities.who(request)
        if found is None or service is None:
            raise Refused(404, f"Resource '{request.path}' not found.")
        resource, verb = found[1], found[4]
        if verb == "testIamPermissions":
            wanted = request.json()["permissions"]
            held = self._identities.permissions.get(email, set())
            bound = {"run.routes.invoke"} if self._may_invoke(service, email) else set()
            return as_json({"permissions": [each for each in wanted if each in held | bound]})
        self._identities.demand(email, f"run.services.{verb}", resource)
        if verb == "setIamPolicy":
            policy = request.json()["policy"]
            if policy.get("etag", service.policy["etag"]) != service.policy["etag"]:
                raise Refused(409, "There were concurrent policy changes.", "ABORTED")
            service.policy = {**policy, "etag": os.urandom(6).hex()}
        return as_json(service.policy)

    def call(self, request: Request, name: str) -> Answer:
        """A request to a service's URL from outside: identity first."""
        service = self.services.get(name)
        if service is None:
            return Answer(404, b"<title>404 Page not found</title>")
        caller = self._identities.invoker(request, service.url)
        if caller is None:
            return Answer(
                401 if request.headers.get("Authorization") else 403, b"<title>not authenticated</title>"
            )
        if not self._may_invoke(service, caller):
            return Answer(
                403, b"<title>403 Forbidden</title> Your client does not have permission to get URL"
            )
        return self.pass_on(request, service)

    def push(self, request: Request, name: str, account: str, *, masked: bool) -> Answer:
        """An event, which Eventarc brings under a service account: that one has to be allowed to call, too.

        `masked`: failures of the function are logged as successes, as where events are not delivered again.
        """
        service = self.services.get(name)
        if service is None:
            return Answer(404)
        if not self._may_invoke(service, account):
            self._log(service, os.urandom(16).hex(), 403, "The request was not authenticated.")
            return Answer(403)
        return self.pass_on(request, service, masked=masked)

    def pass_on(self, request: Request, service: Service, *, masked: bool = False) -> Answer:
        """A request of somebody who may call: to an instance, when there is one."""
        began = datetime.now(timezone.utc)
        found = _TRACE.match(
            request.headers.get("Traceparent") or request.headers.get("X-Cloud-Trace-Context") or ""
        )
        trace = found["trace"] if found else os.urandom(16).hex()
        if found is None:
            request.headers["X-Cloud-Trace-Context"] = f"{trace}/1;o=1"
        storm = service.storm
        if storm is not None and time.monotonic() < storm.until:
            storm.seen += 1
            if not storm.spares or storm.seen % storm.spares:
                storm.refused += 1
                return self._refuse(service, trace, storm.status)
        try:
            with self._instance(service) as instance:
                return self._answer(request, service, instance, trace, began, masked=masked)
        except NotStarted:
            return self._refuse(service, trace, 503)
        except TimeoutError:
            return self._refuse(service, trace, 429)

    def _answer(
        self,
        request: Request,
        service: Service,
        instance: Instance,
        trace: str,
        began: datetime,
        *,
        masked: bool,
    ) -> Answer:
        fields = {"labels": {"instanceId": instance.id}, "timestamp": stamp(began)}
        try:
            answer = instance.answer(request, service.timeout_s)
        except TookTooLong:
            self._log(service, trace, 504, _TERMINATED, **fields)
            return Answer(504, b"upstream request timeout")
        except Died:
            if not instance.is_alive:
                self._log_death(service, instance)
            if masked:
                self._log(service, trace, 200, "", **fields)
            else:
                self._log(service, trace, 503, _MALFORMED, **fields)
            return Answer(503, b"upstream connect error or disconnect/reset before headers")
        if len(answer.body) > LARGEST_BYTES:
            self._log(service, trace, 500, _TOO_LARGE, **fields)
            return Answer(500, b"Response size was too large.")
        service.answered += 1
        self._log(service, trace, answer.status, "", **fields)
        if service.breaks:
            service.breaks -= 1
            return Answer(broken=True)
        return answer

    def _may_invoke(self, service: Service, email: str) -> bool:
        if "run.routes.invoke" in self._identities.permissions.get(email, ()):
            return True
        members = {
            member
            for binding in service.policy.get("bindings", ())
            if binding["role"] == "roles/run.invoker"
            for member in binding["members"]
        }
        return bool(members & {f"serviceAccount:{email}", f"user:{email}", "allUsers"})

    @contextmanager
    def _instance(self, service: Service) -> Iterator[Instance]:
        """One that is free, or a new one. Raises `TimeoutError` when there is none for too long."""
        instance = self._take(service)
        try:
            yield instance
        finally:
            with service.changed:
                service.busy.remove(instance)
                if instance.is_alive:
                    service.idle.append(instance)
                service.changed.notify()

    def _take(self, service: Service) -> Instance:
        until = time.monotonic() + self._queue_s
        with service.changed:
            while True:
                while service.idle:
                    instance = service.idle.pop()
                    if instance.is_alive:
                        service.busy.append(instance)
                        service.most_busy = max(service.most_busy, len(service.busy))
                        return instance
                    self._log_death(service, instance)
                if len(service.busy) + service.starting < service.max_instances:
                    service.starting += 1
                    break
                if not service.changed.wait(until - time.monotonic()):
                    raise TimeoutError
        try:
            self._start(service)
        finally:
            with service.changed:
                service.starting -= 1
                service.changed.notify()
        return self._take(service)

    def _start(self, service: Service) -> None:
        instance = Instance(service.container, service.folder)
        try:
            instance.wait_until_ready()
        except NotStarted:
            self._log_death(service, instance)
            raise
        with service.changed:
            service.idle.append(instance)

    def _stop(self, service: Service) -> None:
        with service.changed:
            instances = service.idle + service.busy
            service.idle = []
        for instance in instances:
            instance.kill()

    def _refuse(self, service: Service, trace: str, status: int) -> Answer:
        self._log(service, trace, status, _ABORTED)
        bodies = {
            429: b"Rate exceeded.",
            500: b"<title>500 Server Error</title>Please try again in 30 seconds.",
        }
        return Answer(status, bodies.get(status, b"Service Unavailable"))

    def _log(self, service: Service, trace: str, status: int, text: str, **fields: Any) -> None:
        severity = "ERROR" if status >= 500 else "WARNING" if status >= 400 else "INFO"
        said = {"textPayload": text} if text else {}
        self._logs.write(
            "requests", service.resource, severity=severity, trace=f"projects/{PROJECT}/traces/{trace}",
            httpRequest={"status": status, "requestMethod": "POST", "requestUrl": service.url}, **said, **fields,
        )  # fmt: skip

    def _log_death(self, service: Service, instance: Instance) -> None:
        labels = {"instanceId": instance.id}
        if instance.used_mib:
            text = (
                f"Memory limit of {service.container.memory_mib} MiB exceeded with {instance.used_mib} MiB used. "
                f"Consider increasing the memory limit, see {_DOCS}/configuring/memory-limits"
            )
            self._logs.write(
                "varlog%2Fsystem", service.resource, severity="ERROR", textPayload=text, labels=labels
            )
            return
        code = instance.exit_code() or 0
        text = f"Container called exit({code})." if code >= 0 else f"Container terminated on signal {-code}."
        self._logs.write(
            "varlog%2Fsystem", service.resource, severity="WARNING", textPayload=text, labels=labels
        )

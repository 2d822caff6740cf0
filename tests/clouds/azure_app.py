"""A function app of the stand-in for Azure: its package, its instances, and the front end that calls its functions."""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from azure_http import ConnectionCut, Refused, Reply, Request, Server
from azure_instance import Instance, InstanceDied, Invocation
from azure_world import World

_SEVERITY = {10: 0, 20: 1, 30: 2, 40: 3, 50: 4}
_DEFAULT_TIMEOUT_S = 1800.0
_MB = 1 << 20


class FunctionApp:
    """A site of the flex consumption plan: one request at a time in each instance."""

    def __init__(self, name: str, principal: str, world: World) -> None:
        self.name = name
        self.principal = principal
        self.world = world
        self.keys = {"default": secrets.token_urlsafe(40)}
        self.master_key = secrets.token_urlsafe(40)
        self.settings: dict[str, str] = {}
        self.memory_mb = 2048
        self.most = 100
        self.root: Path | None = None
        self.host: dict[str, Any] = {}
        self.functions: dict[str, list[dict[str, Any]]] = {}
        self.invocations = 0
        self.requests: list[Request] = []
        """All that its functions were asked."""
        self.console = world.folder / f"{name}.console"
        self._idle: list[Instance] = []
        self._busy: set[Any] = set()
        self._running: dict[str, str] = {}
        """Invocations under way, and their operations."""
        self._lock = threading.Lock()
        self.is_closed = False
        self.front = Server(FrontEnd(self).answer, world.certificate)

    @property
    def timeout_s(self) -> float:
        text = self.host.get("functionTimeout")
        seconds = _seconds(text) if text else _DEFAULT_TIMEOUT_S
        return seconds * self.world.rules.time_scale

    @property
    def instances(self) -> int:
        with self._lock:
            return len(self._idle) + len(self._busy)

    def run_package(self, root: Path) -> None:
        """Take instances of the new package from now on. What runs in the old ones is lost."""
        self.recycle()
        self.functions = {}
        self.host = json.loads((root / "host.json").read_text())
        self.root = root
        try:
            instance = self._start()
        except InstanceDied:
            return  # what it said is recorded; an app without functions answers 404
        with self._lock:
            self._idle.append(instance)

    def recycle(self) -> None:
        """End all instances."""
        with self._lock:
            ended, self._idle = [*self._idle, *self._busy], []
            self._busy = set()
        for instance in ended:
            instance.close()

    def close(self) -> None:
        self.is_closed = True
        self.front.close()
        self.recycle()

    # ------------------------------------------------------------ instances

    def acquire(self) -> Instance | None:
        """A warm instance, or a new one; None where there are as many as there may be. Raises `InstanceDied`."""
        with self._lock:
            while self._idle:
                instance = self._idle.pop()
                if instance.alive:
                    self._busy.add(instance)
                    return instance
                instance.close()
            if self.is_closed or len(self._busy) >= min(self.most, self.world.rules.instances):
                return None
            # It holds its place while it starts.
            place: Any = object()
            self._busy.add(place)
        try:
            instance = self._start()
        finally:
            with self._lock:
                self._busy.discard(place)
        with self._lock:
            self._busy.add(instance)
        return instance

    def release(self, instance: Instance) -> None:
        with self._lock:
            known = instance in self._busy
            self._busy.discard(instance)
            if known and instance.alive:
                self._idle.append(instance)
                return
        instance.close()

    def _start(self) -> Instance:
        assert self.root is not None
        world = self.world
        temporary = world.folder / "tmp" / uuid.uuid4().hex[:12]
        temporary.mkdir(parents=True)
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(temporary),
            "TMPDIR": str(temporary),
            "LANG": "C.UTF-8",
            "WEBSITE_SITE_NAME": self.name,
            "FUNCTIONS_WORKER_RUNTIME": "python",
            **self.settings,
            **world.identities.variables(self.principal),
            # Of this machine alone: Azure's own certificates are known everywhere.
            **{name: str(world.certificate.authority) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")},
        }
        memory_bytes = int(self.memory_mb * _MB * world.rules.memory_scale)
        instance = Instance(
            self.root, world.own_packages, environment, memory_bytes, self._log_of, self.console
        )
        try:
            self.functions = instance.start()
        except InstanceDied:
            instance.close()
            raise
        return instance

    def _log_of(self, message: str, invocation: str, level: int) -> None:
        operation = self._running.get(invocation, "")
        properties = json.dumps({"InvocationId": invocation}) if invocation else "{}"
        if not invocation and level >= 40:
            last = message.strip().rpartition("\n")[2]
            self.record("exceptions", "", outerMessage=last, innermostMessage=last, type="Exception")
            return
        severity = _SEVERITY.get(level, 1)
        self.record("traces", operation, message=message, severityLevel=severity, customDimensions=properties)

    def record(self, table: str, operation: str, **columns: Any) -> None:
        self.world.telemetry.add(table, self.name, operation, **columns)

    # ------------------------------------------------------------ execution

    def execute(self, instance: Instance, invocation: Invocation, operation: str, reason: str) -> Any:
        """Run the function to its end, and record what Azure's host records. Raises `InstanceDied`."""
        name = f"Functions.{invocation.function}"
        self.invocations += 1
        self._running[invocation.id] = operation
        self.record(
            "traces", operation, message=f"Executing '{name}' (Reason='{reason}', Id={invocation.id})"
        )
        started = time.monotonic()
        failure, died = "", None
        result: dict[str, Any] = {}
        try:
            result = instance.invoke(invocation, self.timeout_s)
            failure = result.get("raised", "")
        except InstanceDied as error:
            died, failure = error, str(error)
            if error.cause == "timeout":
                value = self.host.get("functionTimeout", "00:30:00")
                failure = f"Timeout value of {value} was exceeded by function: {name}"
        finally:
            self.release(instance)
            self._running.pop(invocation.id, None)
        took_ms = int(1000 * (time.monotonic() - started))
        if failure:
            outer = f"Exception while executing function: {name}"
            self.record(
                "exceptions", operation, outerMessage=outer, innermostMessage=failure, type="Exception"
            )
        how = "Failed" if failure else "Succeeded"
        text = f"Executed '{name}' ({how}, Id={invocation.id}, Duration={took_ms}ms)"
        self.record("traces", operation, message=text)
        self.record(
            "requests", operation, name=invocation.function, duration=took_ms, success=str(not failure)
        )
        if died is not None:
            raise died
        return result


class FrontEnd:
    """Takes requests to the app's functions, and gives up on a response after a while."""

    def __init__(self, app: FunctionApp) -> None:
        self._app = app

    def answer(self, request: Request) -> Reply:
        world = self._app.world
        self._app.requests.append(request)
        if self._app.is_closed:
            return Reply(404, b"404 Web Site not found")
        status = world.faults.refusal()
        if status is not None:
            return Reply(status, b"The service is unavailable.")
        if len(request.body) > world.rules.body_bytes:
            return Reply(413)
        if self._app.root is None:
            return Reply(503, b"Function host is not running.")
        function, binding = self._function_of(request)
        key = request.headers.get("x-functions-key") or request.query.get("code", "")
        if binding.get("authLevel") != "ANONYMOUS" and key not in (
            *self._app.keys.values(),
            self._app.master_key,
        ):
            return Reply(401)
        try:
            instance = self._app.acquire()
        except InstanceDied:
            return Reply(500)
        if instance is None:
            return Reply(429, b"Too many requests.")
        return self._run(request, instance, function, binding["name"])

    def _function_of(self, request: Request) -> tuple[str, dict[str, Any]]:
        for name, bindings in self._app.functions.items():
            for binding in bindings:
                route = f"/api/{binding.get('route') or name}"
                if binding["type"] == "httpTrigger" and route == request.path:
                    return name, binding
        raise Refused(404, "NotFound", "")

    def _run(self, request: Request, instance: Instance, function: str, parameter: str) -> Reply:
        world = self._app.world
        parent = request.headers.get("traceparent", "")
        found = re.fullmatch(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}", parent)
        operation = found[1] if found else uuid.uuid4().hex
        invocation = Invocation(
            str(uuid.uuid4()),
            function,
            "httpTrigger",
            parameter,
            request.body,
            parent,
            request.method,
            f"https://{self._app.front.host}{request.path}",
            request.headers,
            request.query,
        )
        replies: list[Reply] = []

        def run() -> None:
            try:
                reason = "This function was programmatically called via the host APIs."
                result = self._app.execute(instance, invocation, operation, reason)
                if "raised" in result:
                    replies.append(Reply(500))
                else:
                    body = base64.b64decode(result["body"])
                    replies.append(Reply(result["status"], body, result["headers"]))
            except InstanceDied as died:
                gone = died.cause in ("memory", "recycled")
                replies.append(Reply(world.faults.killed_status if gone else 500))

        thread = threading.Thread(target=run, daemon=True, name="azure-execution")
        thread.start()
        thread.join(world.rules.gateway_s)
        if world.faults.lost_responses > 0 and world.faults.loses_response():
            raise ConnectionCut
        return replies[0] if replies else Reply(504, b"504.0 GatewayTimeout")


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(?:(\d+)\.)?(\d\d):(\d\d):(\d\d)", text)
    assert found is not None, f"functionTimeout {text!r}"
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds

"""The control plane: functions are found, made, waited for and removed."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from typing import Any

import requests
from google.api_core.exceptions import AlreadyExists, Conflict, GoogleAPICallError, NotFound
from google.cloud import functions_v2

from lithops.clock import Clock
from lithops.compute.backends.gcp_functions.calling import CONNECT_S, Caller
from lithops.compute.backends.gcp_functions.config import EGRESS
from lithops.compute.backends.gcp_functions.connection import Connection
from lithops.compute.backends.gcp_functions.errors import FOREIGN, translate, translated
from lithops.compute.backends.gcp_functions.naming import Wanted
from lithops.compute.backends.gcp_functions.records import Read
from lithops.exceptions import ComputeError, ResponseLost, Throttled
from lithops.version import __version__
from lithops.wire.messages import WIRE_VERSION

logger = logging.getLogger(__name__)

_BUILD_S = 1200.0
"""Google gives up on a build before."""
_GRANT_S = 180.0
"""A policy that was changed holds everywhere within a few minutes."""
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.1, 5.0
_TELL_EVERY_S = 20.0
_LOG_LINES = 30
_LOGS_S = 15.0
"""Logs arrive some seconds after what they tell of."""
_ACTIVE, _DEPLOYING = functions_v2.Function.State.ACTIVE, functions_v2.Function.State.DEPLOYING


class Deployer:
    """Functions of one project and region. Safe in threads."""

    def __init__(self, connection: Connection, caller: Caller, read_logs: Read, clock: Clock) -> None:
        self._connection = connection
        self._caller = caller
        self._read_logs = read_logs
        self._clock = clock

    def find(self, function_id: str) -> Any:
        """The function if it is there, once it has been deployed; else None."""
        name = f"{self._connection.parent}/functions/{function_id}"
        until = self._clock.now() + _BUILD_S
        pause_s = _FIRST_LOOK_S
        while True:
            with translated(f"function {function_id} cannot be looked at"):
                try:
                    function = self._connection.functions.get_function(request={"name": name})
                except NotFound:
                    return None
            if function.state != _DEPLOYING:
                return function if function.state == _ACTIVE else self._clear(function_id)
            if self._clock.now() > until:
                raise ComputeError(
                    f"function {function_id} is still being deployed after {_BUILD_S:g} s; see {name}"
                )
            pause_s = self._pause(pause_s)

    def all(self) -> Sequence[Any]:
        with translated(f"the functions of {self._connection.parent} cannot be listed"):
            request = {"parent": self._connection.parent, "page_size": 1000}
            return list(self._connection.functions.list_functions(request=request))

    def create(self, wanted: Wanted) -> Any:
        """Deploy the function, and wait until it can be called."""
        began = self._clock.now()
        settings = wanted.settings
        logger.info(
            "deploying function %s (runtime %s, %d MB) to %s: Google builds it, which takes a minute or two",
            wanted.id, wanted.info.name, wanted.info.memory_mb, self._connection.parent,
        )  # fmt: skip
        with translated(f"function {wanted.id} cannot be deployed"):
            if settings["trigger"] == "pub/sub":
                self._make_topic(wanted.id)
            request = {
                "parent": self._connection.parent,
                "function": self._message(wanted, self._upload(wanted.package.data)),
                "function_id": wanted.id,
            }
            try:
                operation = self._connection.functions.create_function(request=request)
            except (AlreadyExists, Conflict):
                # Another program was faster.
                return self.find(wanted.id)
        function = self._finish(operation, f"function {wanted.id}")
        try:
            self._allow_callers(function)
            self._await_answer(wanted, function.service_config.uri)
        except ComputeError:
            # Whoever found it would take it for ready.
            self.remove(function)
            raise
        logger.info("deployed function %s in %.0f s", wanted.id, self._clock.now() - began)
        return function

    def remove(self, function: Any) -> None:
        function_id = function.name.rpartition("/")[2]
        with translated(f"function {function_id} cannot be removed"):
            try:
                operation = self._connection.functions.delete_function(request={"name": function.name})
                self._finish(operation, f"the removal of function {function_id}")
                if function.event_trigger.pubsub_topic:
                    self._connection.call("DELETE", "pubsub", f"v1/{function.event_trigger.pubsub_topic}")
            except NotFound:
                return  # somebody else has removed it

    def topic(self, function_id: str) -> str:
        """The topic of Pub/Sub whose messages start the function."""
        return f"projects/{self._connection.project}/topics/{function_id}"

    def _clear(self, function_id: str) -> None:
        """Remove a function whose deployment has failed, so that it can be deployed anew."""
        name = f"{self._connection.parent}/functions/{function_id}"
        self.remove(functions_v2.Function(name=name))

    def _upload(self, source: bytes) -> Any:
        answer = self._connection.functions.generate_upload_url(
            request={"parent": self._connection.parent, "environment": functions_v2.Environment.GEN_2}
        )
        # Without credentials: the URL is signed.
        response = requests.put(
            answer.upload_url, source, headers={"Content-Type": "application/zip"}, timeout=(CONNECT_S, 120.0)
        )
        response.raise_for_status()
        return answer.storage_source

    def _message(self, wanted: Wanted, source: Any) -> Any:
        settings = wanted.settings
        service: dict[str, Any] = {
            "available_memory": f"{settings['memory_mb']}Mi",
            "available_cpu": str(settings["cpu"]),
            "timeout_seconds": settings["timeout_s"],
            "max_instance_count": settings["instances"],
            "max_instance_request_concurrency": 1,
            "environment_variables": settings["environment"],
        }
        account = settings["service_account"]
        if account:
            service["service_account_email"] = account
        connector = settings["connector"]
        if connector:
            whole = connector if "/" in connector else f"{self._connection.parent}/connectors/{connector}"
            ways = functions_v2.ServiceConfig.VpcConnectorEgressSettings
            all_traffic = settings["egress"] == EGRESS[1]
            service["vpc_connector"] = whole
            service["vpc_connector_egress_settings"] = (
                ways.ALL_TRAFFIC if all_traffic else ways.PRIVATE_RANGES_ONLY
            )
        function: dict[str, Any] = {
            "name": f"{self._connection.parent}/functions/{wanted.id}",
            "description": f"Lithops {__version__}: runtime {wanted.info.name}",
            "environment": functions_v2.Environment.GEN_2,
            "build_config": {
                "runtime": settings["runtime"],
                "entry_point": "serve",
                "source": {"storage_source": source},
            },
            "service_config": service,
            "labels": settings["labels"],
        }
        if settings["trigger"] == "pub/sub":
            function["event_trigger"] = {
                "event_type": "google.cloud.pubsub.topic.v1.messagePublished",
                "pubsub_topic": self.topic(wanted.id),
                "trigger_region": self._connection.region,
                # What dies is reported, and tried again by the client if at all.
                "retry_policy": functions_v2.EventTrigger.RetryPolicy.RETRY_POLICY_DO_NOT_RETRY,
                **({"service_account_email": account} if account else {}),
            }
        return functions_v2.Function(function)

    def _make_topic(self, function_id: str) -> None:
        try:
            self._connection.call("PUT", "pubsub", f"v1/{self.topic(function_id)}", {})
        except Conflict:
            return  # it is there

    def _finish(self, operation: Any, what: str) -> Any:
        """Wait for the end of what Google does, and say from time to time how far it is."""
        began = told = self._clock.now()
        pause_s = _FIRST_LOOK_S
        with translated(f"{what} cannot be waited for"):
            while not operation.done():
                now = self._clock.now()
                if now > began + _BUILD_S:
                    raise ComputeError(
                        f"{what} is not ready after {_BUILD_S:g} s; look for operation {operation.operation.name} in "
                        "Google's console"
                    )
                if now > told + _TELL_EVERY_S:
                    told = now
                    logger.info("%s: %s, %.0f s so far", what, _stage(operation), now - began)
                pause_s = self._pause(pause_s)
        try:
            return operation.result(timeout=_LONGEST_LOOK_S)
        except GoogleAPICallError as error:
            raise ComputeError(f"{what} failed: {error.message}{self._log_of(operation)}") from error

    def _log_of(self, operation: Any) -> str:
        """The end of what the build, or else the function's first instance, has written, as far as it can be read."""
        metadata = operation.metadata
        build = getattr(metadata, "build_name", "").rpartition("/")[2]
        service = getattr(metadata, "target", "").rpartition("/")[2]
        if not build and not service:
            return ""
        condition = (
            f'resource.type="build" AND resource.labels.build_id="{build}"'
            if build
            else f'resource.type="cloud_run_revision" AND resource.labels.service_name="{service}"'
        )
        until = self._clock.now() + _LOGS_S
        pause_s = _FIRST_LOOK_S
        while True:
            try:
                entries = self._read_logs(condition)
            except ComputeError as error:
                return f"\n(its log cannot be read: {error})"
            lines = [str(entry["textPayload"]) for entry in entries if entry.get("textPayload")]
            if lines:
                return "\nIts log ends with:\n" + "\n".join(lines[-_LOG_LINES:])
            if self._clock.now() > until:
                return ""
            pause_s = self._pause(pause_s)

    def _allow_callers(self, function: Any) -> None:
        """Let this program's identity call the function, and the one that brings events; nobody else."""
        service = function.service_config.service
        what = f"who may call {function.name.rpartition('/')[2]} cannot be set"
        with translated(what):
            asked = {"permissions": ["run.routes.invoke"]}
            held = self._connection.call("POST", "run", f"v2/{service}:testIamPermissions", asked)
            callers = (
                set() if held.get("permissions") else {self._connection.caller(function.service_config.uri)}
            )
        if function.event_trigger.service_account_email:
            callers.add(f"serviceAccount:{function.event_trigger.service_account_email}")
        until = self._clock.now() + _GRANT_S
        while callers:
            try:
                policy = self._connection.call("GET", "run", f"v2/{service}:getIamPolicy")
                bindings = [
                    *policy.get("bindings", ()),
                    {"role": "roles/run.invoker", "members": sorted(callers)},
                ]
                changed = {"policy": {**policy, "bindings": bindings}}
                self._connection.call("POST", "run", f"v2/{service}:setIamPolicy", changed)
                return
            except FOREIGN as error:
                # Another program has changed the policy meanwhile.
                if not isinstance(error, Conflict) or self._clock.now() > until:
                    raise translate(error, what) from error
            self._pause(_LONGEST_LOOK_S)

    def _await_answer(self, wanted: Wanted, url: str) -> None:
        """Ask the function what it is, until it answers: new policies and services are not known everywhere at once."""
        until = self._clock.now() + _GRANT_S
        pause_s = _FIRST_LOOK_S
        while True:
            try:
                response = self._caller.post(url, b'{"describe":true}', "0" * 32, timeout_s=60.0)
                status, said = response.status_code, response.text
            except (Throttled, ResponseLost) as error:
                status, said = 0, str(error)
            if status == 200:
                return _check(json.loads(said), wanted)
            if self._clock.now() > until:
                raise ComputeError(
                    f"function {wanted.id} is deployed, but still does not answer after {_GRANT_S:g} s (status "
                    f"{status}): {said[:300]}"
                )
            pause_s = self._pause(pause_s)

    def _pause(self, seconds: float) -> float:
        """Wait, and give how long to wait the next time."""
        self._clock.wait(threading.Event(), seconds)
        return min(1.5 * seconds, _LONGEST_LOOK_S)


def _check(described: dict[str, Any], wanted: Wanted) -> None:
    if (described["python"], described["wire"]) != (wanted.info.python, WIRE_VERSION):
        raise ComputeError(
            f"function {wanted.id} runs Python {described['python']} and speaks version {described['wire']}, this "
            f"program needs {wanted.info.python} and {WIRE_VERSION}; remove it with: lithops runtime delete -b "
            f"gcp_functions {wanted.info.name}"
        )


def _stage(operation: Any) -> str:
    """Where Google is, in its own words."""
    stages = [stage.message for stage in getattr(operation.metadata, "stages", ()) if stage.message]
    return stages[-1] if stages else "in progress"

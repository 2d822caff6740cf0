"""A package's way into a function app: it is sent to the app's SCM site, which installs its requirements."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from typing import Any

from azure.core import PipelineClient
from azure.core.credentials import TokenCredential
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy
from azure.core.rest import HttpRequest, HttpResponse

from lithops.clock import Clock
from lithops.compute.backends.azure_functions.errors import refusal, translate_errors
from lithops.compute.base import ComputeError

logger = logging.getLogger(__name__)

_FAILED, _SUCCEEDED = (3, 5, 6), 4
_BUILD_S = 900.0
_ROLES_S = 600.0
"""Azure says that a new role takes up to ten minutes to be known everywhere."""
_LOG_LINES = 30
_ROLE_UNKNOWN = re.compile(
    r"AuthorizationPermissionMismatch|AuthorizationFailure|not authorized", re.IGNORECASE
)


class Publisher:
    """Publishes packages. `poll_s` is the pause between two looks at how far one is."""

    def __init__(self, credential: TokenCredential, url: str, clock: Clock, poll_s: float) -> None:
        policies = [RetryPolicy(), BearerTokenCredentialPolicy(credential, f"{url}/.default")]
        self._client: PipelineClient[HttpRequest, HttpResponse] = PipelineClient("", policies=policies)
        self._clock = clock
        self._poll_s = poll_s

    def publish(self, host: str, package: bytes, what: str) -> None:
        """Publish, and wait until it is built. Raises `ComputeError` with the end of the log where that fails."""
        until = self._clock.now() + _ROLES_S
        told = False
        while True:
            deployment = self._send_package(host, package, what)
            status = self._wait_for(host, deployment, what)
            if status == _SUCCEEDED:
                return
            log = self._log(host, deployment, what)
            if not _ROLE_UNKNOWN.search(log) or self._clock.now() > until:
                raise ComputeError(
                    f"{what}: the build of the package failed; check the runtime's requirements. "
                    f"Its log ends with:\n{log}"
                )
            if not told:
                logger.info("%s: its new roles are not known everywhere yet; this may take minutes", what)
                told = True
            self._pause()

    def close(self) -> None:
        self._client.close()

    def _send_package(self, host: str, package: bytes, what: str) -> str:
        request = HttpRequest(
            "POST",
            f"https://{host}/api/publish",
            params={"RemoteBuild": "true", "Deployer": "lithops"},
            headers={"Content-Type": "application/zip", "Cache-Control": "no-cache"},
            content=package,
        )
        until = self._clock.now() + _BUILD_S
        while True:
            with translate_errors(what):
                response = self._client.send_request(request)
            # A new app's SCM site is not there at once, and takes one package after the other.
            if response.status_code not in (404, 409, 502, 503) or self._clock.now() > until:
                break
            self._pause()
        if response.status_code >= 300:
            raise refusal(response.status_code, "", response.text()[:300], what)
        return str(response.json())

    def _wait_for(self, host: str, deployment: str, what: str) -> int:
        until = self._clock.now() + _BUILD_S
        while True:
            found = self._get(f"https://{host}/api/deployments/{deployment}", what)
            status = int(found.get("status", 0))
            if status == _SUCCEEDED or status in _FAILED:
                return status
            if self._clock.now() > until:
                raise ComputeError(
                    f"{what}: the package is not built after {_BUILD_S:g} s; look at the app's deployments in Azure's "
                    "portal, and run this again"
                )
            self._pause()

    def _log(self, host: str, deployment: str, what: str) -> str:
        lines: list[str] = []
        for entry in self._get(f"https://{host}/api/deployments/{deployment}/log", what):
            lines.append(str(entry.get("message", "")))
            if entry.get("details_url"):
                lines += [str(each.get("message", "")) for each in self._get(entry["details_url"], what)]
        return "\n".join(line for line in lines[-_LOG_LINES:] if line)

    def _get(self, url: str, what: str) -> Any:
        with translate_errors(what):
            response = self._client.send_request(HttpRequest("GET", url))
        if response.status_code >= 300:
            raise refusal(response.status_code, "", response.text()[:300], what)
        return response.json()

    def _pause(self) -> None:
        self._clock.wait(threading.Event(), self._poll_s)


def until_ready(
    ready: Callable[[], bool],
    broken: Callable[[], str],
    clock: Clock,
    *,
    poll_s: float,
    within_s: float,
    what: str,
) -> None:
    """Wait until a new app answers. Raises `ComputeError` for one that never will, as `broken` tells."""
    until = clock.now() + within_s
    looks = 0
    while not ready():
        looks += 1
        reason = broken() if looks > 1 else ""
        if reason:
            raise ComputeError(f"{what}: its functions cannot be loaded: {reason}")
        if clock.now() > until:
            raise ComputeError(
                f"{what}: its functions do not answer after {within_s:g} s; look at the app's log stream in Azure's "
                "portal, and run this again"
            )
        clock.wait(threading.Event(), poll_s)

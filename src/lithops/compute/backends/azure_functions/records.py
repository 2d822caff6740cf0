"""What Azure's own records, in Application Insights, say of activations that died."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from azure.core import PipelineClient
from azure.core.credentials import TokenCredential
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, RetryPolicy
from azure.core.rest import HttpRequest, HttpResponse

from lithops.compute.backends.azure_functions import MARK
from lithops.compute.backends.azure_functions.errors import refusal, translate_errors
from lithops.wire.messages import Failure, FailureKind

_SERVICES = {
    "https://management.azure.com": "https://api.applicationinsights.io",
    "https://management.usgovcloudapi.net": "https://api.applicationinsights.us",
    "https://management.chinacloudapi.cn": "https://api.applicationinsights.azure.cn",
}
"""Where each cloud is asked for records, by its resource manager."""
_MEMORY = re.compile(r"exited with code 137|OutOfMemory|out of memory", re.IGNORECASE)
_TIMEOUT = re.compile(r"Timeout value of \S+ was exceeded", re.IGNORECASE)
_ROWS = 1000
_START_MINUTES = 5


@dataclass(frozen=True, slots=True)
class Death:
    """A failed execution."""

    operation: str
    words: str


class Records:
    """Asks Application Insights. Safe in threads."""

    def __init__(self, credential: TokenCredential, resource_manager: str, app_id: str) -> None:
        service = _SERVICES.get(resource_manager, resource_manager)
        policies = [
            RetryPolicy(retry_total=2),
            BearerTokenCredentialPolicy(credential, f"{service}/.default"),
        ]
        self._client: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(service, policies=policies)
        self._url = f"{service}/v1/apps/{app_id}/query"

    def deaths(self, app: str, minutes: int) -> list[Death]:
        """Executions of the app that failed."""
        rows = self._query(
            "exceptions",
            f"where timestamp > ago({minutes}m)",
            f'where cloud_RoleName == "{app}"',
            "order by timestamp desc",
            f"take {_ROWS}",
            "project operation_Id, innermostMessage, outerMessage",
        )
        return [Death(operation, inner or outer) for operation, inner, outer in rows]

    def words_of(self, operation: str) -> str:
        """What is known of one execution's failure; empty where nothing is."""
        rows = self._query(
            "exceptions",
            "where timestamp > ago(1d)",
            f'where operation_Id == "{operation}"',
            "order by timestamp desc",
            "take 1",
            "project innermostMessage, outerMessage",
        )
        return next((inner or outer for inner, outer in rows), "")

    def words_of_start(self, app: str) -> str:
        """Why the app's functions could not be loaded lately; empty where they could."""
        return next((death.words for death in self.deaths(app, _START_MINUTES) if not death.operation), "")

    def activations_of(self, operations: Iterable[str]) -> dict[str, str]:
        """The activations that these executions were of, as the messages' function has logged them."""
        names = ", ".join(f'"{operation}"' for operation in operations)
        rows = self._query(
            "traces",
            "where timestamp > ago(1d)",
            f"where operation_Id in ({names})",
            f'where message has "{MARK}"',
            f"take {_ROWS}",
            "project operation_Id, message",
        )
        return {operation: message.rpartition(" ")[2] for operation, message in rows}

    def close(self) -> None:
        self._client.close()

    def _query(self, *stages: str) -> Sequence[Any]:
        request = HttpRequest("POST", self._url, json={"query": " | ".join(stages)})
        what = "asking Application Insights"
        with translate_errors(what):
            response = self._client.send_request(request)
        if response.status_code >= 300:
            raise refusal(response.status_code, "", response.text()[:300], what)
        rows: Sequence[Any] = response.json()["tables"][0]["rows"]
        return rows


def failure_of(words: str) -> Failure:
    """The failure of an activation that died, in the cloud's own words, with what to do about it."""
    if _MEMORY.search(words):
        kind, advice = FailureKind.MEMORY, "give it more with runtime_memory=, up to 4096"
    elif _TIMEOUT.search(words):
        kind, advice = FailureKind.TIMEOUT, "give it more with azure_functions.runtime_timeout"
    else:
        kind, advice = FailureKind.LOST, "if it may have needed more memory, set runtime_memory"
    said = " ".join(words.split())[:1000]
    return Failure(kind, kind.value, f"the activation died; Azure says: {said}; {advice}")

"""A stand-in for Google Cloud: Cloud Functions (2nd generation), Cloud Run, Pub/Sub, Cloud Logging, tokens.

It speaks Google's REST to Google's own libraries, on one port of this machine, and runs functions by Google's own
functions-framework. `google.md` says what it enforces, and what it does not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google_functions import CloudFunctions
from google_identity import PROJECT, Identities
from google_logs import Logs
from google_pubsub import PubSub
from google_run import CloudRun, Service, Storm
from google_sources import Sources
from google_web import Answer, Request, serving

_APIS = ("CLOUDFUNCTIONS", "RUN", "PUBSUB", "LOGGING")


@dataclass(frozen=True)
class Google:
    """The running stand-in, and what tests do to it."""

    endpoint: str
    folder: Path
    identities: Identities
    logs: Logs
    run: CloudRun
    pubsub: PubSub
    functions: CloudFunctions
    bodies: list[bytes]
    """Every body that was sent, of requests to any of the services."""

    @property
    def environment(self) -> dict[str, str]:
        """What leads Google's tools, and this library, here."""
        overrides = {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api}": f"{self.endpoint}/" for api in _APIS}
        return {
            **overrides,
            "GCE_METADATA_HOST": self.endpoint.removeprefix("http://"),
            "NO_PROXY": "127.0.0.1",
        }

    def account(self, name: str, permissions: Collection[str]) -> Path:
        """The key file of a new service account."""
        return self.identities.make_account(self.folder, f"{self.endpoint}/token", name, permissions)

    @property
    def services(self) -> list[Service]:
        return list(self.run.services.values())

    def storm(self, status: int, *, for_s: float, spares: int = 10) -> list[Storm]:
        """Refuse requests for so long, all but each `spares`-th (0: all)."""
        until = time.monotonic() + for_s
        for service in self.services:
            service.storm = Storm(status, spares, until)
        return [service.storm for service in self.services if service.storm is not None]

    def calm(self) -> None:
        """The end of all storms."""
        for service in self.services:
            service.storm = None

    def kill_instances(self) -> None:
        """As a machine that breaks."""
        for service in self.services:
            for instance in [*service.idle, *service.busy]:
                instance.kill()

    def shown(self) -> list[dict[str, Any]]:
        """All functions, as the API shows them."""
        return [json.loads(json.dumps(function)) for function in self.functions.functions.values()]


@contextmanager
def running_google(
    folder: Path,
    storage_endpoint: str,
    *,
    queue_s: float = 1.0,
    looks: int = 2,
    backoff_s: float = 0.2,
    log_delay_s: float = 0.2,
) -> Iterator[Google]:
    """The stand-in while it runs, with uploads on the storage server. It waits seconds where a cloud waits minutes."""
    identities, logs = Identities(), Logs(delay_s=log_delay_s)
    run = CloudRun(logs, identities, queue_s=queue_s)
    pubsub = PubSub(identities, run, backoff_s=backoff_s)
    functions = CloudFunctions(folder, logs, identities, run, pubsub, Sources(storage_endpoint), looks=looks)
    bodies: list[bytes] = []

    def answer(request: Request) -> Answer:
        bodies.append(request.body)
        path = request.path
        if path == "/token":
            return identities.exchange(request)
        if path.startswith("/computeMetadata") or path == "/":
            return identities.metadata(request)
        if path.startswith("/upload/"):
            return functions.upload(request, base)
        if path.startswith("/run/"):
            return run.call(request, path.removeprefix("/run/").rstrip("/"))
        if path.startswith("/v1/"):
            return pubsub.api(request)
        if path == "/v2/entries:list":
            identities.demand(identities.who(request), "logging.logEntries.list", f"projects/{PROJECT}")
            return logs.list(request)
        return run.api(request) if "/services/" in path else functions.api(request, base)

    with serving(answer) as base:
        functions.environment.update(
            GCE_METADATA_HOST=base.removeprefix("http://"), GCE_METADATA_IP=base.removeprefix("http://")
        )
        try:
            yield Google(base, folder, identities, logs, run, pubsub, functions, bodies)
        finally:
            pubsub.close()
            functions.close()
            run.close()

"""Starts activations: by a request that waits for its response, or by an event."""

from __future__ import annotations

import base64
import os
import time
from http.client import HTTPException
from typing import Any

import requests
import urllib3

from lithops.compute.backends.gcp_functions.connection import Connection
from lithops.compute.backends.gcp_functions.errors import translated
from lithops.compute.backends.gcp_functions.records import Records
from lithops.compute.base import Response
from lithops.exceptions import ComputeError, ResponseLost, Throttled, WireError
from lithops.wire.codec import statuses_from_text, task_to_text
from lithops.wire.messages import Failure, FailureKind, Task

CONNECT_S = 10.0
_MARGIN_S = 30.0
"""Google answers by itself when an activation's time is up."""
_LARGEST_REQUEST = 32 << 20
_LARGEST_EVENT = 500 << 10
"""Eventarc passes on 512 KB, envelope included."""
_ENVELOPE = 4 / 3
"""How much longer base64 makes it."""


class Caller:
    """Requests to functions, and the events that stand for them."""

    def __init__(self, connection: Connection, records: Records) -> None:
        self._connection = connection
        self._records = records

    def request(self, task: Task, *, service: str, url: str, timeout_s: float) -> Response:
        """Start an activation and wait for its end."""
        body = task_to_text(task)
        if len(body) > _LARGEST_REQUEST:
            raise ComputeError(_too_large(len(body), _LARGEST_REQUEST))
        trace, began = os.urandom(16).hex(), time.time()
        response = self.post(url, body, trace, timeout_s=timeout_s)
        status, content = response.status_code, response.content
        if status == 200:
            try:
                return Response(trace, statuses_from_text(content))
            except WireError as error:
                raise ResponseLost(f"the response of activation {trace} cannot be read: {error}") from error
        if status == 504:
            return Response(trace, failure=_failure_of_time(timeout_s))
        if status == 429:
            raise Throttled("Google Cloud Functions has no instance free")
        if status < 500:
            raise ComputeError(_refusal(status, service, _said(content)))
        if said := _own_error(response):
            return Response(trace, failure=Failure(FailureKind.LOST, FailureKind.LOST.value, said))
        return Response(trace, failure=self._records.fate(service, trace, began, status))

    def post(self, url: str, body: bytes, trace: str, *, timeout_s: float) -> requests.Response:
        """One request to a function under this program's identity. Raises `Throttled` or `ResponseLost`."""
        response = self._post(url, body, trace, timeout_s, renewed=False)
        # A token that has been revoked, or a clock that is wrong.
        return (
            self._post(url, body, trace, timeout_s, renewed=True) if response.status_code == 401 else response
        )

    def _post(
        self, url: str, body: bytes, trace: str, timeout_s: float, *, renewed: bool
    ) -> requests.Response:
        with translated("the function cannot be called"):
            token = self._connection.identity_token(url, renewed=renewed)
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "X-Lithops-Activation": trace,
            # The entries of Google's logs are found by it.
            "Traceparent": f"00-{trace}-{trace[:16]}-00",
        }
        limits = (CONNECT_S, timeout_s + _MARGIN_S)
        try:
            return self._connection.pool.post(url, data=body, headers=headers, timeout=limits)
        except (requests.exceptions.ConnectTimeout, requests.exceptions.SSLError) as error:
            raise Throttled(f"{url} cannot be reached: {error}") from error
        except requests.ConnectionError as error:
            if _was_not_sent(error):
                raise Throttled(f"{url} cannot be reached: {error}") from error
            raise ResponseLost(f"the connection to {url} broke: {error}") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException) as error:
            raise ResponseLost(f"the response of {url} did not arrive: {error}") from error

    def publish(self, task: Task, *, topic: str, startup_s: float) -> str:
        """Start an activation by an event: its id."""
        body = task_to_text(task)
        if len(body) * _ENVELOPE > _LARGEST_EVENT:
            raise ComputeError(_too_large(len(body), int(_LARGEST_EVENT / _ENVELOPE)))
        # Afterwards nobody waits for its calls: it needs not be run when it is delivered so late.
        expires = time.time() + startup_s + task.job.timeout_s * len(task.calls)
        message = {"data": base64.b64encode(body).decode(), "attributes": {"expires": f"{expires:.0f}"}}
        with translated(f"the event cannot be published to {topic}"):
            answer: Any = self._connection.call(
                "POST", "pubsub", f"v1/{topic}:publish", {"messages": [message]}
            )
        return str(answer["messageIds"][0])


def _was_not_sent(error: requests.ConnectionError) -> bool:
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ConnectTimeoutError)


def _failure_of_time(timeout_s: float) -> Failure:
    message = (
        f"Google has ended the activation after {timeout_s:g} s, its time limit; give activations more with "
        "runtime_timeout, or fewer calls with chunksize"
    )
    return Failure(FailureKind.TIMEOUT, FailureKind.TIMEOUT.value, message)


def _refusal(status: int, service: str, said: str) -> str:
    if status == 403:
        return (
            f"function {service} may not be called by this identity (status 403); whoever deployed it can allow it: "
            f"gcloud functions add-invoker-policy-binding {service} --member=..., or deploy your own with namespace="
        )
    if status == 401:
        return (
            f"function {service} does not accept this identity's token (status 401: {said}); use the key of a service "
            "account (`credentials_path`), or impersonate one: gcloud auth application-default login "
            "--impersonate-service-account=..."
        )
    if status == 404:
        return f"function {service} is gone (status 404): it was removed; make a new executor, which deploys it again"
    return f"function {service} refuses the request with status {status}: {said}"


def _too_large(size: int, limit: int) -> str:
    return f"a task of {size} bytes is larger than the {limit} that Google takes; use a smaller chunksize"


def _said(content: bytes) -> str:
    return " ".join(content.decode(errors="replace").split())[:300]


def _own_error(response: requests.Response) -> str:
    """What the worker says of an error of its own; empty where the answer is the platform's."""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return ""

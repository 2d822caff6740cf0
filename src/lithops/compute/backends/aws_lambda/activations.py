"""Activations of functions: started, waited for, and looked for among the dead."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from botocore import exceptions as sdk

from lithops.compute.backends.aws_lambda.connection import (
    Connection,
    code_of,
    is_denied,
    translate_errors,
    translated,
)
from lithops.compute.backends.aws_lambda.deaths import FILTER, deaths, failure_of_lines
from lithops.compute.base import Response
from lithops.exceptions import ComputeError, ResponseLost, Throttled, WireError
from lithops.wire.codec import statuses_from_text, task_to_text
from lithops.wire.messages import Failure, Task

EVENT_BYTES = 1_048_576
"""What an event of Lambda may hold."""
_NOT_SENT = (sdk.ConnectTimeoutError, sdk.EndpointConnectionError, sdk.ProxyConnectionError, sdk.SSLError)
_BUSY = {
    "EC2ThrottledException",
    "ENILimitReachedException",
    "ResourceConflictException",
    "ResourceNotReadyException",
    "ServiceException",
    "TooManyRequestsException",
}
"""What passes, be it that there is too much of something or that a function is just being changed."""
_CLOCKS_APART_S = 60.0
"""How far this machine's clock may be off from Lambda's, and logs may come late."""
_MOST_PAGES = 10

_logger = logging.getLogger(__name__)


class Activations:
    """Starts activations, and remembers where their logs are."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._started: dict[str, tuple[str, float]] = {}
        """The function of each activation whose end nobody waits for, and when it was started."""
        self._lock = threading.Lock()
        self._may_read_logs = True

    def start(self, function: str, task: Task) -> str:
        """Leave the task with Lambda, and give the id of the activation that will run it."""
        client = self._connection.invoker(waits=False)
        payload = _payload(task)
        try:
            answer = client.invoke(FunctionName=function, InvocationType="Event", Payload=payload)
        except (sdk.BotoCoreError, sdk.ClientError) as error:
            raise _refused(error, function) from error
        activation_id = _id_of(answer)
        with self._lock:
            self._started[activation_id] = (function, time.time())
        return activation_id

    def run(self, function: str, task: Task) -> Response:
        """Run the task and wait for its end."""
        client = self._connection.invoker(waits=True)
        payload = _payload(task)
        try:
            answer = client.invoke(FunctionName=function, LogType="Tail", Payload=payload)
            body = answer["Payload"].read()
        except (sdk.BotoCoreError, sdk.ClientError) as error:
            if isinstance(error, sdk.HTTPClientError) and not isinstance(error, _NOT_SENT):
                raise ResponseLost(f"the answer of the function {function} got lost: {error}") from error
            raise _refused(error, function) from error
        if "FunctionError" in answer:
            return Response(_id_of(answer), failure=_failure(body, answer.get("LogResult", "")))
        try:
            return Response(_id_of(answer), statuses_from_text(body))
        except WireError as error:
            raise ResponseLost(f"the answer of the function {function} cannot be read: {error}") from error

    def dead(self, activation_ids: Sequence[str]) -> Mapping[str, Failure]:
        """Those that Lambda's logs tell to be dead. A request or two for each function that has some of them."""
        if not self._may_read_logs:
            return {}
        now, asked = time.time(), set(activation_ids)
        functions: dict[str, float] = {}
        with self._lock:
            # What nobody asks for any more has ended. What has just been started may not be asked for yet.
            self._started = {
                each: known
                for each, known in self._started.items()
                if each in asked or now - known[1] < _CLOCKS_APART_S
            }
            for each in asked & self._started.keys():
                function, began = self._started[each]
                functions[function] = min(began, functions.get(function, now))
        found: dict[str, Failure] = {}
        for function, since in functions.items():
            found.update(deaths(self._events(function, since - _CLOCKS_APART_S), asked))
        return found

    def _events(self, function: str, since: float) -> Iterable[Mapping[str, Any]]:
        client, group = self._connection.client("logs"), f"/aws/lambda/{function}"
        events: list[Mapping[str, Any]] = []
        request: dict[str, Any] = {
            "logGroupName": group,
            "startTime": int(since * 1000),
            "filterPattern": FILTER,
        }
        try:
            with translate_errors(f"reading the logs {group}"):
                for _ in range(_MOST_PAGES):
                    answer = client.filter_log_events(**request)
                    events += answer["events"]
                    if not answer.get("nextToken"):
                        break
                    request["nextToken"] = answer["nextToken"]
        except ComputeError as error:
            self._bear(error, group)
        return events

    def _bear(self, error: ComputeError, group: str) -> None:
        cause = error.__cause__
        if code_of(cause) == "ResourceNotFoundException":
            return  # nothing has been written yet
        if is_denied(cause):
            self._may_read_logs = False
            _logger.warning(
                "the logs %s may not be read, so activations that die are found by their timeout alone; ask for the "
                "right to logs:FilterLogEvents: %s",
                group,
                cause,
            )
        else:
            _logger.warning("the logs %s cannot be read for now: %s", group, error)


def _payload(task: Task) -> bytes:
    payload = task_to_text(task)
    if len(payload) > EVENT_BYTES:
        raise ComputeError(
            f"a task takes {len(payload)} bytes, and AWS Lambda takes {EVENT_BYTES} at most: give the reducer fewer "
            "inputs, or calls fewer environment variables"
        )
    return payload


def _id_of(answer: Mapping[str, Any]) -> str:
    return str(answer["ResponseMetadata"]["RequestId"])


def _refused(error: Exception, function: str) -> ComputeError:
    doing = f"invoking the function {function}"
    if isinstance(error, sdk.HTTPClientError):
        return Throttled(f"{doing}: AWS cannot be reached: {error}; check the network and aws.region")
    if code_of(error) in _BUSY:
        return Throttled(f"{doing}: {error}")
    if code_of(error) == "ResourceNotFoundException":
        return ComputeError(f"{doing}: it was deleted while this program runs; start the program again")
    return translated(error, doing)


def _failure(body: bytes, tail: str) -> Failure:
    """Why an activation died, by its answer and the end of its log."""
    text = base64.b64decode(tail).decode(errors="replace")
    return failure_of_lines(text.splitlines(), body.decode(errors="replace"))

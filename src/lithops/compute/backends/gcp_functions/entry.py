"""What Google's functions-framework calls: `serve`, for requests and for events of Pub/Sub alike.

The framework calls it from one of its threads, so calls run in processes of their own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from binascii import a2b_base64
from typing import Any

from lithops.exceptions import LithopsError
from lithops.worker.sandbox import Sandbox

_sandbox = Sandbox(processes=int(os.environ.get("LITHOPS_WORKER_PROCESSES", "1")), isolated=True)
_TIMEOUT_S = float(os.environ.get("LITHOPS_TIMEOUT", "inf"))

Reply = tuple[bytes, int, dict[str, str]]


def serve(request: Any) -> Reply:
    """Answer a `flask.Request`: a task, or an event that brings one."""
    body = json.loads(request.get_data())
    event = body.get("message")
    if event is None:
        return _reply(body, request.headers.get("X-Lithops-Activation", ""))
    if float(event["attributes"]["expires"]) < time.time():
        # Delivered again, or late: nobody waits for it any more.
        return b"", 200, {}
    activation_id = event["messageId"]
    _tell_log(activation_id)
    return _reply(json.loads(a2b_base64(event["data"])), activation_id)


def _reply(message: dict[str, Any], activation_id: str) -> Reply:
    status = 200
    try:
        answer = _sandbox.answer(message, activation_id, _TIMEOUT_S)
    except LithopsError as error:
        status, answer = 500, {"error": f"{type(error).__name__}: {error}"}
        sys.stderr.write(f"{answer['error']}\n")
    # Only ASCII: names of files bring lone surrogates along, of which UTF-8 has none.
    return json.dumps(answer, separators=(",", ":")).encode(), status, {"Content-Type": "application/json"}


def _tell_log(activation_id: str) -> None:
    """Say which event this instance works on: if it dies, the platform's records name the instance alone."""
    line = {
        "message": "activation starts",
        "severity": "INFO",
        "logging.googleapis.com/labels": {"lithops_activation": activation_id},
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()

"""Calls on Azure Functions. Here is what the client and the functions agree on; both have this file."""

from __future__ import annotations

import json
import zlib
from typing import Any

ROUTE = "activation"
"""Of the requests: they go to ``/api/activation``."""
QUEUE_SETTING = "LITHOPS_QUEUE"
"""The variable that names the queue of the messages."""
MARK = "lithops activation"
"""With the activation's name it is logged by each message's function, so that the cloud's records can be told apart."""


def write_message(activation_id: str, task: bytes) -> bytes:
    """A message for the queue. Tasks of many calls get much smaller: a queue takes no more than 64 KB."""
    return zlib.compress(b'{"activation":"%s","task":%s}' % (activation_id.encode(), task))


def read_message(data: bytes) -> dict[str, Any]:
    """`activation`, and `task` as `wire.codec.task_from_json` takes it."""
    message: dict[str, Any] = json.loads(zlib.decompress(data))
    return message

"""What Lambda calls: `handler`. One activation is one event, in the main thread of a process that stays warm."""

from __future__ import annotations

import os
from typing import Any

from lithops.worker.sandbox import Sandbox

_processes = int(os.environ.get("LITHOPS_WORKER_PROCESSES", "1"))
_sandbox = Sandbox(processes=_processes, isolated=_processes > 1)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Answer one request. What is raised here is a failed activation, which Lambda reports and records."""
    return _sandbox.answer(event, context.aws_request_id, context.get_remaining_time_in_millis() / 1000)

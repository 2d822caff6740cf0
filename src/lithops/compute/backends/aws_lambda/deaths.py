"""How activations of Lambda end without a report, by what Lambda says of them. Pure.

Lambda writes a line for each event of an activation::

    2026-11-22T10:00:00.000Z 8f50...  Task timed out after 3.00 seconds
    RequestId: 8f50... Error: Runtime exited with error: signal: killed
    REPORT RequestId: 8f50...  Duration: 9.00 ms ... Memory Size: 128 MB  Max Memory Used: 128 MB  Status: error  \
Error Type: Runtime.OutOfMemory
"""

from __future__ import annotations

import re
import signal
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from lithops.wire.messages import Failure, FailureKind

FILTER = '?"Task timed out" ?"Runtime exited" ?"Status: timeout" ?"Status: error" ?"[ERROR]"'
"""Finds these lines among all that functions write, and little else."""

_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_NAMED = re.compile(rf"RequestId: ({_ID})|^\S+Z ({_ID}) Task timed out")
_DEADLY = re.compile(r"Task timed out after|Error: Runtime exited|\tStatus: (?:timeout|error)")
_MEMORY = re.compile(r"Memory Size: (\d+) MB\s+Max Memory Used: (\d+) MB")
_EXIT = re.compile(r"Runtime exited with error: (?:exit status (\d+)|signal: ([a-z ]+))")
_SIGNALS = {(signal.strsignal(number) or "").lower(): number for number in signal.valid_signals()}
_NEARLY_ALL = 0.95
"""What has been used of a function's memory when it is killed for that."""
_QUOTED_LINES = 12
_QUOTED_CHARACTERS = 2000

_REMEDIES = {
    FailureKind.MEMORY: "give it more with runtime_memory=, or let it need less",
    FailureKind.TIMEOUT: "give activations more time with aws_lambda.runtime_timeout (900 at most), or cut the work "
    "into more, shorter calls",
}
_START_FAILED = (
    "the function could not start: build its runtime with all the packages that it imports "
    "(lithops runtime build)"
)
_LOST = "look at the function's own output, or try again with retries="


def deaths(events: Iterable[Mapping[str, Any]], asked: Collection[str]) -> dict[str, Failure]:
    """Those of the activations that the events of CloudWatch Logs tell to be dead, and why."""
    streams: dict[str, list[str]] = defaultdict(list)
    for event in events:
        streams[event["logStreamName"]].append(event["message"].rstrip())
    found: dict[str, list[str]] = defaultdict(list)
    for lines in streams.values():
        said: list[str] = []
        for line in lines:
            named = _NAMED.search(line)
            if named is None:
                said.append(line)  # of the activation that is named next
                continue
            activation_id = named[1] or named[2]
            found[activation_id] += [*said, line]
            said = []
    return {
        activation_id: failure_of_lines(lines)
        for activation_id, lines in found.items()
        if activation_id in asked and any(map(_DEADLY.search, lines))
    }


def failure_of_lines(lines: Sequence[str], message: str = "") -> Failure:
    """Why an activation died, by what Lambda wrote of it, and by its answer if there was one."""
    text = "\n".join(lines)
    kind = _kind(f"{message}\n{text}")
    quoted = "\n".join(line for line in lines if line and not line.startswith(("START ", "END ")))
    quoted = "\n".join(quoted.splitlines()[-_QUOTED_LINES:])[-_QUOTED_CHARACTERS:]
    remedy = _REMEDIES.get(kind) or (_START_FAILED if _failed_to_start(f"{message}\n{text}") else _LOST)
    words = [f"the activation ended without a report; {remedy}. AWS Lambda says:"]
    if message and message not in quoted:
        words.append(message)
    if quoted:
        words.append(quoted)
    return Failure(kind, kind.value, "\n".join(words), exit_code=_exit_code(f"{message}\n{text}"))


def _exit_code(text: str) -> int | None:
    """That of the process, negative for a signal; None where Lambda says nothing of it."""
    said = _EXIT.search(text)
    if said is None:
        return None
    status, name = said.groups()
    if status:
        return int(status)
    number = _SIGNALS.get(name)
    return number and -number


def _kind(text: str) -> FailureKind:
    if "Task timed out" in text or "Status: timeout" in text:
        return FailureKind.TIMEOUT
    if "OutOfMemory" in text:
        return FailureKind.MEMORY
    used = _MEMORY.search(text)
    if "signal: killed" in text and used is not None and int(used[2]) >= _NEARLY_ALL * int(used[1]):
        return FailureKind.MEMORY
    return FailureKind.LOST


def _failed_to_start(text: str) -> bool:
    return any(
        word in text
        for word in (
            "ImportModuleError",
            "HandlerNotFound",
            "UserCodeSyntaxError",
            "Runtime.Invalid",
            "Phase: init",
        )
    )

"""What Google's logs say of activations that died.

A request that failed has an entry with its trace, and of the instance that had it in hand. What became of the instance
stands in other entries: ``Memory limit of 256 MiB exceeded``, ``Container called exit(1)``. Of events Google says
nothing: the entry of the instance's death leads to the event that it had started last, of which the worker has
written a line.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from lithops.clock import Clock
from lithops.exceptions import ComputeError, Throttled
from lithops.wire.messages import Failure, FailureKind

Entry = Mapping[str, Any]
Read = Callable[[str], Sequence[Entry]]
"""Gives the entries that a filter selects, the earliest first. Raises `ComputeError`."""

_EVERY_S = 1.5
"""Google allows a project 60 readings a minute."""
_PATIENCE_S = 20.0
"""Entries arrive some seconds after what they tell of."""
_GRACE_S = 4.0
"""What an instance died of may arrive so much later than that the request failed."""
_SKEW_S = 60.0
_QUOTED_LINES = 8
_LINE_CHARACTERS = 400
_TROUBLE = '(severity>=WARNING OR textPayload:"Worker (pid:")'
_REFUSED = "no available instance"
_TIME_IS_UP = "maximum request timeout"
_DEATHS = (_TIME_IS_UP, "Memory limit", "Container called exit", "Container terminated", "Worker (pid:")


class Records:
    """The logs, read by one thread for all that wait for an answer."""

    def __init__(self, read: Read, clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._due = 0.0
        self._troubles: list[Entry] = []
        self._waiting: list[tuple[str, float]] = []
        """Of each that waits, the service that it has asked and when."""

    def fate(self, service: str, trace: str, began: float, status: int) -> Failure:
        """Why the request with this trace was answered with an error. Raises `Throttled` if nothing has run of it.

        `began` is the time stamp of its start.
        """
        self._waiting.append((service, began))
        try:
            return self._await_fate(service, trace, began, status)
        finally:
            self._waiting.remove((service, began))

    def _await_fate(self, service: str, trace: str, began: float, status: int) -> Failure:
        until = self._clock.now() + _PATIENCE_S
        settles_at: float | None = None
        while True:
            try:
                troubles = self._look()
            except Throttled:
                troubles = []
            except ComputeError as error:
                return _lost(
                    f"the activation ended with status {status}, and why cannot be read in Google's logs: {error}"
                )
            entry = next((each for each in troubles if str(each.get("trace", "")).endswith(trace)), None)
            now = self._clock.now()
            if entry is not None:
                instance = _instance(entry)
                if not instance or _REFUSED in _text(entry):
                    raise Throttled(_text(entry) or f"Google has refused the request with status {status}")
                settles_at = settles_at or now + _GRACE_S
                mine = [each for each in troubles if _instance(each) == instance]
                if any(_tells_death(each) for each in mine) or now >= settles_at:
                    story = self._entries([service], f'labels.instanceId="{instance}"', began)
                    # Of what the instance did before, nobody asks. A request's entry bears the time of its start.
                    return _failure(
                        [each for each in story if each["timestamp"] >= entry["timestamp"]] or mine
                    )
            if now >= until:
                return _lost(
                    f"the activation ended with status {status}, of which Google's logs say nothing yet"
                )
            self._clock.wait(threading.Event(), _EVERY_S)

    def dead_events(
        self, services: Iterable[str], began: float, activation_ids: Sequence[str]
    ) -> dict[str, Failure]:
        """Those of the events, which came from `began` on, whose instance died while it worked on them."""
        names = sorted(services)
        deaths = [each for each in self._entries(names, _TROUBLE, began) if _tells_death(each)]
        dead: dict[str, Failure] = {}
        wanted = set(activation_ids)
        for instance in sorted({_instance(death) for death in deaths} - {""}):
            entries = self._entries(names, f'labels.instanceId="{instance}"', began)
            since_start: list[Entry] = []
            working_on = ""
            for entry in entries:
                if "lithops_activation" in _labels(entry):
                    working_on = _labels(entry)["lithops_activation"]
                    since_start = []
                since_start.append(entry)
                if working_on in wanted and _tells_death(entry):
                    dead[working_on] = _failure(since_start)
        return dead

    def _look(self) -> list[Entry]:
        """All that went wrong in the services that are waited for, as it was a moment ago at most."""
        with self._lock:
            if self._clock.now() >= self._due:
                self._due = self._clock.now() + _EVERY_S
                waiting = list(self._waiting)
                services = sorted({service for service, _ in waiting})
                self._troubles = self._entries(services, _TROUBLE, min(began for _, began in waiting))
            return self._troubles

    def _entries(self, services: Sequence[str], condition: str, began: float) -> list[Entry]:
        since = datetime.fromtimestamp(began - _SKEW_S, timezone.utc).isoformat().replace("+00:00", "Z")
        names = " OR ".join(f'"{name}"' for name in services)
        return list(
            self._read(
                f'resource.type="cloud_run_revision" AND resource.labels.service_name=({names}) AND '
                f'timestamp>="{since}" AND {condition}'
            )
        )


def _failure(story: Sequence[Entry]) -> Failure:
    """What became of an instance while it had an activation in hand, in the cloud's own words."""
    system = [_text(each) for each in story if "varlog" in str(each.get("logName"))]
    said = system or [_text(each) for each in story if "httpRequest" in each and _text(each)]
    memory = next((text for text in system if text.startswith("Memory limit")), None)
    if memory is not None:
        message = f"Google has ended the activation: {memory}; give it more with runtime_memory="
        return Failure(FailureKind.MEMORY, FailureKind.MEMORY.value, message)
    if any(_TIME_IS_UP in text for text in said):
        message = f"Google has ended the activation: {said[-1]}; give activations more with runtime_timeout"
        return Failure(FailureKind.TIMEOUT, FailureKind.TIMEOUT.value, message)
    message = "the instance died while it ran the call"
    output = _output(story)
    if said:
        message += f"; Google says: {said[-1]}"
    if output:
        message += "; its last output was:\n" + "\n".join(output[-_QUOTED_LINES:])
    return _lost(message)


def _lost(message: str) -> Failure:
    return Failure(FailureKind.LOST, FailureKind.LOST.value, message)


def _output(entries: Sequence[Entry]) -> list[str]:
    """The lines that an instance wrote."""
    lines = [_text(each) for each in entries if str(each.get("logName")).endswith(("stderr", "stdout"))]
    return [line[:_LINE_CHARACTERS] for line in lines if line]


def _text(entry: Entry) -> str:
    return str(entry.get("textPayload", ""))


def _labels(entry: Entry) -> Mapping[str, str]:
    labels: Mapping[str, str] = entry.get("labels") or {}
    return labels


def _instance(entry: Entry) -> str:
    return _labels(entry).get("instanceId", "")


def _tells_death(entry: Entry) -> bool:
    return any(words in _text(entry) for words in _DEATHS)

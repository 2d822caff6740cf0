"""Cloud Logging: entries that instances and the platform write, and `entries:list` with the filters that are used."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from google_identity import PROJECT
from google_web import Answer, Refused, Request, as_json

_SEVERITIES = ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
_TOKENS = re.compile(r'\(|\)|[:<>=!]+|"(?:[^"\\]|\\.)*"|[^\s()<>=:!"]+')
_FILTER_CHARACTERS = 20_000
_READS_PER_MINUTE = 60

Entry = dict[str, Any]


class Logs:
    """The entries of one project. They can be read some time after they were written, as in the cloud."""

    def __init__(self, *, delay_s: float = 0.2) -> None:
        self.delay_s = delay_s
        self.reads_per_minute = _READS_PER_MINUTE
        self._entries: list[tuple[float, Entry]] = []
        self._reads: list[float] = []
        self._lock = threading.Lock()

    def write(self, name: str, resource: Mapping[str, str], **fields: Any) -> None:
        """An entry of a Cloud Run revision, in the log `name`."""
        now = datetime.now(timezone.utc)
        entry: Entry = {
            "logName": f"projects/{PROJECT}/logs/run.googleapis.com%2F{name}",
            "resource": {"type": "cloud_run_revision", "labels": {"project_id": PROJECT, **resource}},
            "timestamp": stamp(now),
            "severity": "DEFAULT",
            **fields,
        }
        with self._lock:
            self._entries.append((time.monotonic() + self.delay_s, entry))

    def write_line(
        self, name: str, resource: Mapping[str, str], labels: Mapping[str, str], line: str
    ) -> None:
        """What an instance has printed: text, or JSON with the fields that Cloud Logging takes out of it."""
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            self.write(name, resource, labels=dict(labels), textPayload=line)
            return
        fields: Entry = {"labels": {**said.pop("logging.googleapis.com/labels", {}), **labels}}
        if "logging.googleapis.com/trace" in said:
            fields["trace"] = said.pop("logging.googleapis.com/trace")
        fields["severity"] = said.pop("severity", "DEFAULT")
        self.write(name, resource, jsonPayload=said, **fields)

    def write_build(self, number: str, text: str) -> None:
        """What a build has written, a line each; all of it is there when the build has ended."""
        with self._lock:
            for line in text.splitlines():
                resource = {"type": "build", "labels": {"build_id": number}}
                self._entries.append((0.0, {"resource": resource, "textPayload": line}))

    def entries(self, text: str = "") -> list[Entry]:
        """Those that a filter selects, delayed or not: for tests to look at."""
        matches = _parse(text) if text else lambda entry: True
        with self._lock:
            return [entry for _, entry in self._entries if matches(entry)]

    def list(self, request: Request) -> Answer:
        """`entries:list`."""
        asked = request.json()
        if asked["resourceNames"] != [f"projects/{PROJECT}"]:
            raise Refused(403, "The caller does not have permission")
        now = time.monotonic()
        with self._lock:
            self._reads = [*(read for read in self._reads if read > now - 60), now]
            if len(self._reads) > self.reads_per_minute:
                raise Refused(
                    429, "Quota exceeded for quota metric 'Read requests' of logging.googleapis.com"
                )
            there = [entry for visible, entry in self._entries if visible <= now]
        matches = _parse(asked.get("filter", ""))
        found = [entry for entry in there if matches(entry)]
        if asked.get("orderBy") == "timestamp desc":
            found.reverse()
        start, size = int(asked.get("pageToken", 0)), asked.get("pageSize", 50)
        page: Entry = {"entries": found[start : start + size]}
        if start + size < len(found):
            page["nextPageToken"] = str(start + size)
        return as_json(page)


def stamp(time: datetime) -> str:
    """The time as Google writes it."""
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


Matches = Callable[[Entry], bool]


def _parse(text: str) -> Matches:
    """A filter of comparisons with AND, OR and parentheses, in the precedence of Cloud Logging: OR before AND."""
    if len(text) > _FILTER_CHARACTERS:
        raise Refused(400, "Filter is too long")
    tokens = _TOKENS.findall(text)
    matches = _all_of(tokens)
    if tokens:
        raise Refused(400, f"Unparseable filter: syntax error at token '{tokens[0]}'")
    return matches


def _all_of(tokens: list[str]) -> Matches:
    parts = [_any_of(tokens)]
    while tokens and tokens[0] == "AND":
        del tokens[0]
        parts.append(_any_of(tokens))
    return lambda entry: all(part(entry) for part in parts)


def _any_of(tokens: list[str]) -> Matches:
    parts = [_one(tokens)]
    while tokens and tokens[0] == "OR":
        del tokens[0]
        parts.append(_one(tokens))
    return lambda entry: any(part(entry) for part in parts)


def _one(tokens: list[str]) -> Matches:
    try:
        if tokens[0] == "(":
            del tokens[0]
            inner = _all_of(tokens)
            _close(tokens)
            return inner
        path, operator = tokens.pop(0), tokens.pop(0)
        values = [tokens.pop(0)]
        if values == ["("]:
            values = [tokens.pop(0)]
            while tokens[0] == "OR":
                del tokens[0]
                values.append(tokens.pop(0))
            _close(tokens)
    except IndexError:
        raise Refused(400, "Unparseable filter: it ends too early") from None
    wanted = [json.loads(value) if value.startswith('"') else value for value in values]
    return lambda entry: any(_compare(_find(entry, path), operator, value) for value in wanted)


def _close(tokens: list[str]) -> None:
    if tokens.pop(0) != ")":
        raise Refused(400, "Unparseable filter: a parenthesis is missing")


def _find(entry: Any, path: str) -> Any:
    for name in path.split("."):
        entry = entry.get(name) if isinstance(entry, dict) else None
    return entry


def _compare(found: Any, operator: str, wanted: str) -> bool:
    if found is None:
        return False
    if operator == ":":
        return wanted == "*" or wanted in str(found)
    left: Any = str(found)
    right: Any = wanted
    if wanted in _SEVERITIES and left in _SEVERITIES:
        left, right = _SEVERITIES.index(left), _SEVERITIES.index(right)
    elif isinstance(found, int):
        left, right = found, int(wanted)
    results: dict[str, bool] = {
        "=": left == right,
        "!=": left != right,
        ">=": left >= right,
        "<=": left <= right,
    }
    return results[operator]

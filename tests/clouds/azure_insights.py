"""What Application Insights keeps of function apps, and enough of its query language to read it.

Queries are pipelines of `union`, `where` (`==`, `in`, `has`, `has_any`, `> ago(..)`), `project`, `order by` and `take`.
Any other text is refused, as a query with a mistake is.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from azure_http import Refused

Record = dict[str, Any]

_TABLES = ("traces", "exceptions", "requests")
_COLUMNS = (
    *("timestamp", "itemType", "operation_Id", "operation_Name", "cloud_RoleName", "message", "outerMessage"),
    *(
        "innermostMessage",
        "type",
        "name",
        "success",
        "resultCode",
        "duration",
        "severityLevel",
        "customDimensions",
    ),
)
_TEXT = r'"((?:[^"\\]|\\.)*)"'
_TEXTS = rf"{_TEXT}(?:\s*,\s*{_TEXT})*"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Telemetry:
    """All that was recorded. `lag_s` is how long a record takes to be found."""

    def __init__(self) -> None:
        self.lag_s = 0.0
        self._records: list[Record] = []
        self._lock = threading.Lock()

    def add(self, table: str, app: str, operation: str, **columns: Any) -> None:
        kind = table.removesuffix("s")
        known = {"itemType": kind, "timestamp": time.time(), "cloud_RoleName": app, "operation_Id": operation}
        with self._lock:
            self._records.append({**known, **columns})

    def records(self, table: str) -> list[Record]:
        with self._lock:
            return [record for record in self._records if f"{record['itemType']}s" == table]

    def query(self, text: str) -> dict[str, Any]:
        """The answer to a query, as the service gives it."""
        stages = [stage.strip() for stage in re.split(r"\|(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", text)]
        until = time.time() - self.lag_s
        rows = [row for name in _tables(stages[0]) for row in self.records(name) if row["timestamp"] <= until]
        columns = list(_COLUMNS)
        for stage in stages[1:]:
            verb, _, rest = stage.partition(" ")
            if verb == "where":
                rows = list(filter(_predicate(rest), rows))
            elif verb == "project":
                columns = [_column(name) for name in rest.split(",")]
            elif verb == "take" and rest.isdigit():
                rows = rows[: int(rest)]
            elif verb == "order" and (found := re.fullmatch(r"by (\w+) (asc|desc)", rest.strip())):
                name = _column(found[1])
                rows = sorted(rows, key=lambda row: row[name], reverse=found[2] == "desc")
            else:
                raise _mistake(stage)
        described = [{"name": name, "type": "string"} for name in columns]
        values = [[_shown(name, row.get(name)) for name in columns] for row in rows]
        return {"tables": [{"name": "PrimaryResult", "columns": described, "rows": values}]}


def _tables(stage: str) -> list[str]:
    names = [name.strip() for name in stage.removeprefix("union ").split(",")]
    if not set(names) <= set(_TABLES):
        raise _mistake(stage)
    return names


def _predicate(text: str) -> Callable[[Record], bool]:
    text = text.strip()
    if found := re.fullmatch(r"timestamp > ago\((\d+)([smhd])\)", text):
        since = time.time() - int(found[1]) * _UNITS[found[2]]
        return lambda row: bool(row["timestamp"] > since)
    if found := re.fullmatch(rf"(\w+) (==|has) {_TEXT}", text):
        name, wanted = _column(found[1]), found[3]
        if found[2] == "==":
            return lambda row: row.get(name) == wanted
        return lambda row: _has(row, name, wanted)
    if found := re.fullmatch(rf"(\w+) (in|has_any) \(\s*({_TEXTS})\s*\)", text):
        name, words = _column(found[1]), re.findall(_TEXT, found[3])
        if found[2] == "in":
            return lambda row: row.get(name) in words
        return lambda row: any(_has(row, name, word) for word in words)
    raise _mistake(text)


def _has(row: Record, name: str, word: str) -> bool:
    """Whole terms only, in any case, as `has` compares."""
    return bool(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", str(row.get(name, "")), re.IGNORECASE))


def _column(name: str) -> str:
    if name.strip() not in _COLUMNS:
        raise _mistake(name)
    return name.strip()


def _shown(name: str, value: Any) -> Any:
    if name == "timestamp":
        return datetime.fromtimestamp(value, timezone.utc).isoformat()
    return "" if value is None else value


def _mistake(text: str) -> Refused:
    return Refused(400, "BadArgumentError", f"The request had some invalid properties: {text}")

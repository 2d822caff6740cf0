"""What functions write, and what Lambda says of them, on its way to CloudWatch Logs (moto's)."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from typing import Any

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError

_MOST_EVENTS = 5_000


class LogShipper:
    """Gathers lines, and puts them into the logs in batches, some time later, as CloudWatch has them."""

    def __init__(self, endpoint: str, region: str) -> None:
        self.delay_s = 0.2
        self._client: Any = botocore.session.get_session().create_client(
            "logs",
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id="lambda",
            aws_secret_access_key="lambda",
        )
        self._lines: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
        self._lock = threading.Lock()
        self._streams: set[tuple[str, str]] = set()
        self._groups: set[str] = set()
        threading.Thread(target=self._run, daemon=True, name="log-shipper").start()

    def write(self, group: str, stream: str, text: str) -> None:
        """A line, or what Lambda takes for one."""
        with self._lock:
            self._lines[group, stream].append((int(time.time() * 1000), text))

    def forget(self, group: str) -> None:
        """The group was deleted by the user of the cloud: it is made anew when there is something to write."""
        self._groups.discard(group)
        self._streams = {each for each in self._streams if each[0] != group}

    def _run(self) -> None:
        while True:
            time.sleep(self.delay_s)
            with self._lock:
                lines, self._lines = self._lines, defaultdict(list)
            for (group, stream), events in lines.items():
                try:
                    self._ship(group, stream, events)
                except (BotoCoreError, ClientError):  # logs are lost now and then; the functions go on
                    self.forget(group)

    def _ship(self, group: str, stream: str, events: list[tuple[int, str]]) -> None:
        if group not in self._groups:
            self._make(self._client.create_log_group, logGroupName=group)
            self._groups.add(group)
        if (group, stream) not in self._streams:
            self._make(self._client.create_log_stream, logGroupName=group, logStreamName=stream)
            self._streams.add((group, stream))
        for start in range(0, len(events), _MOST_EVENTS):
            self._client.put_log_events(
                logGroupName=group,
                logStreamName=stream,
                logEvents=[
                    {"timestamp": at, "message": text} for at, text in events[start : start + _MOST_EVENTS]
                ],
            )

    def _make(self, create: Any, **names: str) -> None:
        try:
            create(**names)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
                raise

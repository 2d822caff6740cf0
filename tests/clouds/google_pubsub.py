"""Pub/Sub, and Eventarc behind it: topics as REST, and events that are pushed to functions, at least once."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.message import Message
from queue import Queue
from typing import Any

from google_identity import Identities
from google_run import CloudRun
from google_web import Answer, Refused, Request, as_json

_TOPIC = re.compile(r"/v1/(projects/[^/]+/topics/[^/:]+)(?::(\w+))?")
_MESSAGE_BYTES = 10 << 20
_EVENT_BYTES = 512 << 10


@dataclass(frozen=True, slots=True)
class _Event:
    topic: str
    id: str
    data: str
    attributes: Mapping[str, str]
    published: str

    def request(self) -> Request:
        message = {
            "data": self.data, "attributes": dict(self.attributes), "messageId": self.id, "publishTime": self.published,
        }  # fmt: skip
        subscription = f"{self.topic.replace('/topics/', '/subscriptions/')}-sub"
        body = json.dumps({"message": message, "subscription": subscription}).encode()
        headers = Message()
        for name, value in {
            "Content-Type": "application/json",
            "Ce-Id": self.id,
            "Ce-Source": f"//pubsub.googleapis.com/{self.topic}",
            "Ce-Specversion": "1.0",
            "Ce-Type": "google.cloud.pubsub.topic.v1.messagePublished",
            "Ce-Time": self.published,
        }.items():
            headers[name] = value
        return Request("POST", "/", {}, headers, body)


class PubSub:
    """The topics of the project, and the functions that are told of their messages."""

    def __init__(self, identities: Identities, run: CloudRun, *, backoff_s: float) -> None:
        self.topics: set[str] = set()
        self.published = 0
        self.delivered = 0
        self.duplicate_every = 0
        """Each so many'th event is delivered twice; 0: none."""
        self.refusals = 0
        """So many of the next publications are refused with 429."""
        self._identities = identities
        self._run = run
        self._backoff_s = backoff_s
        self._subscriptions: dict[str, tuple[str, Mapping[str, Any]]] = {}
        self._numbers = itertools.count(1)
        self._events: Queue[tuple[_Event, str] | None] = Queue()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._deliver, name="pubsub")
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._events.put(None)
        self._thread.join()

    def subscribe(self, topic: str, name: str, trigger: Mapping[str, Any]) -> None:
        if topic not in self.topics:
            raise Refused(404, f"Resource not found (resource={topic.rpartition('/')[2]}).")
        self._subscriptions[name] = topic, trigger

    def unsubscribe(self, name: str) -> None:
        self._subscriptions.pop(name, None)

    def api(self, request: Request) -> Answer:
        found = _TOPIC.fullmatch(request.path)
        if found is None:
            raise Refused(404, f"Not found: {request.path}")
        email = self._identities.who(request)
        topic, verb = found.groups()
        permission = verb or {"PUT": "create", "GET": "get", "DELETE": "delete"}[request.method]
        self._identities.demand(email, f"pubsub.topics.{permission}", topic)
        if permission == "create":
            if topic in self.topics:
                raise Refused(
                    409, f"Resource already exists in the project (resource={topic.rpartition('/')[2]})."
                )
            self.topics.add(topic)
            return as_json({"name": topic})
        if topic not in self.topics:
            raise Refused(404, f"Resource not found (resource={topic.rpartition('/')[2]}).")
        if permission == "delete":
            self.topics.remove(topic)
            return as_json({})
        return self._publish(request, topic) if verb == "publish" else as_json({"name": topic})

    def _publish(self, request: Request, topic: str) -> Answer:
        if self.refusals:
            self.refusals -= 1
            raise Refused(429, "Quota exceeded for quota metric 'Regional publisher throughput, kB'")
        if len(request.body) > _MESSAGE_BYTES:
            raise Refused(400, f"Request payload size exceeds the limit: {_MESSAGE_BYTES} bytes.")
        ids = []
        for message in request.json()["messages"]:
            number = next(self._numbers)
            published = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
            event = _Event(
                topic, str(10**15 + number), message["data"], message.get("attributes", {}), published
            )
            ids.append(event.id)
            self.published += 1
            for name, (subscribed, _) in list(self._subscriptions.items()):
                if subscribed == topic:
                    again = self.duplicate_every and number % self.duplicate_every == 0
                    for _ in range(2 if again else 1):
                        self._events.put((event, name))
        return as_json({"messageIds": ids})

    def _deliver(self) -> None:
        while (item := self._events.get()) is not None:
            threading.Thread(target=self._push, args=item, daemon=True).start()

    def _push(self, event: _Event, name: str) -> None:
        """Until the function has taken it; if it failed, again only where the trigger says so."""
        waits_s = self._backoff_s
        while name in self._subscriptions and not self._closed.is_set():
            _, trigger = self._subscriptions[name]
            request = event.request()
            if len(request.body) > _EVENT_BYTES:
                return
            retries = trigger.get("retryPolicy") in (2, "RETRY_POLICY_RETRY")
            answer = self._run.push(request, name, trigger["serviceAccountEmail"], masked=not retries)
            self.delivered += 1
            # A request that no instance has taken is no failure of the function.
            if answer.status < 300 or (answer.status != 429 and not retries):
                return
            self._closed.wait(waits_s)
            waits_s = min(2 * waits_s, 600.0)

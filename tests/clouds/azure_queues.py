"""How messages of a queue start functions: what the host of Azure Functions does, with a real queue of Azurite."""

from __future__ import annotations

import base64
import binascii
import re
import threading
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import Any

from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueMessage
from azure_app import FunctionApp
from azure_instance import Instance, InstanceDied, Invocation
from azure_world import QUEUE_CONTRIBUTOR

_LOOK_EVERY_S = 0.02
_MOST_AT_ONCE = 32


class QueueListener:
    """Brings the messages of one function's queue to the app's instances, until it is closed."""

    def __init__(self, app: FunctionApp, function: str, binding: dict[str, Any]) -> None:
        self._app = app
        self._function = function
        self._parameter = binding["name"]
        name = _setting(app, binding["queueName"])
        self._queue = _client(app, name)
        self._poison = _client(app, f"{name}-poison")
        self._most = int(_queue_options(app).get("maxDequeueCount", 5))
        self._delivered = 0
        self._stopped = threading.Event()
        self._connection = binding["connection"]
        self._thread = threading.Thread(target=self._listen, daemon=True, name="azure-queue")
        self._thread.start()

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._queue.close()
        self._poison.close()

    def _listen(self) -> None:
        if not self._may_listen():
            text = f"The listener for function 'Functions.{self._function}' was unable to start."
            self._app.record(
                "exceptions", "", outerMessage=text, innermostMessage="AuthorizationPermissionMismatch"
            )
            return
        while not self._stopped.wait(_LOOK_EVERY_S):
            try:
                self._look()
            except ResourceNotFoundError:
                continue  # the queue is not there yet
            except (AzureError, InstanceDied) as error:
                self._app.record("exceptions", "", outerMessage=str(error), innermostMessage=str(error))

    def _may_listen(self) -> bool:
        settings, connection = self._app.settings, self._connection
        named = f"{connection}__queueServiceUri" in settings or f"{connection}__accountName" in settings
        by_identity = settings.get(f"{connection}__credential", "managedidentity") == "managedidentity"
        allowed = self._app.world.may(self._app.principal, QUEUE_CONTRIBUTOR)
        return connection in settings or (named and by_identity and allowed)

    def _look(self) -> None:
        """Take as many messages as there are instances for."""
        while not self._stopped.is_set():
            instance = self._app.acquire()
            if instance is None:
                return
            message = self._queue.receive_message(
                visibility_timeout=max(1, int(self._app.world.rules.lease_s))
            )
            if message is None:
                self._app.release(instance)
                return
            threading.Thread(
                target=self._process, args=(instance, message), daemon=True, name="azure-message"
            ).start()

    def _process(self, instance: Instance, message: QueueMessage) -> None:
        count = message.dequeue_count or 1
        try:
            body = base64.b64decode(message.content, validate=True)
        except binascii.Error:
            body, count = b"", self._most + 1
        if count > self._most:
            # It was being worked on when its instance vanished, or cannot be read.
            self._app.release(instance)
            self._give_up(message)
            return
        operation = uuid.uuid4().hex
        invocation = Invocation(
            str(uuid.uuid4()),
            self._function,
            "queueTrigger",
            self._parameter,
            body,
            f"00-{operation}-{uuid.uuid4().hex[:16]}-01",
            metadata={"Id": message.id, "DequeueCount": count, "PopReceipt": message.pop_receipt},
        )
        details = f"Trigger Details: MessageId: {message.id}, DequeueCount: {count}, InsertedOn: {message.inserted_on}"
        self._app.record("traces", operation, message=details)
        reason = f"New queue message detected on '{self._queue.queue_name}'."
        lease = _Lease(self._queue, message, self._app.world.rules.lease_s)
        try:
            result = self._app.execute(instance, invocation, operation, reason)
            again = self._app.acquire() if self._is_to_be_repeated() else None
            if again is not None:
                repeated = replace(invocation, id=str(uuid.uuid4()))
                self._app.execute(again, repeated, operation, reason)
        except InstanceDied as died:
            if died.cause in ("memory", "recycled"):
                return  # nobody is left to say so: the message comes back when its lease ends
            result = {"raised": str(died)}
        finally:
            message = lease.end()
        if "raised" not in result:
            self._queue.delete_message(message)
        elif count >= self._most:
            self._give_up(message)
        else:
            self._queue.update_message(message, visibility_timeout=0)

    def _is_to_be_repeated(self) -> bool:
        """Whether this message is one of those that are delivered twice."""
        every = self._app.world.faults.duplicate_every
        self._delivered += 1
        return bool(every) and self._delivered % every == 0

    def _give_up(self, message: QueueMessage) -> None:
        try:
            self._poison.send_message(message.content)
        except ResourceNotFoundError:
            self._poison.create_queue()
            self._poison.send_message(message.content)
        with suppress(ResourceNotFoundError):  # whoever saw it put aside may have removed the queue
            self._queue.delete_message(message)
        moving = f"Moving message to queue '{self._poison.queue_name}'."
        text = f"Message has reached MaxDequeueCount of {self._most}. {moving}"
        self._app.record("traces", "", message=text, severityLevel=2)


class _Lease:
    """Keeps a message hidden while its function runs."""

    def __init__(self, queue: QueueClient, message: QueueMessage, length_s: float) -> None:
        self._queue = queue
        self._message = message
        self._length_s = max(1, int(length_s))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="azure-lease")
        self._thread.start()

    def end(self) -> QueueMessage:
        """The message as it is to be named now."""
        self._ended.set()
        self._thread.join()
        return self._message

    def _renew(self) -> None:
        while not self._ended.wait(self._length_s / 2):
            renewed = self._queue.update_message(self._message, visibility_timeout=self._length_s)
            self._message.pop_receipt = renewed.pop_receipt


def _queue_options(app: FunctionApp) -> dict[str, Any]:
    options: dict[str, Any] = app.host.get("extensions", {}).get("queues", {})
    return options


def _setting(app: FunctionApp, name: str) -> str:
    """The name, or what the app's settings have in place of a name in percent signs."""
    found = re.fullmatch("%(.+)%", name)
    return app.settings[found[1]] if found else name


def _client(app: FunctionApp, name: str) -> QueueClient:
    account = app.world.azurite
    credential = {"account_name": account.account_name, "account_key": account.account_key}
    trusted = str(app.world.certificate.authority)
    return QueueClient(app.world.queues, name, credential, retry_total=2, connection_verify=trusted)

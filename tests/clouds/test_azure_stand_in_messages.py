"""The stand-in for Azure brings messages of a queue to functions as Azure does, with a real queue of Azurite."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.queue import QueueClient
from azure_app import FunctionApp
from azure_fixtures import Manager, azure, call, calm, manager
from azure_service import Azure
from azure_world import BLOB_OWNER, GROUP

__all__ = ["azure", "call", "calm", "manager"]

Eventually = Callable[..., None]

_QUEUE = """
import azure.functions as func, logging, os

app = func.FunctionApp()

@app.queue_trigger(arg_name="msg", queue_name="%MESSAGES%", connection="AzureWebJobsStorage")
def take(msg: func.QueueMessage) -> None:
    text = msg.get_body().decode()
    logging.warning("took %s %s %s", text, msg.id, msg.dequeue_count)
    if text == "raise":
        raise ValueError("on purpose")
    if text == "vanish":
        os.kill(os.getppid(), 0)
        eaten = bytearray(400000000)
        eaten[::1000] = bytes([1]) * len(eaten[::1000])
        import time
        time.sleep(5)
"""


# ---------------------------------------------------------------- messages


@pytest.fixture
def queue(azure: Azure) -> Iterator[QueueClient]:
    account = azure.world.azurite
    key = {"account_name": account.account_name, "account_key": account.account_key}
    with QueueClient(azure.world.queues, f"q{uuid.uuid4().hex}", key) as client:
        client.create_queue()
        yield client


@pytest.fixture
def queue_app(azure: Azure, manager: Manager, queue: QueueClient) -> Iterator[FunctionApp]:
    app = _queue_app(azure, manager, queue)
    yield app
    manager.web.web_apps.delete(GROUP, app.name)


def _queue_app(azure: Azure, manager: Manager, queue: QueueClient, **options: Any) -> FunctionApp:
    settings = {
        "MESSAGES": queue.queue_name,
        "AzureWebJobsStorage__queueServiceUri": azure.world.queues,
        "AzureWebJobsStorage__credential": "managedidentity",
    }
    app = manager.app(f"queue-{uuid.uuid4().hex[:8]}", settings=settings, **options)
    assert manager.publish(app, _QUEUE, extensions={"queues": {"maxDequeueCount": 3}})["status"] == 4
    return app


def _put(queue: QueueClient, text: str) -> str:
    return str(queue.send_message(base64.b64encode(text.encode()).decode()).id)


def _taken(azure: Azure, text: str) -> list[str]:
    told = [str(each["message"]) for each in azure.world.telemetry.records("traces")]
    return [words for words in told if words.startswith(f"took {text} ")]


def _poison(azure: Azure, queue: QueueClient) -> list[str]:
    account = azure.world.azurite
    key = {"account_name": account.account_name, "account_key": account.account_key}
    with QueueClient(azure.world.queues, f"{queue.queue_name}-poison", key) as client:
        try:
            return [each.content for each in client.peek_messages(32)]
        except ResourceNotFoundError:
            return []


def test_a_message_starts_the_function_once(
    azure: Azure, queue_app: FunctionApp, queue: QueueClient, eventually: Eventually
) -> None:
    name = f"hello-{queue.queue_name}"
    identity = _put(queue, name)
    eventually(lambda: _taken(azure, name))
    eventually(lambda: queue.get_queue_properties().approximate_message_count == 0)
    assert _taken(azure, name) == [f"took {name} {identity} 1"]
    details = [each for each in azure.world.telemetry.records("traces") if identity in str(each["message"])]
    assert len({each["operation_Id"] for each in details}) == 1


def test_a_message_that_fails_is_tried_again_and_put_aside(
    azure: Azure, queue_app: FunctionApp, queue: QueueClient, eventually: Eventually
) -> None:
    before = len(_taken(azure, "raise"))
    _put(queue, "raise")
    eventually(lambda: _poison(azure, queue))
    assert len(_taken(azure, "raise")) - before == 3


def test_what_is_not_base64_is_put_aside(
    azure: Azure, queue_app: FunctionApp, queue: QueueClient, eventually: Eventually
) -> None:
    queue.send_message("!plain!")
    eventually(lambda: _poison(azure, queue) == ["!plain!"])


def test_the_message_of_an_instance_that_vanished_comes_back_later(
    azure: Azure, queue_app: FunctionApp, queue: QueueClient, eventually: Eventually
) -> None:
    azure.rules.lease_s, azure.rules.memory_scale = 1.0, 0.1
    queue_app.recycle()
    before = len(_taken(azure, "vanish"))
    _put(queue, "vanish")
    eventually(lambda: _poison(azure, queue), within_s=20)
    assert 1 <= len(_taken(azure, "vanish")) - before <= 3


def test_messages_are_now_and_then_delivered_twice(
    azure: Azure, queue_app: FunctionApp, queue: QueueClient, eventually: Eventually
) -> None:
    azure.faults.duplicate_every = 2
    for number in range(4):
        _put(queue, f"n{number}-{queue.queue_name}")
    eventually(lambda: queue.get_queue_properties().approximate_message_count == 0)
    times = [len(_taken(azure, f"n{number}-{queue.queue_name}")) for number in range(4)]
    assert min(times) == 1
    assert max(times) == 2


def test_messages_need_a_role(
    azure: Azure, manager: Manager, queue: QueueClient, eventually: Eventually
) -> None:
    app = _queue_app(azure, manager, queue, roles=(BLOB_OWNER,))

    def complained() -> bool:
        found = azure.world.telemetry.records("exceptions")
        return any(each["cloud_RoleName"] == app.name for each in found)

    eventually(complained)
    _put(queue, "unheard")
    time.sleep(0.2)
    assert _taken(azure, "unheard") == []
    manager.web.web_apps.delete(GROUP, app.name)

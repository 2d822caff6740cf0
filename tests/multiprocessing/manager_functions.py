"""What processes of the tests do with a manager's objects. It goes along to a cloud, and imports little."""

from __future__ import annotations

import importlib
from multiprocessing import AuthenticationError
from typing import Any


def put_all(*proxies: Any) -> None:
    numbers, words, inbox, lock = proxies
    with lock:
        numbers.append(2)
        words["two"] = numbers
        inbox.put("done")


def visit(managers: str, address: Any, key: bytes, outbox: Any) -> None:
    module = importlib.import_module(managers)
    client = module.SyncManager(address=address, authkey=key)
    try:
        client.connect()
    except AuthenticationError as error:
        outbox.put(str(error))
    else:
        outbox.put(client.list([1])[:])

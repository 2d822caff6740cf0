"""The process in which a function app's code runs: Microsoft's own `azure-functions-runtime`, and what it talks to.

On Azure a worker passes messages of gRPC on to that library. Here a pipe brings the same messages as JSON. This file
is a program: it is run with nothing but the standard library, the package, and the folder of the worker's own packages
on its path, which its arguments name.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import logging
import os
import struct
import sys
import threading
from types import SimpleNamespace
from typing import Any, BinaryIO

_LENGTH = struct.Struct("<I")


_NUMBERS = {"out": 1, "inout": 2, "undefined": 0}
"""What bindings are described with."""


class _Kind(type):
    """A message's class; its constants, as `StatusResult.Success`, are their own names, or numbers."""

    def __getattr__(cls, name: str) -> str | int:
        if name.startswith("__"):
            raise AttributeError(name)
        return _NUMBERS.get(name, name)


class _Message(SimpleNamespace):
    def WhichOneof(self, group: str) -> str | None:  # noqa: N802 - protobuf's name
        return next(iter(vars(self)), None) if group == "data" else "data"


class _Protos:
    """Stands for the generated classes of the messages."""

    def __getattr__(self, name: str) -> Any:
        return _Kind(name, (_Message,), {})


class _Pipe:
    """Frames of JSON in both directions; logs come from any thread."""

    def __init__(self, reads: BinaryIO, writes: BinaryIO) -> None:
        self._reads = reads
        self._writes = writes
        self._lock = threading.Lock()

    def receive(self) -> Any:
        head = self._reads.read(_LENGTH.size)
        return json.loads(self._reads.read(*_LENGTH.unpack(head))) if head else None

    def send(self, message: Any) -> None:
        data = json.dumps(message).encode()
        with self._lock:
            self._writes.write(_LENGTH.pack(len(data)) + data)
            self._writes.flush()


class _Logs(logging.Handler):
    """Log records go to the host with the invocation that they belong to."""

    def __init__(self, pipe: _Pipe, invocation: Any) -> None:
        super().__init__()
        self._pipe = pipe
        self._invocation = invocation

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith("azure.functions"):
            message = {"log": self.format(record), "level": record.levelno}
            self._pipe.send({**message, "invocation": self._invocation.get()})


async def _serve(pipe: _Pipe, root: str) -> None:
    # Checks of types need not find it installed.
    runtime: Any = importlib.import_module("azure_functions_runtime")
    logging.getLogger().addHandler(_Logs(pipe, runtime.invocation_id_cv))
    logging.getLogger().setLevel(logging.INFO)
    runtime.start_threadpool_executor()
    asked = SimpleNamespace(capabilities={}, function_app_directory=root)
    started = await runtime.worker_init_request(_asked("worker_init_request", asked))
    if started.result.status != "Success":
        pipe.send({"failed": started.result.exception.message, "trace": started.result.exception.stack_trace})
        return
    listed = await runtime.functions_metadata_request(_asked("functions_metadata_request", None))
    functions = {}
    for function in listed.function_metadata_results or ():
        loading = SimpleNamespace(function_id=function.function_id)
        await runtime.function_load_request(_asked("function_load_request", loading))
        functions[function.name] = function.function_id
    bindings = {
        function.name: list(map(json.loads, function.raw_bindings))
        for function in listed.function_metadata_results or ()
    }
    pipe.send({"functions": bindings})
    while (message := await asyncio.to_thread(pipe.receive)) is not None:
        answer = await runtime.invocation_request(_invocation(message, functions))
        pipe.send(_told(answer))


def _asked(name: str, content: Any) -> Any:
    return SimpleNamespace(
        request=SimpleNamespace(**{name: content}), properties={"host": "127.0.0.1", "protos": _Protos()}
    )


def _invocation(message: dict[str, Any], functions: dict[str, str]) -> Any:
    data = base64.b64decode(message["body"])
    metadata = {}
    if message["trigger"] == "httpTrigger":
        parts = {name: message[name] for name in ("method", "url", "headers", "query")}
        trigger = _Message(http=_Message(**parts, params={}, body=_Message(bytes=data)))
    else:
        trigger = _Message(bytes=data)
        metadata = {name: _Message(json=json.dumps(value)) for name, value in message["metadata"].items()}
    none = SimpleNamespace(retry_count=0, max_retry_count=0, exception=None)
    trace = SimpleNamespace(trace_parent=message["trace_parent"], trace_state="", attributes={})
    content = SimpleNamespace(
        invocation_id=message["invocation"],
        function_id=functions[message["function"]],
        input_data=[SimpleNamespace(name=message["parameter"], data=trigger, WhichOneof=lambda _: "data")],
        trigger_metadata=metadata,
        trace_context=trace,
        retry_context=none,
    )
    return _asked("invocation_request", content)


def _told(answer: Any) -> dict[str, Any]:
    if answer.result.status != "Success":
        raised = answer.result.exception
        return {"raised": raised.message, "trace": raised.stack_trace}
    if answer.return_value is None:
        return {"status": 204, "headers": {}, "body": ""}
    http = answer.return_value.http
    body = http.body.bytes if http.body.WhichOneof("data") == "bytes" else http.body.string.encode()
    return {
        "status": int(http.status_code),
        "headers": dict(http.headers),
        "body": base64.b64encode(body).decode(),
    }


def main() -> None:
    root, own_packages = sys.argv[1:]
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path = [os.path.join(root, ".python_packages/lib/site-packages"), root] + [
        path for path in sys.path if path != here
    ]
    sys.path.append(own_packages)
    os.chdir(root)
    # The app's own output goes where the host reads the console from.
    pipe = _Pipe(os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb"))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    asyncio.run(_serve(pipe, root))


if __name__ == "__main__":
    main()

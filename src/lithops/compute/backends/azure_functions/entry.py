"""What runs in a function app: the functions that Azure calls, with a request or with a message of the app's queue.

The app's `function_app.py` makes its app of them. Azure calls functions in threads, so calls have processes of their
own, which can be stopped.
"""

from __future__ import annotations

import json
import logging

import azure.functions as azure

from lithops.compute.backends.azure_functions import MARK, QUEUE_SETTING, ROUTE, read_message
from lithops.worker.sandbox import Sandbox


def make_app(*, processes: int, timeout_s: float, queue: bool) -> azure.FunctionApp:
    """The app of functions that answer requests, and of one that takes messages where there is a `queue`."""
    sandbox = Sandbox(processes=processes, isolated=True)
    app = azure.FunctionApp()

    def answer(req: azure.HttpRequest) -> azure.HttpResponse:
        reply = sandbox.answer(req.get_json(), _trace_of(req), timeout_s)
        return azure.HttpResponse(json.dumps(reply), mimetype="application/json")

    def take(msg: azure.QueueMessage) -> None:
        message = read_message(msg.get_body())
        logging.info("%s %s", MARK, message["activation"])
        sandbox.answer(message["task"], message["activation"], timeout_s)

    route = app.route(route=ROUTE, methods=["POST"], auth_level=azure.AuthLevel.FUNCTION)
    app.function_name("answer")(route(answer))
    if queue:
        trigger = app.queue_trigger(
            arg_name="msg", queue_name=f"%{QUEUE_SETTING}%", connection="AzureWebJobsStorage"
        )
        app.function_name("take")(trigger(take))
    return app


def _trace_of(req: azure.HttpRequest) -> str:
    """The trace that the request belongs to: the client's name for the activation."""
    parts = req.headers.get("traceparent", "").split("-")
    return parts[1] if len(parts) == 4 else ""

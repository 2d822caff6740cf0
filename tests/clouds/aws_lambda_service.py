"""Lambda's REST API over real sandboxes: `python aws_lambda_service.py CONFIGURATION`, a JSON object.

`/_control` is for the tests: PUT changes `Settings`, GET gives them with the counts so far.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import random
import re
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import botocore.session
from aws_control import ACCOUNT, Control, Deployed
from aws_http import HttpServer, Reply, Request, json_reply
from aws_invocations import Account, Settings, TooMany
from aws_logs import LogShipper
from aws_refusals import EVENT_BYTES, REQUEST_BYTES, SYNC_BYTES, Refused, check_tags
from aws_sandbox import Invocation, Outcome
from botocore.exceptions import ClientError

_INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
_PAGE = 50


class Service:
    """Answers the requests of SDKs."""

    def __init__(self, control: Control, account: Account, access_keys: set[str]) -> None:
        self._control = control
        self._account = account
        self._access_keys = access_keys
        self._random = random.Random(account.settings.seed)
        self._record_lock = threading.Lock()
        self._routes = [
            (re.compile(path), method, action, answer) for path, method, action, answer in self._table()
        ]

    def answer(self, request: Request) -> Reply | None:
        path, _, query = request.path.partition("?")
        if path == "/_control":
            return self._settings(request)
        if self._account.settings.record:
            self._record(request)
        request_id = str(uuid.uuid4())
        try:
            self._check_identity(request)
            invoked = _INVOKE.fullmatch(path) if request.method == "POST" else None
            if invoked is not None:
                reply = self._invoke(unquote(invoked[1]), request, request_id)
            else:
                reply = self._route(path, query, request)
        except Refused as refused:
            reply = refused.reply()
        if reply is not None:
            reply.headers["x-amzn-RequestId"] = request_id
        return reply

    # ---------------------------------------------------------------- invocations

    def _invoke(self, name: str, request: Request, request_id: str) -> Reply | None:
        self._check_allowed("InvokeFunction")
        self._storm()
        waits = request.headers.get("x-amz-invocation-type", "RequestResponse") != "Event"
        limit = SYNC_BYTES if waits else EVENT_BYTES
        if len(request.body) > limit:
            text = f"Request must be smaller than {limit} bytes for the InvokeFunction operation"
            raise Refused("RequestTooLargeException", text)
        function = self._control.find(name)
        self._control.check_active(function)
        try:
            json.loads(request.body or b"{}")
        except ValueError as error:
            text = f"Could not parse request body into json: {error}"
            raise Refused("InvalidRequestContentException", text) from None
        if not waits:
            self._account.submit(function.running, request_id, request.body)
            return Reply(202)
        return self._run(function, request, request_id)

    def _run(self, function: Deployed, request: Request, request_id: str) -> Reply | None:
        outcomes: list[Outcome] = []
        ended = threading.Event()

        def end(outcome: Outcome) -> None:
            outcomes.append(outcome)
            ended.set()

        try:
            self._account.invoke(function.running, Invocation(request_id, request.body or b"{}", end))
        except TooMany as reason:
            self._account.counts["refused"] += 1
            raise Refused("TooManyRequestsException", "Rate Exceeded.", Reason=str(reason)) from None
        ended.wait()
        if self._account.settings.drop_replies > 0:
            self._account.settings.drop_replies -= 1
            return None
        outcome = outcomes[0]
        headers = {"X-Amz-Executed-Version": "$LATEST"}
        if outcome.error:
            headers["X-Amz-Function-Error"] = outcome.error
        if request.headers.get("x-amz-log-type") == "Tail":
            headers["X-Amz-Log-Result"] = base64.b64encode(outcome.tail.encode()).decode()
        return Reply(200, outcome.payload, headers)

    def _storm(self) -> None:
        settings = self._account.settings
        if settings.refuse_for_s <= time.monotonic() or self._random.random() >= settings.refuse_rate:
            return
        self._account.counts["refused"] += 1
        status = self._random.choice(settings.refuse_with)
        if status == 429:
            raise Refused("TooManyRequestsException", "Rate Exceeded.", Reason="CallerRateLimitExceeded")
        raise Refused("ServiceException", "The service is out of order.")

    # ---------------------------------------------------------------- who asks, and for what

    def _check_identity(self, request: Request) -> None:
        signed = re.match(r"AWS4-HMAC-SHA256 Credential=([^/]+)/", request.headers.get("authorization", ""))
        if signed is None or signed[1] not in self._access_keys:
            text = "The security token included in the request is invalid."
            raise Refused("UnrecognizedClientException", text)

    def _check_allowed(self, action: str) -> None:
        if action in self._account.settings.denied:
            raise Refused("AccessDeniedException", f"User is not authorized to perform: lambda:{action}")

    def _route(self, path: str, query: str, request: Request) -> Reply:
        if len(request.body) > REQUEST_BYTES:
            text = f"Request must be smaller than {REQUEST_BYTES} bytes"
            raise Refused("RequestEntityTooLargeException", text)
        for pattern, method, action, answer in self._routes:
            match = pattern.fullmatch(path)
            if match is not None and method == request.method:
                self._check_allowed(action)
                words = [unquote(word) for word in match.groups()]
                given = {name: values[0] for name, values in parse_qs(query).items()}
                if "tagKeys" in given:
                    given["tagKeys"] = parse_qs(query)["tagKeys"]  # type: ignore[assignment]
                return answer(request, given, *words)
        return json_reply({"message": f"no such operation here: {request.method} {path}"}, 501)

    def _table(self) -> list[tuple[str, str, str, Callable[..., Reply]]]:
        control, functions = self._control, "/2015-03-31/functions"
        one, layers = functions + "/([^/]+)", "/2018-10-31/layers"
        retries = "/2019-09-25/functions/([^/]+)/event-invoke-config"

        def created(request: Request, _: Any) -> Reply:
            return json_reply(control.create(request.json()), 201)

        def published(request: Request, _: Any, name: str) -> Reply:
            return json_reply(control.publish_layer(name, request.json()), 201)

        def layer_deleted(_: Request, __: Any, name: str, version: str) -> Reply:
            control.layers[name] = [
                each for each in control.layers.get(name, []) if str(each.version) != version
            ]
            return Reply(204)

        def deleted(_: Request, __: Any, name: str) -> Reply:
            control.delete(name)
            return Reply(204)

        return [
            (functions, "POST", "CreateFunction", created),
            (functions + "/?", "GET", "ListFunctions", self._list_functions),
            (one, "GET", "GetFunction", self._get_function),
            (one, "DELETE", "DeleteFunction", deleted),
            (one + "/configuration", "GET", "GetFunctionConfiguration",
             lambda _, __, name: json_reply(control.describe(control.find(name)))),
            (one + "/configuration", "PUT", "UpdateFunctionConfiguration",
             lambda request, _, name: json_reply(control.update_settings(name, request.json()))),
            (one + "/code", "PUT", "UpdateFunctionCode",
             lambda request, _, name: json_reply(control.update_code(name, request.json()))),
            ("/2017-10-31/functions/([^/]+)/concurrency", "PUT", "PutFunctionConcurrency", self._put_concurrency),
            (retries, "PUT", "PutFunctionEventInvokeConfig", self._put_retries),
            (retries, "GET", "GetFunctionEventInvokeConfig",
             lambda _, __, name: json_reply(control.find(name).retries)),
            ("/2016-08-19/account-settings/?", "GET", "GetAccountSettings", self._get_account),
            ("/2017-03-31/tags/(.+)", "GET", "ListTags",
             lambda _, __, arn: json_reply({"Tags": control.find(arn).tags})),
            ("/2017-03-31/tags/(.+)", "POST", "TagResource", self._tag),
            ("/2017-03-31/tags/(.+)", "DELETE", "UntagResource", self._untag),
            (layers + "/?", "GET", "ListLayers", self._list_layers),
            (layers + "/([^/]+)/versions", "POST", "PublishLayerVersion", published),
            (layers + "/([^/]+)/versions", "GET", "ListLayerVersions", self._list_versions),
            (layers + r"/([^/]+)/versions/(\d+)", "GET", "GetLayerVersion", self._get_layer),
            (layers + r"/([^/]+)/versions/(\d+)", "DELETE", "DeleteLayerVersion", layer_deleted),
        ]  # fmt: skip

    # ---------------------------------------------------------------- answers

    def _list_functions(self, _: Request, given: dict[str, str]) -> Reply:
        found = [self._control.describe(each) for _, each in sorted(self._control.functions.items())]
        return _page("Functions", found, given)

    def _get_function(self, _: Request, __: Any, name: str) -> Reply:
        function = self._control.find(name)
        code = {"RepositoryType": "S3", "Location": "https://code.invalid/"}
        shown = {"Configuration": self._control.describe(function), "Code": code, "Tags": function.tags}
        if function.running.reserved is not None:
            shown["Concurrency"] = {"ReservedConcurrentExecutions": function.running.reserved}
        return json_reply(shown)

    def _put_concurrency(self, request: Request, _: Any, name: str) -> Reply:
        function = self._control.find(name)
        function.running.reserved = request.json()["ReservedConcurrentExecutions"]
        return json_reply({"ReservedConcurrentExecutions": function.running.reserved})

    def _put_retries(self, request: Request, _: Any, name: str) -> Reply:
        function, wanted = self._control.find(name), request.json()
        function.retries = {"FunctionArn": self._control.arn(name), "LastModified": time.time(), **wanted}
        function.running.reruns = wanted.get("MaximumRetryAttempts", 2)
        return json_reply(function.retries)

    def _get_account(self, _: Request, __: Any) -> Reply:
        concurrency = self._account.settings.concurrency
        limits = {"ConcurrentExecutions": concurrency, "UnreservedConcurrentExecutions": concurrency}
        limits |= {
            "TotalCodeSize": 80_530_636_800,
            "CodeSizeZipped": 52_428_800,
            "CodeSizeUnzipped": 262_144_000,
        }
        usage = {"FunctionCount": len(self._control.functions), "TotalCodeSize": 0}
        return json_reply({"AccountLimit": limits, "AccountUsage": usage})

    def _tag(self, request: Request, _: Any, arn: str) -> Reply:
        check_tags(request.json()["Tags"])
        self._control.find(arn).tags.update(request.json()["Tags"])
        return Reply(204)

    def _untag(self, _: Request, given: dict[str, Any], arn: str) -> Reply:
        for key in given["tagKeys"]:
            self._control.find(arn).tags.pop(key, None)
        return Reply(204)

    def _list_layers(self, _: Request, given: dict[str, str]) -> Reply:
        found = []
        for name, layers in sorted(self._control.layers.items()):
            if layers:
                latest = self._control.describe_layer(layers[-1])
                found.append(
                    {"LayerName": name, "LayerArn": latest["LayerArn"], "LatestMatchingVersion": latest}
                )
        return _page("Layers", found, given)

    def _list_versions(self, _: Request, given: dict[str, str], name: str) -> Reply:
        versions = [self._control.describe_layer(layer) for layer in self._control.layers.get(name, [])]
        return _page("LayerVersions", versions[::-1], given)

    def _get_layer(self, _: Request, __: Any, name: str, version: str) -> Reply:
        arn = f"::{name}:{version}"
        try:
            return json_reply(self._control.describe_layer(self._control.layer(arn)))
        except Refused:
            text = "The resource you requested does not exist."
            raise Refused("ResourceNotFoundException", text) from None

    # ---------------------------------------------------------------- for the tests

    def _settings(self, request: Request) -> Reply:
        settings = self._account.settings
        if request.method == "PUT":
            wanted = request.json()
            if wanted.pop("recycle", False):
                self._account.recycle()
            if "refuse_for_s" in wanted:
                wanted["refuse_for_s"] += time.monotonic()
            for name, value in wanted.items():
                setattr(settings, name, value)
        return json_reply({**dataclasses.asdict(settings), "counts": self._account.counts})

    def _record(self, request: Request) -> None:
        with self._record_lock, Path(self._account.settings.record).open("ab") as file:
            file.write(f"{request.method} {request.path}\n".encode() + request.body + b"\n")


def _page(name: str, items: list[Any], given: dict[str, str]) -> Reply:
    start, most = int(given.get("Marker", "0")), min(int(given.get("MaxItems", "50")), _PAGE)
    more = {"NextMarker": str(start + most)} if start + most < len(items) else {}
    return json_reply({name: items[start : start + most], **more})


class MotoRoles:
    """Asks moto's IAM about roles."""

    def __init__(self, endpoint: str, region: str) -> None:
        self._client: Any = botocore.session.get_session().create_client(
            "iam", endpoint_url=endpoint, region_name=region, aws_access_key_id="x", aws_secret_access_key="x"
        )

    def trusts_lambda(self, arn: str) -> bool:
        if not arn.startswith(f"arn:aws:iam::{ACCOUNT}:role/"):
            return False
        try:
            role = self._client.get_role(RoleName=arn.rpartition("/")[2])["Role"]
        except ClientError:
            return False
        return any(
            statement["Effect"] == "Allow" and statement["Principal"].get("Service") == "lambda.amazonaws.com"
            for statement in role["AssumeRolePolicyDocument"]["Statement"]
        )


def main(configuration: dict[str, Any]) -> None:
    folder, region, moto = Path(configuration["folder"]), configuration["region"], configuration["moto"]
    settings = Settings(**configuration["settings"])
    log = LogShipper(moto, region)
    account = Account(settings, Path(configuration["python"]), folder / "sandboxes", log)
    control = Control(account, MotoRoles(moto, region), folder, (Path(configuration["runtime"]),), region)
    service = Service(control, account, set(configuration["access_keys"]))
    server = HttpServer(configuration["port"], service.answer)

    def stop(*_: object) -> None:
        account.close()
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

"""Lambda's control plane: functions, layers and tags, and the states they go through."""

from __future__ import annotations

import base64
import hashlib
import io
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from aws_images import TASK_ROOT, pulled
from aws_invocations import Account, Function
from aws_refusals import (
    Refused,
    check_name,
    check_settings,
    check_tags,
    check_unzipped,
    invalid,
    unzipped_bytes,
)
from aws_sandbox import Spec

ACCOUNT = "123456789012"
_SETTINGS = (
    "Architectures", "Description", "Environment", "EphemeralStorage", "FileSystemConfigs", "Handler",
    "ImageConfig", "Layers", "LoggingConfig", "MemorySize", "PackageType", "Role", "Runtime", "Timeout", "VpcConfig",
)  # fmt: skip


class Roles(Protocol):
    """The part of IAM that Lambda asks."""

    def trusts_lambda(self, arn: str) -> bool: ...


@dataclass
class Layer:
    name: str
    version: int
    request: dict[str, Any]
    folder: Path
    sha: str
    unzipped: int
    zipped: int


@dataclass
class Deployed:
    """A function as the API shows it."""

    settings: dict[str, Any]
    tags: dict[str, str]
    running: Function
    sha: str
    code_bytes: int
    folder: Path
    unzipped: int
    busy_until: float
    updated: bool = False
    retries: dict[str, Any] = field(default_factory=dict)


class Control:
    """Functions and layers by their names. Its methods take the body of a request and give that of the answer."""

    def __init__(
        self, account: Account, roles: Roles, folder: Path, runtime: tuple[Path, ...], region: str
    ) -> None:
        self.functions: dict[str, Deployed] = {}
        self.layers: dict[str, list[Layer]] = {}
        self._account = account
        self._roles = roles
        self._folder = folder
        self._runtime = runtime
        self._region = region
        self._roles_seen: dict[str, float] = {}
        self._versions: dict[str, int] = {}

    # ---------------------------------------------------------------- functions

    def find(self, name: str) -> Deployed:
        """By its name or ARN. Raises `Refused`."""
        name = name.split(":function:")[-1].split(":")[0]
        if name not in self.functions:
            raise Refused("ResourceNotFoundException", f"Function not found: {self.arn(name)}")
        return self.functions[name]

    def arn(self, name: str) -> str:
        return f"arn:aws:lambda:{self._region}:{ACCOUNT}:function:{name}"

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["FunctionName"]
        check_name(name)
        check_settings(request)
        check_tags(request.get("Tags", {}))
        if name in self.functions:
            raise Refused("ResourceConflictException", f"Function already exist: {name}")
        self._check_role(request["Role"])
        settings = {
            "MemorySize": 128,
            "Timeout": 3,
            "PackageType": "Zip",
            **_chosen(request),
            "FunctionName": name,
        }
        if settings["PackageType"] == "Zip" and not (settings.get("Handler") and settings.get("Runtime")):
            raise invalid(
                "Runtime and Handler are mandatory parameters for functions created with deployment packages."
            )
        folder, sha, size, unzipped = self._unpack(request["Code"], settings)
        self._check_size(settings, unzipped)
        running = self._account.add(self._spec(name, settings, folder))
        until = time.monotonic() + self._account.settings.pending_s
        self.functions[name] = Deployed(
            settings, dict(request.get("Tags", {})), running, sha, size, folder, unzipped, until
        )
        return self.describe(self.functions[name])

    def update_code(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        function = self._ready(name)
        settings = {**function.settings, **{k: request[k] for k in ("Architectures",) if k in request}}
        folder, sha, size, unzipped = self._unpack(request, settings)
        self._check_size(settings, unzipped)
        function.settings, function.folder, function.sha = settings, folder, sha
        function.code_bytes, function.unzipped = size, unzipped
        return self._changed(function)

    def update_settings(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        function = self._ready(name)
        settings = {**function.settings, **_chosen(request)}
        check_settings(settings)
        self._check_role(settings["Role"])
        self._check_size(settings, function.unzipped)
        function.settings = settings
        return self._changed(function)

    def delete(self, name: str) -> None:
        function = self.find(name)
        del self.functions[function.settings["FunctionName"]]
        self._account.remove(function.running)

    def check_active(self, function: Deployed) -> None:
        if not function.updated and time.monotonic() < function.busy_until:
            raise Refused(
                "ResourceConflictException",
                "The operation cannot be performed at this time. The function is currently in the following state: "
                "Pending",
            )

    def describe(self, function: Deployed) -> dict[str, Any]:
        """The FunctionConfiguration."""
        waiting = time.monotonic() < function.busy_until
        hidden = ("Layers", "ImageConfig", "ImageUri")
        settings = {k: v for k, v in function.settings.items() if k not in hidden}
        if "ImageConfig" in function.settings:
            settings["ImageConfigResponse"] = {"ImageConfig": function.settings["ImageConfig"]}
        layers = [
            {"Arn": arn, "CodeSize": self.layer(arn).zipped} for arn in function.settings.get("Layers", [])
        ]
        pending = {
            "State": "Pending",
            "StateReason": "The function is being created.",
            "StateReasonCode": "Creating",
        }
        return {
            "Architectures": ["x86_64"],
            "EphemeralStorage": {"Size": 512},
            **settings,
            "FunctionArn": self.arn(settings["FunctionName"]),
            "CodeSha256": function.sha,
            "CodeSize": function.code_bytes,
            "Version": "$LATEST",
            "LastModified": time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime()),
            **({"Layers": layers} if layers else {}),
            **(pending if waiting and not function.updated else {"State": "Active"}),
            "LastUpdateStatus": "InProgress" if waiting and function.updated else "Successful",
        }

    def _ready(self, name: str) -> Deployed:
        function = self.find(name)
        if time.monotonic() < function.busy_until:
            arn = self.arn(function.settings["FunctionName"])
            raise Refused(
                "ResourceConflictException",
                "The operation cannot be performed at this time. An update is in progress for resource: "
                + arn,
            )
        return function

    def _changed(self, function: Deployed) -> dict[str, Any]:
        function.updated = True
        function.busy_until = time.monotonic() + self._account.settings.pending_s
        name = function.settings["FunctionName"]
        self._account.replace(function.running, self._spec(name, function.settings, function.folder))
        return self.describe(function)

    def _check_role(self, arn: str) -> None:
        seen = self._roles_seen.setdefault(arn, time.monotonic())
        if time.monotonic() - seen < self._account.settings.role_delay_s or not self._roles.trusts_lambda(
            arn
        ):
            raise invalid("The role defined for the function cannot be assumed by Lambda.")

    def _check_size(self, settings: dict[str, Any], unzipped: int) -> None:
        layers = settings.get("Layers", [])
        if len(layers) > 5:
            raise invalid("Function cannot reference more than 5 layers at a time")
        check_unzipped(unzipped + sum(self.layer(arn).unzipped for arn in layers))

    def _unpack(self, code: dict[str, Any], settings: dict[str, Any]) -> tuple[Path, str, int, int]:
        if settings["PackageType"] == "Image":
            if not code.get("ImageUri"):
                raise invalid("ImageUri is needed for functions of container images.")
            settings["ImageUri"] = uri = code["ImageUri"]
            return self._image(uri), hashlib.sha256(uri.encode()).hexdigest(), 0, 0
        data = base64.b64decode(code.get("ZipFile", ""))
        unzipped = unzipped_bytes(data)
        digest = hashlib.sha256(data)
        return self._extract(data, digest.hexdigest()), _b64(digest.digest()), len(data), unzipped

    def _image(self, uri: str) -> Path:
        if self._account.settings.engine and pulled(uri):
            return TASK_ROOT
        for part, folder in self._account.settings.images.items():
            if part in uri:
                return Path(folder)
        raise invalid(f"Source image {uri} does not exist. Provide a valid source image.")

    def _extract(self, data: bytes, name: str) -> Path:
        folder = self._folder / "packages" / name
        if not folder.exists():
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                archive.extractall(folder)
        return folder

    def _spec(self, name: str, settings: dict[str, Any], folder: Path) -> Spec:
        layers = [self.layer(arn).folder for arn in settings.get("Layers", [])]
        version = settings.get("Runtime", "")
        of_layers = [
            one for each in layers for one in (each / f"python/lib/{version}/site-packages", each / "python")
        ]
        region = {"AWS_REGION": self._region, "AWS_DEFAULT_REGION": self._region}
        return Spec(
            name=name,
            arn=self.arn(name),
            handler=settings.get("Handler", "") or settings["ImageConfig"]["Command"][0],
            runtime=version,
            task_root=folder,
            python_path=(*of_layers, *self._runtime),
            memory_mb=settings["MemorySize"],
            timeout_s=settings["Timeout"],
            environment={
                **region,
                **self._account.settings.role_environment,
                **settings.get("Environment", {}).get("Variables", {}),
            },
            image=settings.get("ImageUri", "") if folder == TASK_ROOT else "",
        )

    # ---------------------------------------------------------------- layers

    def layer(self, arn: str) -> Layer:
        *_, name, version = arn.split(":")
        for layer in self.layers.get(name, []):
            if str(layer.version) == version:
                return layer
        raise invalid(f"Layer version {arn} does not exist.")

    def publish_layer(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        data = base64.b64decode(request["Content"].get("ZipFile", ""))
        unzipped = unzipped_bytes(data)
        digest = hashlib.sha256(data)
        version = self._versions[name] = self._versions.get(name, 0) + 1
        folder = self._extract(data, digest.hexdigest())
        layer = Layer(name, version, request, folder, _b64(digest.digest()), unzipped, len(data))
        self.layers.setdefault(name, []).append(layer)
        return self.describe_layer(layer)

    def describe_layer(self, layer: Layer) -> dict[str, Any]:
        arn = f"arn:aws:lambda:{self._region}:{ACCOUNT}:layer:{layer.name}"
        return {
            "Content": {
                "CodeSha256": layer.sha,
                "CodeSize": layer.zipped,
                "Location": "https://layers.invalid/",
            },
            "LayerArn": arn,
            "LayerVersionArn": f"{arn}:{layer.version}",
            "Version": layer.version,
            "CreatedDate": "2026-11-22T00:00:00.000+0000",
            "Description": layer.request.get("Description", ""),
            "CompatibleRuntimes": layer.request.get("CompatibleRuntimes", []),
            "CompatibleArchitectures": layer.request.get("CompatibleArchitectures", []),
        }


def _chosen(request: dict[str, Any]) -> dict[str, Any]:
    return {name: request[name] for name in _SETTINGS if name in request}


def _b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()

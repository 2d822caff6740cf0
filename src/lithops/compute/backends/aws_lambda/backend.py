"""AWS Lambda: each task is one activation of a function, which is made when it is first needed.

::

    deploy   ──► names ──► Deployer: the function of just this content, found or made
    invoke   ──► Activations.start: an event; its statuses come through the storage
    request  ──► Activations.run: a request that waits; its statuses come back in the answer
    dead     ──► CloudWatch Logs ──► deaths: what Lambda wrote of activations that ended without a report
"""

from __future__ import annotations

import functools
import logging
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lithops.clock import Clock, SystemClock
from lithops.compute.backends.aws_lambda.activations import Activations
from lithops.compute.backends.aws_lambda.config import AwsLambdaConfig
from lithops.compute.backends.aws_lambda.connection import Connection
from lithops.compute.backends.aws_lambda.deploy import EVENT_AGE_S, HANDLER, Code, Deployer
from lithops.compute.backends.aws_lambda.diagnosis import diagnose
from lithops.compute.backends.aws_lambda.images import ImageStore
from lithops.compute.backends.aws_lambda.layers import Layers, LayerStore
from lithops.compute.backends.aws_lambda.names import (
    About,
    about,
    default_runtime,
    digest,
    is_image_uri,
    lambda_python,
    own_python,
)
from lithops.compute.backends.aws_lambda.policies import of_user
from lithops.compute.backends.aws_lambda.prices import prices
from lithops.compute.backends.aws_lambda.roles import Roles
from lithops.compute.base import Finding, Limits, Prices, Response, RuntimeInfo, Surroundings
from lithops.compute.serverless.package import Package, worker_requirements
from lithops.compute.serverless.package import build as build_package
from lithops.exceptions import ComputeError
from lithops.version import __version__
from lithops.wire.messages import WIRE_VERSION, Failure, Task

_INLINE_BYTES = 128 << 10
_PAYLOAD_BYTES = 256 << 10
"""A function, its modules and extra arguments, each inline, and the calls: 640 KiB, as base64 853 KiB of the 1 MiB
that an event may have. The rest is for all other words of a task."""

_logger = logging.getLogger(__name__)


class AwsLambda:
    """Implements `ComputeBackend`, and tells of responses, deaths, prices and rights. Safe in threads."""

    name = "aws_lambda"

    def __init__(
        self, config: AwsLambdaConfig, surroundings: Surroundings, *, clock: Clock | None = None
    ) -> None:
        self.config = config
        self.limits = Limits(
            max_activations=config.most_activations,
            inline_bytes=_INLINE_BYTES,
            payload_bytes=_PAYLOAD_BYTES,
            startup_s=EVENT_AGE_S,
            invoke_threads=config.invoke_pool_threads,
            connections=config.connections,
            calls_at_once=config.worker_processes,
        )
        self._surroundings = surroundings
        self._connection = Connection(config, threads=config.invoke_pool_threads)
        self._roles = Roles(config, self._connection, surroundings.storage)
        self._deployer = Deployer(config, surroundings, self._connection, self._roles, clock or SystemClock())
        self._layers = LayerStore(config, self._connection)
        self._images = ImageStore(config, self._connection)
        self._activations = Activations(self._connection)
        self._functions: dict[RuntimeInfo, str] = {}
        self._deploying = threading.Lock()

    # ---------------------------------------------------------------- runtimes

    def deploy(self, runtime: str, memory_mb: int, timeout_s: float) -> RuntimeInfo:  # noqa: ARG002
        """Activations have `aws_lambda.runtime_timeout`, however long a call may take."""
        runtime = runtime or self.config.runtime
        memory_mb = memory_mb or self.config.runtime_memory
        if not 128 <= memory_mb <= 10240:
            raise ComputeError(f"runtime_memory: found {memory_mb}; AWS Lambda allows from 128 to 10240 MB")
        with self._deploying:
            known = self._known(runtime, memory_mb)
            if known is not None:
                return known
            code = self._code(runtime)
            function = self._deployer.ensure(code, memory_mb)
            info = RuntimeInfo(code.runtime, memory_mb, code.python)
            if code.is_image:
                self._check(function, info)
            self._functions[info] = function
            return info

    def describe(self) -> Mapping[str, Any]:
        config = self.config
        return {
            "region": self._connection.region,
            "runtime": config.runtime or default_runtime(own_python()),
            "memory": config.runtime_memory,
            "timeout": config.runtime_timeout,
            "architecture": config.architecture,
            "invocation": config.invocation,
        }

    def runtimes(self) -> Sequence[RuntimeInfo]:
        """All that are deployed in this namespace, once for each memory."""
        return list(dict.fromkeys(info for info, _ in self._deployed()))

    def remove(self, runtime: str) -> None:
        """Delete the functions, layers and images of that name."""
        functions = [name for info, name in self._deployed() if info.name == runtime]
        for name in functions:
            self._deployer.delete(name)
        with self._deploying:
            self._functions = {info: name for info, name in self._functions.items() if info.name != runtime}
        built = 0 if _is_default(runtime) else self._remove_built(runtime)
        if not functions and not built:
            raise ComputeError(
                f"there is no runtime '{runtime}' on AWS Lambda in {self._connection.region}; "
                "see those that are with: lithops runtime list -b aws_lambda"
            )

    def build(self, runtime: str, file: Path) -> str:
        """A layer of the ``requirements.txt``, or an image of the ``Dockerfile``."""
        if not runtime or _is_default(runtime) or is_image_uri(runtime):
            raise ComputeError(f"'{runtime}' cannot be the name of a runtime of your own; take another one")
        if not file.is_file():
            raise ComputeError(f"there is no file {file}; name a requirements.txt or a Dockerfile with -f")
        if file.suffix not in (".txt", ".in"):
            return f"the image {self._images.build(runtime, file, self._package)}"
        python = lambda_python()
        layers = self._layers.build(runtime, python, ["-r", str(file), *self._sdk])
        return f"for Python {python} on {self.config.architecture}, the layers {', '.join(layers.arns)}"

    def _known(self, runtime: str, memory_mb: int) -> RuntimeInfo | None:
        name = runtime or default_runtime(own_python())
        return next(
            (each for each in self._functions if (each.name, each.memory_mb) == (name, memory_mb)), None
        )

    def _code(self, runtime: str) -> Code:
        """What a runtime of that name consists of. Raises `ComputeError` where it is not there."""
        if is_image_uri(runtime):
            return self._image(runtime, runtime)
        python = lambda_python()
        if not runtime or runtime == default_runtime(python):
            return self._zip(default_runtime(python), python, self._sdk_layers(python))
        if _is_default(runtime):
            raise ComputeError(
                f"the runtime {runtime} has another Python than this program, which runs on {python}: what one pickles "
                f"the other cannot read; leave aws_lambda.runtime empty, or run this program on {runtime}"
            )
        layers = self._layers.find(runtime, python)
        if layers is not None:
            return self._zip(runtime, python, layers)
        uri = self._images.find(runtime, self._package)
        if uri is not None:
            return self._image(runtime, uri)
        built = self._layers.pythons(runtime)
        other = f"; it was built for Python {' and '.join(built)}" if built else ""
        raise ComputeError(
            f"there is no runtime '{runtime}' for Python {python} on {self.config.architecture} in "
            f"{self._connection.region}{other}; run: "
            f"lithops runtime build -b aws_lambda -f requirements.txt {runtime}"
        )

    @property
    def _sdk(self) -> list[str]:
        """What pip has to install for the storage beside what Lambda has."""
        return [each for each in worker_requirements(self._surroundings) if not each.startswith("boto3")]

    def _sdk_layers(self, python: str) -> Layers | None:
        """The SDK of another cloud's storage, which the default runtime lacks; None: nothing is missing."""
        if not self._sdk:
            return None
        name = f"storage-{self._surroundings.storage}-{digest(self._sdk)}"
        found = self._layers.find(name, python)
        if found is None:
            _logger.info("building a layer of %s, for functions on AWS Lambda", ", ".join(self._sdk))
            found = self._layers.build(name, python, self._sdk)
        return found

    def _zip(self, runtime: str, python: str, layers: Layers | None) -> Code:
        package = self._package
        options: dict[str, Any] = {"Runtime": f"python{python}", "Handler": HANDLER}
        content = package.digest
        if layers is not None:
            options["Layers"] = list(layers.arns)
            content += layers.content
        words = f"runtime {runtime}, a package of {len(package.data) / 1000:.0f} KB"
        return Code(runtime, python, content, {"ZipFile": package.data}, options, words)

    def _image(self, runtime: str, uri: str) -> Code:
        options = {"ImageConfig": {"Command": [HANDLER]}}
        return Code(
            runtime, own_python(), uri, {"ImageUri": uri}, options, f"runtime {runtime}, the image {uri}"
        )

    @functools.cached_property
    def _package(self) -> Package:
        return build_package(
            {},
            storage=self._surroundings.storage,
            backend=self.name,
            shares_state=self._surroundings.shares_state,
        )

    def _check(self, function: str, info: RuntimeInfo) -> None:
        """Images are whatever their Dockerfile says: Python and release are asked for."""
        said = self._deployer.describe(function)
        if (said.get("python"), said.get("wire")) != (info.python, WIRE_VERSION):
            raise ComputeError(
                f"the runtime {info.name} has Python {said.get('python')} and Lithops {said.get('version')}, this "
                f"program Python {info.python} and Lithops {__version__}; build it anew with: "
                f"lithops runtime build -b aws_lambda -f Dockerfile {info.name}"
            )

    def _deployed(self) -> list[tuple[RuntimeInfo, str]]:
        found = []
        for function in self._deployer.list():
            said: About | None = about(function)
            if said is not None and said.namespace == (self.config.namespace or ""):
                info = RuntimeInfo(said.runtime, function["MemorySize"], said.python)
                found.append((info, function["FunctionName"]))
        return found

    def _remove_built(self, runtime: str) -> int:
        return 0 if is_image_uri(runtime) else self._layers.remove(runtime) + self._images.remove(runtime)

    # ---------------------------------------------------------------- activations

    def invoke(self, task: Task, runtime: RuntimeInfo) -> str:
        return self._activations.start(self._functions[runtime], task)

    def request(self, task: Task, runtime: RuntimeInfo) -> Response:
        """Start one activation and wait for its end."""
        return self._activations.run(self._functions[runtime], task)

    def dead(self, activation_ids: Sequence[str]) -> Mapping[str, Failure]:
        return self._activations.dead(activation_ids)

    def close(self) -> None:
        """Functions stay deployed, for the next program. They cost nothing while nobody calls them."""
        self._connection.close()

    # ---------------------------------------------------------------- what it costs, and needs

    def prices(self, runtime: RuntimeInfo) -> Prices:
        config = self.config
        return prices(
            self._connection.region, config.architecture, runtime.memory_mb, config.ephemeral_storage
        )

    def diagnose(self) -> Iterable[Finding]:
        return diagnose(self.config, self._connection, self._roles)

    def policy(self) -> Mapping[str, Any]:
        """Two documents: what this program's user needs, and what the role of the functions needs."""
        account, region = self._connection.account_id(), self._connection.region
        user = of_user(account, region, self._roles.arn, storage=self._surroundings.storage)
        return {"user": user, "role": self._roles.rights()}


def _is_default(runtime: str) -> bool:
    """Whether the name is that of one of Lambda's own."""
    return re.fullmatch(r"python\d+\.\d+", runtime) is not None
